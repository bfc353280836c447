"""How a run is ended from outside its cells: by a signal, a time limit, or the program's own word."""

from __future__ import annotations

import os
import time

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


class Grace:
    """How long something that goes on after the last cell may still take once the run is cancelled."""

    def __init__(self, cancel: Cancellation, seconds: float) -> None:
        self._cancel = cancel
        self._seconds = seconds
        self._since: float | None = None

    def is_over(self) -> bool:
        """Whether to stop: `seconds` have passed since the cancel was first seen. Ask now and then."""
        if not self._cancel.count:
            return False
        if self._since is None:
            self._since = time.monotonic()
        return time.monotonic() - self._since > self._seconds
