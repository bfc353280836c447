"""A run's event log on disk: ``events.jsonl``, one event a line, written once and only appended to."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import orjson

from ..errors import StorageError
from ..events import Event, EventType, encode_number, now

if TYPE_CHECKING:
    from .watching import FileWatch

BUFFER = 1 << 20
"""Bytes held back before they are written even though no `flush` was asked for."""

TAIL_STEP = 1 << 18

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
        self._open(path, reserve, os.O_CREAT | os.O_TRUNC)

    @classmethod
    def resume(cls, path: Path, reserve: Path | None = None) -> Self:
        """Go on with a log that another process began, whose writer is gone: the next event gets the next number.

        A last line that was cut when its writer was killed is cut off; so are lines at the end that are no events,
        as a power failure leaves them. Raises `StorageError`, also when there is no such file.
        """
        log = cls.__new__(cls)
        log._open(path, reserve, 0)
        try:
            log._keep_whole_events()
        except OSError as error:
            os.close(log._fd)
            raise StorageError(f"The event log {path} can't be continued: {error.strerror}.") from error
        return log

    def _open(self, path: Path, reserve: Path | None, flags: int) -> None:
        self.path = path
        self.size = 0
        self._seq = 0
        self._buffer = bytearray()
        self._changed = threading.Condition()
        self._closed = False
        self._failed = False
        self._reserve = reserve
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | flags, 0o644)
        except OSError as error:
            raise StorageError(f"The event log {path} can't be written: {error.strerror}.") from error

    @property
    def seq(self) -> int:
        """Number of the last event; 0 when there is none."""
        return self._seq

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

    def append_raw(self, type: str, seq: int, line: bytes) -> None:
        """Add an event as the line that it has in another log, of which this is a copy. Otherwise as `append`."""
        if self._failed and type not in CLOSING_TYPES:
            return
        self._seq = seq
        self._buffer += line
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
        self._keep_whole_events()

    def _keep_whole_events(self) -> None:
        """Cut the file after its last whole event, and go on counting from there."""
        with self.path.open("rb") as file:
            self.size, self._seq = _end_of_events(file)
        os.truncate(self.path, self.size)

    def restore(self) -> None:
        """Put the file back where it was if somebody has removed it, as a cell does by ``git clean``.

        Whoever owns the folder calls it before `close`. Linux only; raises `StorageError` where it can't be done.
        """
        try:
            if self.path.exists() and os.path.samestat(self.path.stat(), os.fstat(self._fd)):
                return
            from shutil import copyfileobj

            self.flush()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(f"/proc/self/fd/{self._fd}", "rb") as lost, self.path.open("wb") as file:
                copyfileobj(lost, file)
        except OSError as error:
            raise StorageError(f"The event log {self.path} was removed during the run: {error.strerror}.") from error

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
        try:
            return float(value)
        except OverflowError:
            return encode_number(math.inf if value > 0 else -math.inf)
    return value


def last_event(path: Path) -> Event | None:
    """The last whole event of a log, without reading the rest; None if there is none. Raises OSError."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        start = end
        tail = b""
        # A line may be longer than one step; what follows the last line end is a half line.
        while start > 0 and tail.count(b"\n") < 2:
            start = max(0, start - TAIL_STEP)
            file.seek(start)
            tail = file.read(end - start)
    lines = tail[: tail.rfind(b"\n") + 1].splitlines()
    return orjson.loads(lines[-1]) if lines else None


def read_events(path: Path, after: int = 0) -> Iterator[Event]:
    """The events of a log whose ``seq`` is greater than `after`, one at a time; a cut last line is left out."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                event: Event = orjson.loads(line)
                if event["seq"] > after:
                    yield event


def _end_of_events(file: BinaryIO) -> tuple[int, int]:
    """Where the last whole event of a log ends, and its ``seq``; (0, 0) when there is none. Reads from the end."""
    end = _after_last_newline(file, file.seek(0, os.SEEK_END))
    while end:
        start = _after_last_newline(file, end - 1)
        file.seek(start)
        try:
            event = orjson.loads(file.read(end - start))
            return end, int(event["seq"])
        except (ValueError, TypeError, KeyError):
            end = start
    return 0, 0


def _after_last_newline(file: BinaryIO, end: int) -> int:
    """The position behind the last line feed before `end`; 0 if there is none."""
    while end:
        start = max(0, end - (1 << 16))
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


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


class LogReader:
    """Reads a log that another process may be writing: `read` returns what has come since, `wait` waits for more.

    `follow_file` does so in turn; so do callers who have something to say in between, such as heartbeats.
    """

    def __init__(self, path: Path, after: int = 0) -> None:
        """`after`: the ``seq`` of the last event that is not wanted any more; 0 for all. The file may come later."""
        self.path = path
        self.after = after
        self._file: BinaryIO | None = None
        self._watch: FileWatch | None = None
        self._seen = 0

    def read(self, size: int = 1 << 20) -> list[Event]:
        """The next events, about `size` bytes of them; none at the end of what is there. Raises OSError."""
        if self._file is None:
            try:
                self._file = self.path.open("rb")
            except FileNotFoundError:
                return []
        events: list[Event] = []
        while not events:
            lines = self._file.readlines(size)
            for line in lines:
                event = _event_of(line)
                if event is None:  # still being written; or left so, and its next writer will cut it off
                    self._file.seek(self._seen)
                    return events
                self._seen += len(line)
                if event["seq"] > self.after:
                    self.after = event["seq"]
                    events.append(event)
            if not lines:
                break
        if events and self._watch is not None:
            self._watch.found()
        return events

    def wait(self, seconds: float) -> None:
        """Wait until there may be more to `read`, at most so long: it returns at once when the log grows."""
        seconds = max(0.0, seconds)
        if self._watch is None and self._file is not None:
            from .watching import FileWatch

            self._watch = FileWatch(self.path)
        elif self._watch is not None:
            self._watch.wait(seconds)
        else:
            time.sleep(min(seconds, LOOK_SECONDS))

    @property
    def is_deleted(self) -> bool:
        """Whether the file was read from and is gone: no more events will come."""
        return self._file is not None and os.fstat(self._file.fileno()).st_nlink == 0

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        if self._watch is not None:
            self._watch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _event_of(line: bytes) -> Event | None:
    if not line.endswith(b"\n"):
        return None
    try:
        event: Event = orjson.loads(line)
    except ValueError:
        return None
    return event


LOOK_SECONDS = 0.01
"""How often a log is looked at that is not there yet or that nothing tells of, and `follow_file` may stop."""


def follow_file(path: Path, after: int, stop: Callable[[], bool]) -> Iterator[Event]:
    """The events of a log that any process writes, those with a ``seq`` greater than `after`, as they come.

    Ends once `stop` says so and all that was in the file by then has been read, or when the file is deleted.
    The file need not be there yet.
    Nothing is held but the lines under way, so a slow reader costs the writer nothing. Raises OSError.
    """
    with LogReader(path, after) as reader:
        while True:
            stopping = stop()  # asked before the file is read: what stood in it when the run ended is never missed
            events = reader.read()
            yield from events
            if not events:
                if stopping or reader.is_deleted:
                    return
                reader.wait(LOOK_SECONDS)
