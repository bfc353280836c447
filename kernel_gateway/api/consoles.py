"""The console text of runs that are still going on, computed once and kept for the next poll.

Any worker can compute the text from the log alone; what is kept here only saves the work.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from ..events import Event, EventType
from ..projections.console import Console
from ..settings import Settings
from ..store.eventlog import LogReader

KEPT = 64
"""Runs whose console is kept."""

TAIL_BYTES = 256 * 1024
"""Text kept of each, for readers who are not all at the same place."""

PIECE = 4 << 20
"""Most bytes, about, of one answer; the rest follows with the next."""


@dataclass(frozen=True)
class Piece:
    """A part of a console. ``end``: its end in bytes from the beginning; ``more``: whether more may follow."""

    text: bytes
    end: int
    more: bool


class _Position:
    """How far a console was computed. ``done``: the run has ended, and nothing follows."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._console = Console(settings)
        self._log = LogReader(log)
        self._text = bytearray()
        self._end = 0
        self._done = False

    def remembers(self, start: int) -> bool:
        """Whether the text from `start` on can be told, as far as it is computed."""
        return self._end - len(self._text) <= start <= self._end

    def read(self, start: int, *, ended: bool) -> Piece:
        """The text from `start`, which must not lie before what is kept; what lies between is passed over."""
        while not self._done and self._end - start < PIECE:
            events = self._log.read()
            if not events:
                if ended:
                    self._finish()
                break
            for event in events:
                self._feed(event)
            self._forget(start)
        kept_from = self._end - len(self._text)
        text = bytes(self._text[max(0, start - kept_from) :])
        return Piece(text, max(start, kept_from) + len(text), not self._done)

    def _feed(self, event: Event) -> None:
        self._add(self._console.feed(event))
        if event["type"] == EventType.RUN_FINISHED:
            self._finish()

    def _finish(self) -> None:
        self._add(self._console.finish())
        self._done = True

    def _add(self, text: str) -> None:
        encoded = text.encode("utf-8", "replace")
        self._text += encoded
        self._end += len(encoded)

    def _forget(self, start: int) -> None:
        """Drop what no answer needs: all but the tail, and what is asked for."""
        keep = max(TAIL_BYTES, self._end - start)
        del self._text[: max(0, len(self._text) - keep)]

    def rest(self) -> None:
        """Between two polls no more than the tail is kept."""
        self._forget(self._end)

    def close(self) -> None:
        """Give the log back."""
        self._log.close()


class Consoles:
    """The consoles that were asked for last. Used from all threads of a worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._positions: dict[str, _Position] = {}
        self._lock = threading.Lock()

    def read(self, run: str, log: Path, start: int, *, ended: bool) -> Piece:
        """Console text of a run from byte `start`. A start behind its end gives the text from the beginning.

        `ended`: the run is over, even if its log should lack the end.
        """
        position = self._take(run, start) or _Position(self._settings, log)
        try:
            piece = position.read(start, ended=ended)
            if start > position._end:  # Jenkins' convention: the text is another one than the reader knows
                position.close()
                position = _Position(self._settings, log)
                piece = position.read(0, ended=ended)
            position.rest()
        except BaseException:
            position.close()
            raise
        self._keep(run, position)
        return piece

    def close(self) -> None:
        """Forget all of them."""
        with self._lock:
            while self._positions:
                self._positions.popitem()[1].close()

    def _take(self, run: str, start: int) -> _Position | None:
        """The run's position, out of the store while it is used; None if there is none that is of use."""
        with self._lock:
            position = self._positions.get(run)
            if position is None or not position.remembers(start):
                return None
            return self._positions.pop(run)

    def _keep(self, run: str, position: _Position) -> None:
        with self._lock:
            replaced = self._positions.pop(run, None)
            self._positions[run] = position
            oldest = self._positions.pop(next(iter(self._positions))) if len(self._positions) > KEPT else None
        for dropped in (replaced, oldest):
            if dropped is not None:
                dropped.close()
