"""The tracker as a service uses it: one process for many runs, over a Unix socket, which may die at any time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow.entities import LoggedModelOutput

from kernel_gateway.tracking.client import TrackerClient, Tracking, experiment_of, tracker_command
from kernel_gateway.tracking.mlflow_client import MlflowClient
from kernel_gateway.tracking.note import Note

from .conftest import Server, free_port

TIME = "2026-11-21T10:00:00.000000Z"


class Service:
    """A tracker, and a folder of runs whose logs this test writes."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.runs = folder / "runs"
        self.runs.mkdir()
        self.socket = folder / "tracker.sock"
        self.uri = uri
        self.process: subprocess.Popen[bytes] | None = None
        self.clients: list[TrackerClient] = []

    def client(self) -> TrackerClient:
        self.clients.append(TrackerClient(self.socket))
        return self.clients[-1]

    def start(self) -> None:
        environ = {**os.environ, "MLFLOW_TRACKING_URI": self.uri}
        self.process = subprocess.Popen(
            tracker_command(self.socket, self.runs), env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while not self._listens():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _listens(self) -> bool:
        """Whether it takes connections: its socket's file is there a moment before."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)

    def write(self, run: str, *events: dict[str, Any]) -> Path:
        folder = self.runs / run
        folder.mkdir(exist_ok=True)
        with (folder / "events.jsonl").open("a") as log:
            for event in events:
                log.write(json.dumps({"time": TIME, **event}) + "\n")
        return folder


def queued(run: str) -> dict[str, Any]:
    return {"seq": 1, "type": "run_queued", "run": run, "program": {"name": "n"}, "provenance": {}}


def metric(seq: int, value: float) -> dict[str, Any]:
    return {"seq": seq, "type": "metric", "name": "m", "value": value, "step": seq, "cell": 0}


def finished(seq: int) -> dict[str, Any]:
    return {"seq": seq, "type": "run_finished", "status": "succeeded", "reason": "", "seconds": 1.0}


@pytest.fixture
def service(tmp_path: Path, server: Server) -> Iterator[Service]:
    service = Service(tmp_path, server.uri)
    yield service
    service.kill()
    for client in service.clients:
        client.close()


def note_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "mlflow.json").read_text())
    return found


def test_one_tracker_serves_runs_side_by_side(service: Service, mlflow: Any) -> None:
    service.start()
    client = service.client()
    folders = {run: service.write(run, queued(run), metric(2, 0.5)) for run in ("run-a", "run-b")}

    attached = {run: client.begin(run, folder, "side by side", 60) for run, folder in folders.items()}
    again = client.begin("run-a", folders["run-a"], "side by side", 60)
    for run in folders:
        service.write(run, metric(3, 0.75), finished(4))
    ended = [client.finish(run, 60) for run in folders]

    assert ended == [True, True]
    first, second = attached["run-a"], attached["run-b"]
    assert first is not None
    assert second is not None
    assert first == again
    assert first.run_id != second.run_id
    assert first.environ()["MLFLOW_RUN_ID"] == first.run_id
    for attachment in (first, second):
        history = mlflow.get_metric_history(attachment.run_id, "m")
        assert [(point.value, point.step) for point in history] == [(0.5, 2), (0.75, 3)]
        assert mlflow.get_run(attachment.run_id).info.status == "FINISHED"


def test_a_tracker_that_starts_again_sends_what_an_earlier_one_had_not(service: Service, mlflow: Any) -> None:
    service.start()
    client = service.client()
    folder = service.write("run-c", queued("run-c"), metric(2, 0.5))
    attached = client.begin("run-c", folder, "survivors", 60)
    assert attached is not None
    service.kill()
    service.write("run-c", metric(3, 0.25), finished(4))
    assert client.finish("run-c", 1, folder) is False
    never_begun = service.write("run-d", queued("run-d"), metric(2, 0.5), finished(3))
    Tracking(client, service.uri, "run-d", never_begun, "survivors", "run-d").begin()

    service.start()

    deadline = time.monotonic() + 60
    while not (note_of(folder)["complete"] and note_of(never_begun)["complete"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    history = mlflow.get_metric_history(attached.run_id, "m")
    assert [point.value for point in history] == [0.5, 0.25]
    assert len(mlflow.get_metric_history(note_of(never_begun)["run_id"], "m")) == 1


def test_a_model_that_mlflow_refuses_to_register_costs_nothing_else(service: Service, mlflow: Any) -> None:
    service.start()
    client = service.client()
    folder = service.write("run-e", queued("run-e"), metric(2, 0.5))
    attached = client.begin("run-e", folder, "refused", 60)
    assert attached is not None
    experiment = mlflow.get_run(attached.run_id).info.experiment_id
    model = mlflow.create_logged_model(experiment, name="m", source_run_id=attached.run_id)
    mlflow.log_outputs(attached.run_id, [LoggedModelOutput(model.model_id, step=0)])

    now = client.answer(client.ask("register", run="run-e", name="m", alias="latest"), 60) or {}
    later = service.write("run-f", queued("run-f"), metric(2, 0.5), finished(3))
    Note("run-f", service.uri, "refused", "run-f", attached.run_id, experiment, register={"name": "a/b"}).write(later)
    sent = client.answer(client.ask("send", folder=str(later), seconds=60), 90) or {}
    service.write("run-e", metric(3, 0.75), finished(4))

    assert now["refused"]
    assert "reserved" in now["error"]
    assert sent["complete"]
    assert "refused to register the model" in " ".join(sent["remarks"])
    assert client.finish("run-e", 60)
    assert mlflow.get_run(attached.run_id).info.status == "FINISHED"


def test_a_model_is_registered_once_whatever_its_name(server: Server, mlflow: Any) -> None:
    run = mlflow.create_run(mlflow.create_experiment("registered once")).info
    model = mlflow.create_logged_model(run.experiment_id, name="m", source_run_id=run.run_id)
    client = MlflowClient(server.uri)

    for name in ("o'brien", 'the "old" one', "plain"):
        assert [client.register(name, model.model_id, run.run_id, "r").version for _ in range(2)] == ["1", "1"], name


def test_a_note_is_written_whole_by_several_threads_at_once(tmp_path: Path) -> None:
    note = Note("run", "http://h", "e", "n")

    with ThreadPoolExecutor(8) as pool:
        written = [pool.submit(note.write, tmp_path) for _ in range(400)]

    assert [one.exception() for one in written if one.exception()] == []
    assert Note.read(tmp_path) == note


def test_a_tracker_holds_no_file_of_a_run_that_waits_for_mlflow(service: Service) -> None:
    service.uri = f"http://127.0.0.1:{free_port()}"
    for number in range(40):
        folder = service.write(f"run-{number}", queued(f"run-{number}"), finished(2))
        Note(f"run-{number}", service.uri, "e", "n").write(folder)
    service.start()

    deadline = time.monotonic() + 60
    while not all(note_of(service.runs / f"run-{number}")["problem"] for number in range(40)):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert service.process is not None
    tracker = psutil.Process(service.process.pid)
    while any(file.path.endswith("events.jsonl") for file in tracker.open_files()):  # one may just be read again
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_a_tracker_every_call_returns_at_once(tmp_path: Path) -> None:
    client = TrackerClient(tmp_path / "nobody.sock")

    assert client.begin("run", tmp_path, "name", 5) is None
    assert client.finish("run", 5) is False
    assert client.answer(client.ask("metrics", run="run"), 5) == {
        "error": "The process that talks to MLflow has ended."
    }


def test_nobody_else_may_talk_to_the_tracker(service: Service) -> None:
    service.start()

    assert service.socket.stat().st_mode & 0o077 == 0


def test_a_tracker_of_one_command_ends_with_it(tmp_path: Path) -> None:
    client = TrackerClient.start(f"http://127.0.0.1:{free_port()}", os.environ)
    pid = client.pid
    assert pid is not None

    client.close()

    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("environ", "build", "experiment"),
    [
        ({"MLFLOW_EXPERIMENT_NAME": "mine"}, {"job": "team/train"}, "mine"),
        ({}, {"job": "team/train"}, "team/train"),
        ({}, None, "train"),
    ],
)
def test_the_experiment_is_the_users_else_the_jobs_else_the_runs(
    environ: dict[str, str], build: dict[str, Any] | None, experiment: str
) -> None:
    assert experiment_of(environ, build, "train") == experiment


def test_a_tracker_that_starts_again_returns_nothing_as_new_that_is_known(service: Service, mlflow: Any) -> None:
    def points(client: TrackerClient) -> list[Any]:
        answer = client.answer(client.ask("metrics", run="run-e", thorough=True), 60)
        assert answer is not None
        return list(answer["points"])

    service.start()
    client = service.client()
    folder = service.write("run-e", queued("run-e"), metric(2, 0.5))
    attached = client.begin("run-e", folder, "echoes", 60)
    assert attached is not None
    mlflow.log_metric(attached.run_id, "own", 7.0, step=3)
    first = points(client)
    service.write("run-e", {**metric(3, 7.0), "name": "own", "source": "mlflow"})
    deadline = time.monotonic() + 60
    while note_of(folder)["sent"] < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    service.kill()

    service.start()
    assert client.answer(client.ask("metrics", run="run-e"), 60) == {
        "error": "The process that talks to MLflow has ended."
    }
    assert client.begin("run-e", folder, "echoes", 60) == attached
    mlflow.log_metric(attached.run_id, "own", 8.0, step=4)

    assert first == [["own", "7.0", 3]]
    assert points(client) == [["own", "8.0", 4]]
