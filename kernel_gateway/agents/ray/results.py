"""The results of runs that ended on nodes: computed on the gateway, for a few runs at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..runners import RunnerProcess

log = logging.getLogger("kernel_gateway.agents")


class Results:
    """A queue of processes that each write one run's results: a cluster may end a hundred runs in one second."""

    def __init__(self, start: Callable[[str], RunnerProcess], most: int) -> None:
        """`start` starts the process for a run, and may raise OSError; no more than `most` are at work at once."""
        self._start = start
        self._most = most
        self._waiting: dict[str, None] = {}
        self._at_work: dict[str, RunnerProcess] = {}

    @property
    def fds(self) -> list[int]:
        """What turns readable at the end of each process."""
        return [process.fd for process in self._at_work.values()]

    def ask(self, run: str) -> None:
        """Have a run's results written, after those that were asked for before."""
        self._waiting[run] = None
        self._fill()

    def are_done(self, run: str) -> bool:
        """Whether they are written, or never will be."""
        process = self._at_work.get(run)
        if process is not None and process.ended:
            self._give_back(self._at_work.pop(run))
            self._fill()
        return run not in self._at_work and run not in self._waiting

    def close(self) -> None:
        """Start no more; those at work go on."""
        self._waiting.clear()
        while self._at_work:
            self._at_work.popitem()[1].close()

    @staticmethod
    def _give_back(process: RunnerProcess) -> None:
        if process.process is not None:  # our own child, else the fork server's
            process.process.wait()
        process.close()

    def _fill(self) -> None:
        while self._waiting and len(self._at_work) < self._most:
            run = next(iter(self._waiting))
            del self._waiting[run]
            try:
                self._at_work[run] = self._start(run)
            except OSError as error:
                log.error("the results of run %s can't be written: %s", run, error)
