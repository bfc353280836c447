"""A run's event log on disk: ``events.jsonl``, one event a line, written once and only appended to."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from ..errors import StorageError
from ..events import Event, EventType, now

BUFFER = 1 << 20
"""Bytes held back before they are written even though no `flush` was asked for."""

CLOSING_TYPES = frozenset(
    {EventType.CELL_FINISHED, EventType.ARTIFACT, EventType.GATE, EventType.LOG, EventType.RUN_FINISHED}
)
"""What is still written when the disk was full: how far the run got, not what it printed since."""


class EventLog:
    """Appends events to a file; the `EventSink` of every run. One writer, used from one thread.

    Readers in this process may `wait_for_more`; readers elsewhere follow the file.
    """

    def __init__(self, path: Path, *, reserve: Path | None = None) -> None:
        """Create the file anew. `reserve`: a file to give up when the disk is full, so that the end of
        the run can still be written. Raises `StorageError`.
        """
        self.path = path
        self.size = 0
        self._seq = 0
        self._buffer = bytearray()
        self._changed = threading.Condition()
        self._closed = False
        self._failed = False
        self._reserve = reserve
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(f"The event log {path} can't be written: {error.strerror}.") from error

    def append(self, type: EventType, /, **fields: Any) -> None:
        """Add an event: numbers it and gives it the time. Raises `StorageError` when it can't be kept.

        After that first error only the events that say how the run ended are taken, and no error is
        raised for them: the run ends anyway.
        """
        if self._failed and type not in CLOSING_TYPES:
            return
        self._seq += 1
        self._buffer += encode({"seq": self._seq, "time": now(), "type": type.value, **fields})
        if len(self._buffer) >= BUFFER:
            self.flush()

    def flush(self) -> None:
        """Write what was appended, and wake readers. Raises `StorageError` as `append` does."""
        try:
            while self._buffer:
                written = os.write(self._fd, self._buffer)
                del self._buffer[:written]
                self.size += written
        except OSError as error:
            if self._failed:
                return
            self._failed = True
            self._recover()
            raise StorageError(f"The event log {self.path} can't be written: {error.strerror}.") from error
        with self._changed:
            self._changed.notify_all()

    def _recover(self) -> None:
        """Drop what could not be kept, cut off a line that was half written, make room for the last events."""
        self._buffer.clear()
        if self._reserve is not None:
            self._reserve.unlink(missing_ok=True)
        self._seq = 0
        whole = 0
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    whole += len(line)
                    self._seq += 1
        os.truncate(self.path, whole)
        self.size = whole

    def close(self) -> None:
        """Write the rest and let readers come to an end."""
        try:
            self.flush()
        finally:
            self._closed = True
            os.close(self._fd)
            with self._changed:
                self._changed.notify_all()

    def wait_for_more(self, seen: int) -> bool:
        """Wait until the log is longer than `seen` bytes (true), or closed and read to its end (false)."""
        with self._changed:
            self._changed.wait_for(lambda: self.size > seen or self._closed)
        return self.size > seen


def encode(event: Event) -> bytes:
    """An event as its line of the log. Text that is not Unicode (lone surrogates) gets replacement characters."""
    try:
        return orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return orjson.dumps(_tidy(event), option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def _tidy(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_tidy(key): _tidy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tidy(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    return value


def read_events(path: Path, after: int = 0) -> Iterator[Event]:
    """The events of a log whose ``seq`` is greater than `after`, one at a time; a cut last line is left out."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                event: Event = orjson.loads(line)
                if event["seq"] > after:
                    yield event


def follow_events(log: EventLog) -> Iterator[Event]:
    """The events of a log that this process is writing, from the first, as they come, until it is closed.

    Reads from the file, so that a slow reader costs the writer neither time nor memory.
    """
    seen = 0
    with log.path.open("rb") as file:
        while log.wait_for_more(seen):
            for line in file.readlines(1 << 20):
                if not line.endswith(b"\n"):
                    file.seek(seen)  # cut by a write that is still under way
                    break
                seen += len(line)
                yield orjson.loads(line)
