"""The copy of an event log that a runner on another machine writes, and the pass with which it may send its events.

The runner's own log is the original: this copy is its beginning, byte for byte, and only ever grows by whole events.
Whoever sends says from which byte on; what is here already is not taken twice, and what is missing in between is
refused, so a sender that asks for the size and goes on from there loses and doubles nothing, whatever was cut.

A pass is a random token of which the run's folder keeps the digest. It counts for this run alone, until `revoke`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from ..errors import AuthError, ConflictError, UsageError
from ..events import Event, EventType, Status, parse_time
from .eventlog import EventLog

PASS_PREFIX = "kgr_"
"""What every pass begins with, so that scanners for leaked secrets can find one."""

_TYPES = frozenset(type.value for type in EventType) - {EventType.RUN_QUEUED.value}
_ENDS = frozenset(status.value for status in Status if status.is_final)
_LONGEST_RUN = 1e9

_TEXT, _TABLE, _NUMBER = (str,), (dict,), (int, float)
_NOTHING = type(None)
_SHOWN = {"data": _TABLE, "metadata": _TABLE, "display_id": (str, _NOTHING), "cell": (int, _NOTHING)}
_SHAPES: dict[str, dict[str, tuple[type, ...]]] = {
    EventType.RUN_STARTED: {"agent": _TEXT, "kernel": _TEXT, "versions": _TABLE},
    EventType.RUN_FINISHED: {"status": _TEXT, "reason": _TEXT, "seconds": _NUMBER, "exit_code": (int,)},
    EventType.CELL_STARTED: {"cell": (int,), "title": _TEXT},
    EventType.CELL_FINISHED: {"cell": (int,), "status": _TEXT, "seconds": _NUMBER},
    EventType.STREAM: {"name": _TEXT, "text": _TEXT, "cell": (int, _NOTHING)},
    EventType.DISPLAY: _SHOWN,
    EventType.RESULT: _SHOWN,
    EventType.DISPLAY_UPDATE: _SHOWN,
    EventType.ERROR: {"ename": _TEXT, "evalue": _TEXT, "traceback": (list,)},
    EventType.METRIC: {"name": _TEXT, "value": (*_NUMBER, str)},
    EventType.ARTIFACT: {"path": _TEXT, "sha256": _TEXT, "size": (int,)},
    EventType.GATE: {"expression": _TEXT},
    EventType.LOG: {"level": _TEXT, "message": _TEXT},
}
"""Event type → the fields without which nothing can be made of it, and their types: for what `EVENT_FIELDS` says."""
BEGUN = "runner.begun"
"""File in a run's folder that is there once a runner on another machine was told what to do."""

_DIGEST = "runner.pass"
_LONGEST_PASS = 100
_REVOKED = "The run's pass was revoked: the run has ended, or was given to another runner."


def issue(folder: Path) -> str:
    """A new pass for a run, by its folder; an earlier one counts no more. Raises OSError."""
    plain = PASS_PREFIX + secrets.token_urlsafe(32)
    part = folder / f".{_DIGEST}"
    part.write_text(_digest(plain))
    part.replace(folder / _DIGEST)
    return plain


def check(folder: Path, plain: str) -> bool:
    """Whether a pass counts for a run now."""
    if not plain.startswith(PASS_PREFIX) or len(plain) > _LONGEST_PASS or not plain.isascii():
        return False
    with contextlib.suppress(OSError):
        return hmac.compare_digest(_digest(plain), (folder / _DIGEST).read_text())
    return False


def begin(folder: Path, plain: str) -> None:
    """Note that a runner is told what to do. Raises `AuthError` when its pass was revoked meanwhile, OSError."""
    with _locked(folder / "events.jsonl"):
        if not check(folder, plain):
            raise AuthError(_REVOKED)
        (folder / BEGUN).touch()


def has_begun(folder: Path) -> bool:
    """Whether a runner was told what to do, so that it may have done something."""
    return (folder / BEGUN).exists()


