"""A service's data folder and database, with runs in them as the service makes them."""

from __future__ import annotations

import json
import logging
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, update

from kernel_gateway.events import EventType, Status
from kernel_gateway.store.blobs import BlobStore
from kernel_gateway.store.database import writing
from kernel_gateway.store.eventlog import EventLog
from kernel_gateway.store.models import runs as table
from kernel_gateway.store.records import RetentionPolicy
from kernel_gateway.store.retention import BLOB_GRACE, Collected, collect_garbage
from kernel_gateway.store.runs import NewRun, RunStore

log = logging.getLogger("test")
KEEP_ALL = RetentionPolicy()
OLD = BLOB_GRACE + 60
"""Seconds: the age of a blob that may go."""


class Service:
    """A data folder and its database, with runs made as the service makes them."""

    def __init__(self, data: Path, engine: Engine) -> None:
        self.data = data
        self.engine = engine
        self.runs = RunStore(engine)
        self.blobs = BlobStore(data / "blobs")
        (data / "runs").mkdir(parents=True)

    def blob(self, content: bytes, age: float = OLD) -> str:
        digest = self.blobs.put(content)
        moment = time.time() - age
        os.utime(self.blobs.path(digest), (moment, moment))
        return digest

    def run(
        self,
        id: str,
        status: Status = Status.SUCCEEDED,
        *,
        days: float = 0.0,
        workspace: tuple[str, ...] = (),
        outputs: tuple[str, ...] = (),
        size: int = 0,
    ) -> Path:
        """A run with a folder, that reached `status`, and if that is an end, `days` ago."""
        folder = self.folder(id)
        folder.mkdir()
        files = [{"path": f"{digest[:8]}.txt", "sha256": digest, "size": 1} for digest in workspace]
        (folder / "request.json").write_text(json.dumps({"name": "n", "workspace": files}, indent=1))
        events = EventLog(folder / "events.jsonl")
        events.append(EventType.RUN_QUEUED, run=id)
        for digest in outputs:
            events.append(EventType.DISPLAY, data={}, blobs={"image/png": {"sha256": digest, "size": 1}})
        events.close()
        if size:
            (folder / "artifacts").mkdir()
            (folder / "artifacts" / "model.bin").write_bytes(b"\1" * size)
        self.runs.submit(NewRun(id=id, name="n"))
        if status != Status.QUEUED:
            self.runs.take_next(lambda run: run.id == id)
        if status == Status.RUNNING:
            self.runs.set_running(id)
        if status.is_final:
            self.runs.finish(id, status, "", 0, 1.0)
            finished = datetime.now(UTC) - timedelta(days=days)
            with writing(self.engine) as connection:
                connection.execute(update(table).where(table.c.id == id).values(finished=finished))
        return folder

    def folder(self, id: str) -> Path:
        return self.data / "runs" / id

    def collect(self, policy: RetentionPolicy = KEEP_ALL) -> Collected:
        return collect_garbage(self.runs, self.data, policy, log)

    def left(self) -> list[str]:
        """The runs that are in the database; they must be those that have a folder."""
        ids = sorted(record.id for record in self.runs.list()[0])
        assert ids == sorted(path.name for path in (self.data / "runs").iterdir())
        return ids

    def has(self, digest: str) -> bool:
        return self.blobs.path(digest).exists()
