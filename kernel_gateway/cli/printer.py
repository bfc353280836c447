"""A run's console on stdout, live; imported by whatever follows a run, so it must load fast."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from ..runner.ending import Cancellation
from ..settings import Settings
from ..store.eventlog import EventLog, follow_events

if TYPE_CHECKING:
    from ..projections.console import Console

CONSOLE_PATIENCE = 5.0
"""Seconds that a cancelled run waits for a reader of its output who has stopped reading."""


def print_text(text: str) -> None:
    """Write console text to stdout at once, without colours if the user wants none. Raises OSError."""
    if text:
        if os.environ.get("NO_COLOR"):
            from ..projections.text import strip_ansi

            text = strip_ansi(text)
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()


class ConsolePrinter:
    """Prints a run's console to stdout while it is written, from a thread of its own.

    It reads the log's file, so that a reader of our output who is slow, or stops, holds up nothing.
    """

    def __init__(self, log: EventLog, settings: Settings) -> None:
        self._log = log
        self._settings = settings
        self._thread = threading.Thread(target=self._print, name="console", daemon=True)
        self._thread.start()

    def _print(self) -> None:
        console: Console | None = None
        try:
            for event in follow_events(self._log):
                console = console or self._make_console()
                print_text(console.feed(event))
            if console is not None:
                print_text(console.finish())
        except OSError:
            pass  # nobody reads it any more; the results are written all the same

    def _make_console(self) -> Console:
        # With the first event, after which a kernel is waited for: before it, nothing but the request counts.
        from ..projections.console import Console

        return Console(self._settings)

    def join(self, cancel: Cancellation, patience: float = CONSOLE_PATIENCE) -> None:
        """Wait until all is printed; once the run was cancelled, no longer than ``patience`` seconds."""
        waited = 0.0
        while self._thread.is_alive() and waited < patience:
            self._thread.join(0.2)
            waited += 0.2 if cancel.count else 0.0
