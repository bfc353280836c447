"""A gateway without its other processes: the application, its data folder, and runs whose logs tests write."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from kernel_gateway.agents.layout import DataFolder
from kernel_gateway.api import create_app
from kernel_gateway.api.service import KEY, Gateway
from kernel_gateway.events import EventType
from kernel_gateway.settings import Settings
from kernel_gateway.store.database import migrate, open_database
from kernel_gateway.store.eventlog import EventLog
from kernel_gateway.store.folder import RunFolder

BASE = "/api/v1"

NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "one",
            "metadata": {"tags": ["parameters"]},
            "outputs": [],
            "source": "epochs = 1",
        },
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "two",
            "metadata": {},
            "outputs": [],
            "source": "print(epochs)",
        },
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


class Service:
    """The application under test, spoken to as an admin unless told otherwise."""

    def __init__(self, settings: Settings, token: str = "") -> None:
        self.app = create_app(settings)
        self.client: FlaskClient = self.app.test_client()
        self.gateway: Gateway = self.app.extensions[KEY]
        self.settings = settings
        self.data: DataFolder = self.gateway.data
        self.token = token or self.new_token("admin")

    def new_token(self, scope: str) -> str:
        """A token with one scope, named after it."""
        return self.gateway.tokens.create(scope, [scope])[0]

    def call(self, method: str, path: str, *, token: str | None = None, **more: Any) -> TestResponse:
        """A request below the prefix; `token` is the admin's unless given, none if empty."""
        token = self.token if token is None else token
        more.setdefault("buffered", True)
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **more.pop("headers", {})}
        return self.client.open(
            path if path.startswith("/api") else BASE + path, method=method, headers=headers, **more
        )

    def get(self, path: str, **more: Any) -> TestResponse:
        """A GET below the prefix."""
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> TestResponse:
        """A POST of JSON below the prefix."""
        return self.call("POST", path, json=body, **more)

    def submit(self, *, headers: dict[str, str] | None = None, token: str | None = None, **fields: Any) -> TestResponse:
        """Submit a small notebook, or what `fields` say instead."""
        body = {"name": "train", "source": {"path": "train.ipynb", "content": json.dumps(NOTEBOOK)}} | fields
        return self.post("/runs", body, headers=headers or {}, token=token)

    def new_run(self, **fields: Any) -> str:
        """The id of a run just submitted."""
        answer = self.submit(**fields)
        assert answer.status_code == 201, answer.text
        return str(answer.get_json()["id"])

    def log(self, id: str) -> EventLog:
        """The run's log, opened as its runner opens it."""
        return EventLog.resume(self.data.run(id) / "events.jsonl")

    def start(self, id: str) -> None:
        """Do what the dispatcher does when a run starts, for the run that is next."""
        taken = self.gateway.runs.take_next(lambda record: record.id == id)
        assert taken is not None
        self.gateway.runs.set_runner(id, 1, 1, [])
        self.gateway.runs.set_running(id)

    def write(self, id: str, *events: tuple[EventType, dict[str, Any]]) -> None:
        """Append events to a run's log."""
        log = self.log(id)
        for kind, fields in events:
            log.append(kind, **fields)
        log.close()

    def print(self, id: str, text: str) -> None:
        """Have the run print."""
        self.write(id, (EventType.STREAM, {"cell": 1, "name": "stdout", "text": text}))

    def end(self, id: str, status: str = "succeeded", *, results: bool = True) -> None:
        """End a run as its runner and the dispatcher do."""
        folder = RunFolder(self.data.run(id), self.settings, shared=self.gateway.blobs)
        folder.log.append(
            EventType.RUN_FINISHED, status=status, reason="", seconds=1.5, exit_code=0, packages={}, versions={}
        )
        folder.log.close()
        if results:
            folder.write_results()
        folder.release()
        self.gateway.runs.finish(id, status, "", 0, 1.5)

    def agent_says(self, **state: Any) -> Path:
        """What the dispatcher writes about itself."""
        file = self.data.agent_state
        state = {"name": "here", "pid": 1, "slots": 2, "busy": 0, "runs": [], "gpus": {}, "labels": []} | state
        file.write_text(json.dumps(state))
        return file


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file; migrating anew would cost each test a third of a second."""
    file = tmp_path_factory.mktemp("database") / "gateway.db"
    engine = open_database(f"sqlite:///{file}")
    migrate(engine)
    engine.dispose()
    return file


@pytest.fixture
def settings(tmp_path: Path, empty_database: Path) -> Settings:
    """Settings of a gateway whose data folder is ready."""
    data = tmp_path / "data"
    for name in ("run", "runs", "blobs"):
        (data / name).mkdir(parents=True)
    shutil.copy(empty_database, data / "gateway.db")
    return Settings(data=str(data), max_body_mb=1, max_blob_mb=2)


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """A gateway with an empty data folder."""
    made = Service(settings)
    yield made
    made.gateway.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Kernelspecs as people install them, bash's for one, hold keys that traitlets warns of."""
    mark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments to super.KernelSpec:DeprecationWarning")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(mark)
