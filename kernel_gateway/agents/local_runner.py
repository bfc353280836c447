"""A runner of this machine as the dispatcher sees it: a process, known by its pid and start time."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

from ..kernels.descriptors import readable
from ..kernels.guard import signal_all
from .notes import find_runner, start_ticks, was_begun
from .runner_process import describe_loss
from .runners import RunnerProcess

log = logging.getLogger("kernel_gateway.agents")

BEGIN_SECONDS = 15.0
"""How long a runner may take to begin with its run; one that hangs is killed, and the run is queued again."""


class LocalRunner:
    """A `RunnerHandle`. ``runner`` is None for a process that an earlier dispatcher started."""

    tells = False

    def __init__(self, folder: Path, pid: int, fd: int, runner: RunnerProcess | None, gpus: list[str]) -> None:
        self.pid = pid
        self.gpus = gpus
        self._folder = folder
        self._fd = fd
        self._runner = runner
        self._since = time.monotonic()
        self._begun = False

    @classmethod
    def find(cls, folder: Path, gpus: list[str]) -> LocalRunner | None:
        """The living runner of a run's folder, by its note; None if there is none."""
        pid = find_runner(folder)
        if pid is None:
            return None
        try:
            return cls(folder, pid, os.pidfd_open(pid), None, gpus)
        except ProcessLookupError:
            return None

    @property
    def fds(self) -> list[int]:
        """Its pidfd."""
        return [self._fd]

    @property
    def process(self) -> tuple[int, int]:
        """As the database notes it."""
        return self.pid, start_ticks(self.pid) or 0

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""
        return bool(readable([self._fd], 0.0))

    @property
    def begun(self) -> bool:
        """Whether it left word that it has begun."""
        self._begun = self._begun or was_begun(self._folder)
        return self._begun

    def look_after(self) -> None:
        """Kill it if it does not begin."""
        if not self.begun and time.monotonic() - self._since > BEGIN_SECONDS:
            log.warning("runner %d of run %s does not begin and is killed", self.pid, self._folder.name)
            self.kill()

    def cancel(self) -> bool:
        """SIGTERM. A runner that is not so far yet would die of it instead of ending its run."""
        if not self.begun:
            return False
        signal_all([self.pid], signal.SIGTERM)
        return True

    def kill(self) -> None:
        """SIGKILL; its kernel goes with it."""
        signal_all([self.pid], signal.SIGKILL)

    def loss(self) -> str:
        """By its exit code, if it is ours."""
        return describe_loss(self._runner.exit_code() if self._runner is not None else None)

    def close(self) -> None:
        """Give back the descriptors."""
        if self._runner is not None:
            self._runner.close()
        else:
            os.close(self._fd)
