"""This machine as an agent: so many runs at once, so many GPUs, a runner process for each run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson

from ..kernels.resources import visible_gpus
from ..settings import PREFIX, Settings
from ..store.runs import RunRecord
from .layout import DataFolder

RUNNER_NOTE = "runner.pid"
"""File in a run's folder with its runner's pid and start time, and a third word once that heeds signals.

It is there before a runner gets what it needs to begin: a run without one was never begun.
"""


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it is gone. With the pid that names a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def find_runner(folder: Path) -> int | None:
    """The living runner of a run's folder, by its note; None if it is gone."""
    try:
        pid, ticks = map(int, (folder / RUNNER_NOTE).read_text().split()[:2])
    except (OSError, ValueError):
        return None
    return pid if start_ticks(pid) == ticks else None


def was_begun(folder: Path) -> bool:
    """Whether a runner has been given this run, so that it may have done something."""
    return (folder / RUNNER_NOTE).exists()


def heeds_signals(folder: Path) -> bool:
    """Whether the runner of a folder would take SIGTERM for a cancel; before that it would die of it."""
    try:
        return len((folder / RUNNER_NOTE).read_text().split()) == 3
    except OSError:
        return False


def leave_note(folder: Path, pid: int, *words: str) -> None:
    """Write the note of a runner, whole or not at all. Raises OSError."""
    part = folder / f".{RUNNER_NOTE}.{os.getpid()}"
    part.write_text(" ".join([str(pid), str(start_ticks(pid)), *words]))
    part.replace(folder / RUNNER_NOTE)


class LocalAgent:
    """Slots and GPUs of this machine, and the runners that hold them.

    The dispatcher drives it from one thread. Runners are sessions of their own: they outlive the
    dispatcher, and a new one adopts them by pid and start time.
    """

    def __init__(self, settings: Settings, data: DataFolder) -> None:
        self.slots = settings.slots
        self.labels = [label.strip() for label in settings.labels.split(",") if label.strip()]
        self.gpus = self._gpus(settings.gpus)
        self._data = data
        self._holders: dict[str, list[str]] = {}  # run → GPUs

    def _gpus(self, setting: str) -> list[str]:
        if setting == "auto":
            return visible_gpus(os.environ)
        if setting == "none":
            return []
        return [gpu.strip() for gpu in setting.split(",") if gpu.strip()]

    # -- capacity ------------------------------------------------------------------------------------

    @property
    def free_gpus(self) -> list[str]:
        """GPUs that no run holds, in stable order."""
        held = {gpu for gpus in self._holders.values() for gpu in gpus}
        return [gpu for gpu in self.gpus if gpu not in held]

    @property
    def has_slot(self) -> bool:
        """Whether one more run may start."""
        return len(self._holders) < self.slots

    def fits(self, record: RunRecord) -> bool:
        """Whether a run could start now."""
        return self.has_slot and record.gpus <= len(self.free_gpus) and self.suits(record)

    def suits(self, record: RunRecord) -> bool:
        """Whether a run could ever start here: its label, its number of GPUs."""
        return (record.label is None or record.label in self.labels) and record.gpus <= len(self.gpus)

    def hold(self, run: str, gpus: Iterable[str]) -> None:
        """Count a run's slot and GPUs as taken, e.g. by a runner that an earlier dispatcher started."""
        self._holders[run] = list(gpus)

    def release(self, run: str) -> None:
        """Give back a run's slot and GPUs."""
        self._holders.pop(run, None)

    def gpus_of(self, run: str) -> list[str]:
        """GPUs that a run holds."""
        return list(self._holders.get(run, ()))

    def state(self) -> dict[str, object]:
        """What `GET /agents` shows."""
        holder = {gpu: run for run, gpus in self._holders.items() for gpu in gpus}
        return {
            "slots": self.slots,
            "busy": len(self._holders),
            "runs": sorted(self._holders),
            "gpus": {gpu: holder.get(gpu) for gpu in self.gpus},
            "labels": self.labels,
        }

    # -- runners -------------------------------------------------------------------------------------

    def start(self, record: RunRecord, secrets: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a run's runner with the GPUs it asked for. Raises OSError; nothing is held then.

        The runner does nothing before it has read its input, and ends if there is none: a dispatcher that is killed
        in between leaves a run that can be started again.
        """
        gpus = self.free_gpus[: record.gpus]
        folder = self._data.run(record.id)
        command = [sys.executable, "-m", "kernel_gateway.agents.runner_process", str(self._data.root), record.id]
        environ = {name: value for name, value in os.environ.items() if name != PREFIX + "TOKEN"}
        with (folder / "runner.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environ, cwd="/", start_new_session=True
            )
        assert process.stdin is not None
        try:
            leave_note(folder, process.pid)
        except OSError:
            process.kill()
            process.stdin.close()
            process.wait()
            raise
        self.hold(record.id, gpus)
        try:
            # Through a pipe, since anybody may read a command line and root any environment.
            process.stdin.write(orjson.dumps({"secrets": dict(secrets), "gpus": gpus}))
            process.stdin.close()
        except OSError:
            pass  # it died at once; its end is noticed as any other
        return process
