"""How a run is ended from outside its cells: by a signal, a time limit, or the program's own word."""

from __future__ import annotations

import os

from ..events import Status


class Ending(Exception):
    """Ends a run before its last cell, with a status and one sentence why."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Cancellation:
    """A request to cancel, made by a signal handler or another thread and noticed by the runner at once.

    ``fd`` becomes readable with the first request. A second request means that the run shall be killed
    rather than interrupted.
    """

    def __init__(self) -> None:
        self.fd, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        os.set_blocking(self.fd, False)
        self.count = 0
        self.reason = ""

    def request(self, reason: str) -> None:
        """Ask for the run's end. Safe in a signal handler; `reason` is a sentence for the results."""
        self.count += 1
        self.reason = self.reason or reason
        try:
            os.write(self._writer, b"c")
        except OSError:
            pass  # the pipe is full or closed: the runner knows already

    def acknowledge(self) -> None:
        """Empty the pipe, so that it wakes the runner for the next request only."""
        try:
            os.read(self.fd, 64)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Give back the pipe."""
        os.close(self._writer)
        os.close(self.fd)
