"""This machine as an agent: so many runs at once, its GPUs, CPUs and memory, a runner process for each run."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from ..kernels.gpu_locks import is_taken
from ..kernels.resources import Gpus, find_gpus, machine_cpus, machine_memory
from ..settings import Settings, parse_size
from ..store.runs import RunRecord
from .capacity import Capacity, Share, Turn
from .layout import DataFolder
from .local_runner import LocalRunner
from .notes import find_share, leave_note, leave_share
from .pool import Pool
from .runners import Runners

log = logging.getLogger("kernel_gateway.agents")


class LocalAgent:
    """Slots, GPUs, CPUs and memory of this machine, and the runners that hold them.

    The dispatcher drives it from one thread. Runners are sessions of their own: they outlive the
    dispatcher, and a new one adopts them by pid and start time.
    """

    def __init__(self, settings: Settings, data: DataFolder) -> None:
        self.labels = [label.strip() for label in settings.labels.split(",") if label.strip()]
        self._gpus = _gpus(settings.gpus)
        if self._gpus.problem:
            log.warning("not all GPUs of this machine can be used: %s", self._gpus.problem)
        memory = parse_size(settings.memory, "memory") if settings.memory else machine_memory()
        self._capacity = Capacity(settings.slots, self._gpus.names, settings.cpus or machine_cpus(), memory)
        self._turn: Turn | None = None
        self._elsewhere: list[str] = []
        self._data = data
        self._runners = Runners(data)
        self.pool = Pool(settings, data, self._runners)

    # -- capacity ------------------------------------------------------------------------------------

    @property
    def has_slot(self) -> bool:
        """Whether one more run may start."""
        return self._capacity.has_slot

    def fits(self, record: RunRecord) -> bool:
        """Whether a run may start now. Asked in the order of the queue: those that wait have the first claim."""
        if self._turn is None:
            self._elsewhere = self._taken_elsewhere()
            self._turn = self._capacity.turn(self._elsewhere)
        return self.suits(record) and self._turn.admits(record)

    def suits(self, record: RunRecord) -> bool:
        """Whether a run could ever start here: its label, what it asks for."""
        return (record.label is None or record.label in self.labels) and self._capacity.suits(record)

    def _taken_elsewhere(self) -> list[str]:
        """GPUs that no run of this service holds, but another process of this user."""
        return [gpu for gpu in self._capacity.free_gpus() if is_taken(gpu)]

    def release(self, run: str) -> None:
        """Take back what a run holds."""
        self._capacity.release(run)
        self._turn = None

    def state(self) -> dict[str, Any]:
        """What `GET /agents` shows."""
        return {
            **self._capacity.state(),
            "elsewhere": self._taken_elsewhere(),
            "devices": [asdict(device) for device in self._gpus.devices],
            "gpu_problem": self._gpus.problem,
            "labels": self.labels,
            "pool": self.pool.state(),
        }

    # -- runners -------------------------------------------------------------------------------------

    @property
    def fds(self) -> list[int]:
        """What to wait for before `step` is worth a call."""
        return self.pool.fds

    def pause(self) -> float:
        """Seconds until `step` has something to do by itself."""
        return self.pool.pause()

    def step(self) -> None:
        """Keep kernels warm."""
        self._turn = None  # a new look through the queue
        self.pool.step()

    def sweep(self) -> None:
        """Remove what killed runners left of the places of warm kernels."""
        self.pool.sweep()

    def adopt(self, record: RunRecord) -> LocalRunner | None:
        """The runner that an earlier dispatcher started, if it lives; what it holds is held again."""
        folder = self._data.run(record.id)
        # The database may not have heard of what a runner got that was started just before the end.
        share = find_share(folder) or Share(tuple(record.gpu_ids), record.cpus, record.memory)
        found = LocalRunner.find(folder, list(share.gpus))
        if found is not None:
            self._capacity.hold(record.id, share)
            self._turn = None
        return found

    def start(self, record: RunRecord, secrets: Mapping[str, str]) -> LocalRunner:
        """Give a run to a warm runner or start one, with what it asked for. Raises OSError; nothing is held then.

        The runner does nothing before it has read its input, and ends if there is none: a dispatcher that is killed
        in between leaves a run that can be started again.
        """
        folder = self._data.run(record.id)
        runner = self.pool.take(record.kernel, folder) or self._runners.start(
            ["run", str(self._data.root), record.id], folder / "runner.log"
        )
        share = self._capacity.grant(record.id, record, self._elsewhere)
        gpus = list(share.gpus)
        try:
            leave_share(folder, share)
            leave_note(folder, runner.pid)
        except OSError:
            self.release(record.id)
            runner.kill()
            runner.close()
            raise
        finally:
            self._turn = None
        handed = {"run": record.id, "secrets": dict(secrets), "gpus": gpus, "fork_servers": self.pool.fork_servers}
        # Through a pipe, since anybody may read a command line and root any environment.
        runner.hand(orjson.dumps(handed))
        return LocalRunner(folder, runner.pid, runner.fd, runner, gpus)

    def close(self) -> None:
        """End what is idle; runners go on."""
        self.pool.close()
        self._runners.close()


def _gpus(setting: str) -> Gpus:
    """The GPUs that the setting names: ``auto``, ``none``, or a list."""
    if setting == "none":
        return Gpus([], [])
    if setting != "auto":
        return find_gpus(setting)
    # A list in the environment, of a container or a batch system, is respected.
    return find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
