"""This machine as an agent: so many runs at once, so many GPUs, a runner process for each run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import orjson

from ..kernels.resources import visible_gpus
from ..settings import Settings
from ..store.runs import RunRecord
from .layout import DataFolder
from .notes import leave_note
from .pool import Pool
from .runners import RunnerProcess, Runners


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
        self._runners = Runners(data)
        self.pool = Pool(settings, data, self._runners)

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
            "pool": self.pool.state(),
        }

    # -- runners -------------------------------------------------------------------------------------

    def start(self, record: RunRecord, secrets: Mapping[str, str]) -> RunnerProcess:
        """Give a run to a warm runner or start one, with the GPUs it asked for. Raises OSError; nothing is held then.

        The runner does nothing before it has read its input, and ends if there is none: a dispatcher that is killed
        in between leaves a run that can be started again.
        """
        gpus = self.free_gpus[: record.gpus]
        folder = self._data.run(record.id)
        runner = self.pool.take(record.kernel, folder) or self._runners.start(
            ["run", str(self._data.root), record.id], folder / "runner.log"
        )
        try:
            leave_note(folder, runner.pid)
        except OSError:
            runner.kill()
            runner.close()
            raise
        self.hold(record.id, gpus)
        handed = {"run": record.id, "secrets": dict(secrets), "gpus": gpus, "fork_servers": self.pool.fork_servers}
        # Through a pipe, since anybody may read a command line and root any environment.
        runner.hand(orjson.dumps(handed))
        return runner

    def close(self) -> None:
        """End what is idle; runners go on."""
        self.pool.close()
        self._runners.close()
