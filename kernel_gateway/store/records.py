"""A run as a row: what is asked for, what is kept, and which text a database can keep."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Self

from ..errors import UsageError
from ..events import Status
from ..settings import Settings

LONGEST_KEY = 255
"""Characters of an idempotency key."""

LONGEST_BUILD = 500
"""Characters of a build's job and number by which it can be looked up."""


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A run to be queued. ``token`` is the name of the token that submits it, ``build`` what its client was run by.

    ``gpus``, ``cpus`` and ``memory`` (bytes) are what an agent must grant it; 0 for no wish.

    ``retry_of`` is the id of the lost run that this one repeats; ``request_digest`` that of the request's body.
    """

    id: str
    name: str
    priority: int = 0
    retries: int = 0
    gpus: int = 0
    cpus: float = 0.0
    memory: int = 0
    label: str | None = None
    kernel: str | None = None
    token: str = ""
    build: Mapping[str, Any] | None = None
    attempt: int = 1
    retry_of: str | None = None
    request_digest: str = ""
    idempotency_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run as it stands in the database. Times are UTC; ``seconds`` run from being queued to the end.

    ``runner_ticks`` is the start time of the process ``runner_pid``, so that a pid used again is not taken for it.
    """

    id: str
    name: str
    status: Status
    reason: str
    exit_code: int | None
    created: datetime
    started: datetime | None
    finished: datetime | None
    seconds: float | None
    priority: int
    gpus: int
    cpus: float
    memory: int
    label: str | None
    kernel: str | None
    token: str
    build: dict[str, Any] | None
    attempt: int
    retries: int
    retry_of: str | None
    retried_as: str | None
    runner_pid: int | None
    runner_ticks: int | None
    gpu_ids: list[str]
    cancel_requested: bool
    request_digest: str
    idempotency_key: str | None


def _build_key(build: Mapping[str, Any] | None) -> str | None:
    """What builds are looked up by: ``JOB#NUMBER``."""
    if not build or "job" not in build:
        return None
    key = tidy(f"{build['job']}#{build['number']}" if "number" in build else str(build["job"]))
    return key if len(key) <= LONGEST_BUILD else None


def columns_of(run: NewRun) -> dict[str, Any]:
    """The columns of a new run. Raises `UsageError` for text that not every database keeps (`storable`)."""
    for field in ("name", "label", "kernel", "token", "idempotency_key"):
        value = getattr(run, field)
        if value is not None and not storable(value):
            raise UsageError(f"The run's {field} holds characters that are no text. Remove them.", field=field)
    if run.idempotency_key is not None and not 0 < len(run.idempotency_key) <= LONGEST_KEY:
        raise UsageError(
            f"The idempotency key must have 1 to {LONGEST_KEY} characters; a UUID will do.", field="idempotency_key"
        )
    try:
        build = json.loads(json.dumps(run.build, allow_nan=False)) if run.build is not None else None
    except (TypeError, ValueError) as error:
        raise UsageError(f"The run's build is no JSON object: {error}.", field="build") from None
    values = {field.name: getattr(run, field.name) for field in fields(NewRun)}
    return values | {
        "build": build,
        "build_key": _build_key(run.build),
        "status": Status.QUEUED,
        "reason": "",
        "created": datetime.now(UTC),
        "gpu_ids": [],
        "cancel_requested": False,
    }


def final_status(status: str) -> Status:
    """The status that a run ends with. Raises ValueError for one that is no end."""
    final = Status(status)
    if not final.is_final:
        raise ValueError(f"a run can't end as {status}")
    return final


def storable(text: str) -> bool:
    """Whether every database keeps a text as it is."""
    return tidy(text) == text


def tidy(text: str) -> str:
    """Text that every database keeps: replacement characters for lone surrogates and NUL."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def cursor_after(record: RunRecord) -> str:
    """The cursor of the page that begins behind a run."""
    return base64.urlsafe_b64encode(f"{record.created.isoformat()} {record.id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """The time and the id that a cursor stands for. Raises `UsageError` for what `cursor_after` did not make."""
    try:
        content = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        time, _, id = content.partition(" ")
        created = datetime.fromisoformat(time)
        if created.tzinfo is None or not id or not storable(id):
            raise ValueError
        created = created.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            "The cursor is none that this gateway gave. Begin with the first page.", field="cursor"
        ) from None
    return created, id


@dataclass(frozen=True, kw_only=True)
class RetentionPolicy:
    """Which ended runs are kept; 0 sets no limit. A run goes as soon as one of the limits asks for it.

    ``max_age_days`` counts from the end of a run; ``max_bytes`` is what all runs and blobs may take on disk.
    """

    max_age_days: float = 0.0
    max_runs: int = 0
    max_bytes: int = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The policy that the settings ``retention_…`` make."""
        return cls(
            max_age_days=settings.retention_days,
            max_runs=settings.retention_runs,
            max_bytes=int(settings.retention_gb * 2**30),
        )
