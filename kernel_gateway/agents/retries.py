"""A lost run tried again: the same request under a new id, so that both event logs stay true."""

from __future__ import annotations

import contextlib
import secrets as random
import shutil
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from ..errors import UnreachableError
from ..events import EventType
from ..store.eventlog import EventLog, read_events
from ..store.runs import NewRun, RunRecord, RunStore
from .layout import DataFolder
from .vault import VaultClient


def new_run_id() -> str:
    """An id that sorts by time: ``20261121-073012-9f3a1c2b``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{random.token_hex(4)}"


def try_again(store: RunStore, data: DataFolder, lost: RunRecord, vault: VaultClient) -> str | None:
    """Queue a lost run once more; returns the new run's id, or None if its folder or secrets are gone."""
    id = new_run_id()
    source, target = data.run(lost.id), data.run(id)
    try:
        first = next(read_events(source / "events.jsonl"))
        target.mkdir(mode=0o700)
        shutil.copyfile(source / "request.json", target / "request.json")
        if first["provenance"].get("secrets"):
            secrets = vault.get(lost.id)
            if secrets is None:
                return None
            vault.put(id, secrets)
    except (OSError, StopIteration, KeyError, UnreachableError):
        return None
    log = EventLog(target / "events.jsonl")
    kept = {name: value for name, value in first.items() if name not in ("seq", "time", "type", "run")}
    kept["provenance"] = {**kept["provenance"], "run": id, "retry_of": lost.id}
    log.append(EventType.RUN_QUEUED, run=id, **kept)
    log.close()
    again, created = store.submit(_as_new(lost, id))
    if not created:  # a dispatcher before us was killed right after it had done the same
        shutil.rmtree(target, ignore_errors=True)
        with contextlib.suppress(UnreachableError):
            vault.forget(id)
    return again.id


def _as_new(lost: RunRecord, id: str) -> NewRun:
    """The row of the new run: what the old one asked for, one attempt further."""
    kept: dict[str, Any] = {field.name: getattr(lost, field.name) for field in fields(NewRun)}
    return NewRun(**{**kept, "id": id, "attempt": lost.attempt + 1, "retry_of": lost.id, "idempotency_key": None})
