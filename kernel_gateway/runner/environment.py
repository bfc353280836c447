"""The packages that a run asks for, by ``--env`` or in its source's own metadata, ready before its first cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..events import EventSink, EventType
from ..kernels.environments.spec import EnvironmentSpec, read_inline, read_spec
from ..settings import RunOptions, Settings
from .plan import Plan

if TYPE_CHECKING:
    from ..kernels.environments.build import Environment
    from .run import Workplace

FOR_INSTALLERS = ("PIP_", "UV_", "CONDA_", "MAMBA_", "RENV_", "JULIA_PKG_", "NETRC")
"""How secrets begin that tell an installer where packages are; all others are kept from it."""


def wanted(plan: Plan, options: RunOptions, cwd: Path) -> EnvironmentSpec | None:
    """What environment a run needs: that of ``--env``, else the source's own; None for the kernelspec's packages.

    Raises `EnvironmentBuildError` for a file that makes no sense.
    """
    if options.env_file is not None:
        return read_spec(Path(options.env_file))
    own = plan.environment
    if own is None:
        return None
    return read_spec(cwd / own["file"]) if "file" in own else read_inline(own, cwd)


def prepare(
    spec: EnvironmentSpec,
    options: RunOptions,
    place: Workplace,
    settings: Settings,
    sink: EventSink,
    check: Callable[[], None],
) -> Environment:
    """Build the environment, or find it. Its build's log goes to the run's, line by line.

    Raises `EnvironmentBuildError`, and what `check` raises.
    """
    from ..kernels.environments.build import Cache, build_environment

    def log(line: str) -> None:
        sink.append(EventType.LOG, level="info", message=line)
        sink.flush()

    environ = installers_environ(place.environ, options.secrets)
    return build_environment(spec, Cache.of(settings), log, check, environ=environ, sandbox=place.sandbox)


def installers_environ(environ: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """The variables that an installer gets, which runs code of packages: none of the run's secrets but its own."""
    return {name: value for name, value in environ.items() if name not in secrets or name.startswith(FOR_INSTALLERS)}