def withdraw(folder: Path) -> bool:
    """Revoke the pass of a run that nobody has begun, and now never will; false if somebody has, or may have, since
    its folder is gone. Raises OSError.
    """
    try:
        with _locked(folder / "events.jsonl"):
            if has_begun(folder):
                return False
            (folder / _DIGEST).unlink(missing_ok=True)
            return True
    except FileNotFoundError:
        return False


def revoke(folder: Path) -> None:
    """Take nothing more for a run. When this returns, no event that was under way comes any more. Raises OSError."""
    (folder / _DIGEST).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError), _locked(folder / "events.jsonl"):
        pass


def _digest(plain: str) -> str:
    return hashlib.sha256(plain.encode()).hexdigest()


def take(
    folder: Path, plain: str, offset: int, body: bytes, accept: Callable[[Event], None]
) -> tuple[int, list[Event]]:
    """Append whole events at a byte of a run's log; returns the log's size then, and the events that were new.

    Nothing is taken if the log does not end at `offset`: the size tells where to go on. `accept` is called for each
    event before any is kept, and may raise. Raises `AuthError` when the pass was revoked meanwhile, `UsageError` for
    what can't be this log's next events, `ConflictError` after its last one, `StorageError` for a full disk.
    """
    with _locked(folder / "events.jsonl"):
        if not check(folder, plain):
            raise AuthError(_REVOKED)
        log = EventLog.resume(folder / "events.jsonl")
        try:
            if offset != log.size or not body:
                return log.size, []
            events = _parse(body, log.seq)
            for event in events:
                accept(event)
            log.append_raw(events[-1]["type"], events[-1]["seq"], body)
            log.flush()
            if events[-1]["type"] == EventType.RUN_FINISHED:
                (folder / _DIGEST).unlink(missing_ok=True)
            return log.size, events
        finally:
            log.close()


def _parse(body: bytes, seq: int) -> list[Event]:
    """The events of a piece of a log that goes on after `seq`. Raises `UsageError`, `ConflictError`."""
    if not body.endswith(b"\n"):
        raise UsageError("The piece must end with a whole event and its line feed.", field="events")
    events: list[Event] = []
    for line in body[:-1].split(b"\n"):
        event = _event(line)
        if events and events[-1]["type"] == EventType.RUN_FINISHED:
            raise ConflictError("The run's log has its last event already.")
        if event.get("seq") != seq + 1 or type(event["seq"]) is not int:
            raise UsageError(f"The event behind number {seq} has the number {event.get('seq')!r}.", field="events")
        seq += 1
        events.append(event)
    return events


def _event(line: bytes) -> Event:
    try:
        event: Any = orjson.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise UsageError("A line of the piece is no JSON object.", field="events")
    type = event.get("type")
    if not isinstance(type, str) or type not in _TYPES:
        raise UsageError(f"A runner sends no event of the type {str(type)[:100]!r}.", field="events")
    if not _is_time(event.get("time")):
        raise UsageError("An event of the piece has no time, as RFC 3339 writes it.", field="events")
    for name, kinds in _SHAPES.get(type, {}).items():
        if not isinstance(event.get(name), kinds):
            raise UsageError(f"An event of the type {type} has a {name!r} that is none.", field="events")
    if type == EventType.RUN_FINISHED and not _is_end(event):
        raise UsageError("The last event has a status, reason, seconds or exit_code that no run has.", field="events")
    return event


def _is_time(value: Any) -> bool:
    try:
        return parse_time(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _is_end(event: Event) -> bool:
    """Whether the last event can be entered in the database, which all runs share."""
    possible = event["status"] in _ENDS and 0 <= event["seconds"] < _LONGEST_RUN and 0 <= event["exit_code"] <= 255
    return possible and not isinstance(event["exit_code"], bool)


@contextmanager
def _locked(log: Path) -> Iterator[None]:
    """One sender at a time: two requests of one runner may overlap when a connection was cut."""
    fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
