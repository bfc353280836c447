"""What each kernel does unlike the others: the one table.

Everything here was measured on the kernels themselves; `kernel-gateway kernels doctor` measures it again
on whatever is installed. A kernel without an entry is taken at the protocol's word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from jupyter_client.kernelspec import KernelSpec

from . import failures, snippets
from .failures import Detector


def _as_is(code: str) -> str:
    return code


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """How to treat one kernel implementation.

    ``transport``: ``ipc`` where the kernel can (private folder, no port, no delayed packets).
    ``interrupt``: overrides the kernelspec's ``interrupt_mode``.
    ``heartbeat``: whether it answers heartbeats while it computes.
    ``arguments``: added to its command line. ``environment``: added to its environment.
    ``warm_up``: code run silently, and waited for, before the first cell.
    ``setup``: code run silently just before the first cell.
    ``wrap``: turns a cell's source into what the kernel is sent.
    ``detector``: makes a `Detector` for each cell, where the kernel hides failures.
    ``raw_output``: whether what its process writes outside the protocol is output of the cell.
    ``hang_up``: whether it ends by SIGHUP, since it does not answer a request to shut down.
    """

    transport: Literal["ipc", "tcp"] = "tcp"
    interrupt: Literal["signal", "message"] | None = None
    heartbeat: bool = False
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    warm_up: str = ""
    setup: str = ""
    wrap: Callable[[str], str] = _as_is
    detector: Callable[[], Detector] = Detector
    raw_output: bool = False
    hang_up: bool = False


QUIET_DEBUGGER = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
"""ipykernel loads a debugger, which else warns about itself in the first cell's output."""

IPYKERNEL = Quirks(
    transport="ipc",
    heartbeat=True,
    environment=QUIET_DEBUGGER,
    arguments=("--HistoryManager.hist_file=:memory:",),
)

BY_MODULE: dict[str, Quirks] = {
    "ipykernel_launcher": IPYKERNEL,
    "ipykernel": IPYKERNEL,
    # `exit 3` answers ok after starting a new bash, and so does `set -e; false`; commands share bash's terminal.
    "bash_kernel": Quirks(
        transport="ipc",
        heartbeat=True,
        environment=QUIET_DEBUGGER,
        setup=snippets.BASH_SETUP,
        wrap=snippets.bash_cell,
        detector=failures.BashDetector,
        hang_up=True,
    ),
    # Errors come as text on stdout, and the reply is always ok.
    "octave_kernel": Quirks(
        transport="ipc",
        heartbeat=True,
        environment=QUIET_DEBUGGER,
        wrap=snippets.octave_cell,
        detector=failures.OctaveDetector,
    ),
}
"""Python module that the kernelspec's command runs (``-m MODULE``) → quirks."""

BY_LANGUAGE: dict[str, Quirks] = {
    # Ignores SIGINT; the first output of a fresh kernel is lost now and then.
    "typescript": Quirks(interrupt="message", warm_up="null", raw_output=True),
    "javascript": Quirks(interrupt="message", warm_up="null", raw_output=True),
    # `quit(status = 3)` answers ok.
    "r": Quirks(raw_output=True, setup=snippets.R_SETUP, detector=failures.ExitDetector),
}
"""Kernelspec language, lower case → quirks, where the command names no module above."""

SQL = Quirks(
    transport="ipc",
    heartbeat=True,
    arguments=IPYKERNEL.arguments,
    # jupysql would report usage over the network otherwise.
    environment=QUIET_DEBUGGER | {"PLOOMBER_STATS_ENABLED": "false", "PLOOMBER_VERSION_CHECK_DISABLED": "true"},
    setup=snippets.SQL_SETUP,
    wrap=snippets.sql_cell,
)
"""SQL cells: jupysql's ``%%sql`` on an ipython kernel."""


def quirks_of(spec: KernelSpec, asked: str = "") -> Quirks:
    """The quirks of a kernelspec; `asked` is the name it was asked for by, which tells SQL from Python."""
    module = spec.argv[spec.argv.index("-m") + 1] if "-m" in spec.argv[:-1] else ""
    if asked.lower() == "sql" and module.startswith("ipykernel"):
        return SQL
    if module in BY_MODULE:
        return BY_MODULE[module]
    return BY_LANGUAGE.get(str(spec.language).lower(), Quirks())
