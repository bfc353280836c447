"""Triggers beside the service: a process that checks them again and again, and that nothing else depends on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from ..agents.layout import DataFolder
from ..errors import UsageError
from ..settings import Settings
from .processes import Child, GuardedChild


def trigger_processes(settings: Settings, data: DataFolder, environ: Mapping[str, str]) -> list[Child]:
    """The process that `--triggers` asks for, if any. Raises `UsageError` for a file that can't be read as one."""
    if not settings.triggers:
        return []
    from ..jenkins.triggers.file import read_file

    file = Path(settings.triggers).absolute()
    read_file(file)
    if settings.trigger_interval <= 0:
        raise UsageError(
            "--trigger-interval: write the seconds between two checks, e.g. 300.", field="trigger_interval"
        )
    module = "kernel_gateway.jenkins.triggers.service"
    arguments = [str(file), str(data.root / "triggers" / f"{file.stem}.json"), str(settings.trigger_interval)]
    # A guard ends it with all that it has started, a check that hangs too.
    return [GuardedChild("trigger process", [sys.executable, "-P", "-m", module, *arguments], dict(environ))]
