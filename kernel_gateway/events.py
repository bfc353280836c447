"""The vocabulary of runs: statuses and the event types that an event log is made of.

A run's event log is the truth about it; every result file is computed from it. An event is a plain
``dict`` (one JSON object a line in ``events.jsonl``) with ``seq`` (from 1, no gaps), ``time`` (RFC 3339,
UTC), ``type``, and the fields that `EVENT_FIELDS` lists for its type. The runner emits events into an
`EventSink`; projections read them. This module does no I/O and imports nothing of this package.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

Event = dict[str, Any]
"""One event as it stands in the log; JSON values only."""

INLINE_LIMIT = 64 * 1024
"""Longest MIME value, in bytes, that stands in an event itself; longer ones are blob references."""

STREAM_CHUNK = 64 * 1024
"""Longest text, in characters, of one ``stream`` event; longer output becomes several events."""


class Status(StrEnum):
    """Where a run is. Each end has a name of its own: a dead kernel never looks like a failed cell."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    UNSTABLE = "unstable"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    KERNEL_DIED = "kernel_died"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        """Whether a run with this status has ended."""
        return self not in (Status.QUEUED, Status.STARTING, Status.RUNNING)


class CellStatus(StrEnum):
    """How a cell ended. ``skipped``: by its tag; ``aborted``: stopped by a timeout, a cancel or a dead kernel."""

    OK = "ok"
    ERROR = "error"
    SKIPPED = "skipped"
    ABORTED = "aborted"


class EventType(StrEnum):
    """The types of event. `EVENT_FIELDS` says what each carries."""

    RUN_QUEUED = "run_queued"
    RUN_STARTED = "run_started"
    RUN_FINISHED = "run_finished"
    CELL_STARTED = "cell_started"
    CELL_FINISHED = "cell_finished"
    STREAM = "stream"
    DISPLAY = "display"
    RESULT = "result"
    DISPLAY_UPDATE = "display_update"
    CLEAR_OUTPUT = "clear_output"
    ERROR = "error"
    METRIC = "metric"
    ARTIFACT = "artifact"
    GATE = "gate"
    LOG = "log"


EVENT_FIELDS: dict[EventType, dict[str, str]] = {
    EventType.RUN_QUEUED: {
        "run": "id of the run",
        "program": "the program as handed in, `Program.to_dict()`; cell indices count its `cells` from 0",
        "resources": "asked for: `gpus`, `cpus`, `memory` and `max_memory` (bytes), `max_gpu_hours`, `label`, …",
        "gates": "the gates that will be judged: `expression` and `origin` of each, `request` or `source`",
        "provenance": "where it came from: `source_digest`, `git`, `build`, `parameters`, `secrets` (names)",
    },
    EventType.RUN_STARTED: {
        "agent": "name of the machine that runs it",
        "kernel": "kernelspec of the program's first kernel",
        "start": "how that came to be: warm, forked or cold; null if none was started",
        "versions": "name → version of gateway, python, kernel language and implementation",
        "language_info": "what the first kernel says of its language, as notebooks keep it",
    },
    EventType.RUN_FINISHED: {
        "status": "a final `Status`",
        "reason": "one sentence for people; empty after success",
        "seconds": "wall-clock seconds that the run took, without waiting in a queue",
        "versions": "as in `run_started`, of every kernel that was started",
        "retried_as": "id of the run that tries again what was lost; absent or null if none does",
        "packages": "installed Python packages of the kernel's environment, name → version",
        "exit_code": "what the command exits with",
        "usage": "what was measured: metric name → value; absent if the runner did not end it",
    },
    EventType.CELL_STARTED: {
        "cell": "index of the cell",
        "id": "the cell's id",
        "title": "the cell's heading or first line",
        "kernel": "kernelspec it runs on",
    },
    EventType.CELL_FINISHED: {
        "cell": "index of the cell",
        "id": "the cell's id",
        "title": "the cell's heading or first line",
        "status": "a `CellStatus`",
        "seconds": "wall-clock seconds in the cell; 0 when skipped",
        "execution_count": "the kernel's counter, or null",
    },
    EventType.STREAM: {
        "cell": "index of the cell, or null for output outside any",
        "name": "`stdout` or `stderr`",
        "text": "text as printed, carriage returns and ANSI codes included",
    },
    EventType.DISPLAY: {
        "cell": "index of the cell, or null",
        "data": "MIME type → value, as in the Jupyter protocol; values over 64 KiB stand in `blobs`",
        "metadata": "as in the Jupyter protocol",
        "blobs": "MIME type → `sha256`, `size`, `encoding` (`utf-8`, `base64`, `json`) of values kept as blobs",
        "display_id": "id for later updates, or null",
    },
    EventType.RESULT: {
        "cell": "index of the cell",
        "data": "as in `display`",
        "metadata": "as in `display`",
        "blobs": "as in `display`",
        "display_id": "as in `display`",
        "execution_count": "the kernel's counter",
    },
    EventType.DISPLAY_UPDATE: {
        "cell": "index of the cell that sent the update",
        "data": "as in `display`",
        "metadata": "as in `display`",
        "blobs": "as in `display`",
        "display_id": "id of the display to replace, in whichever cell it stands",
    },
    EventType.CLEAR_OUTPUT: {
        "cell": "index of the cell",
        "wait": "whether to clear only when the next output arrives",
    },
    EventType.ERROR: {
        "cell": "index of the cell",
        "ename": "name of the error",
        "evalue": "its message",
        "traceback": "lines, ANSI codes included",
    },
    EventType.METRIC: {
        "name": "metric name",
        "value": "number, or `NaN`, `Infinity`, `-Infinity` as a string",
        "step": "integer step, or null",
        "cell": "index of the cell, or null",
        "source": "`mlflow`: the program logged it to MLflow itself; `gateway`: the gateway measured it; else absent",
    },
    EventType.ARTIFACT: {
        "path": "path below the working folder, with `/`",
        "sha256": "digest of the content, hexadecimal",
        "size": "bytes",
        "media_type": "guessed from the name",
        "cell": "index of the cell, or null",
    },
    EventType.GATE: {
        "expression": "the gate as written",
        "value": "left side as evaluated, as in `metric`, or null when it could not be",
        "bound": "right side as evaluated, as in `metric`, or null",
        "passed": "true or false",
        "message": "why it could not be evaluated, else empty",
    },
    EventType.LOG: {
        "level": "`info`, `warning` or `error`",
        "message": "the gateway's own remark",
    },
}
"""What each event type carries besides ``seq``, ``time`` and ``type``; `docs/events.md` stands on it."""


class EventSink(Protocol):
    """Takes a run's events in order. The runner calls it; `store.EventLog` is the real one."""

    def append(self, type: EventType, /, **fields: Any) -> None:
        """Add one event. Raises `errors.StorageError` when it can't be kept."""

    def flush(self) -> None:
        """Make what was appended visible to readers. The runner calls it whenever nothing else is waiting."""


def now() -> str:
    """The time as events carry it: RFC 3339, UTC, microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_between(start: str, end: str) -> float:
    """Seconds from one event's ``time`` to another's."""
    return (parse_time(end) - parse_time(start)).total_seconds()


def parse_time(time: str) -> datetime:
    """An event's ``time`` as an aware datetime."""
    return datetime.fromisoformat(time)


def encode_number(value: float) -> float | int | str:
    """A metric's value as JSON can carry it: NaN and the infinities become strings."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def decode_number(value: float | str) -> float:
    """The number behind a metric event's ``value``. Raises ValueError for other text."""
    return float(value)
