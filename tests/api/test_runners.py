"""What a runner on another machine may send and ask: only with its run's pass, only the next events of its own log."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import Any

import pytest
from werkzeug.test import TestResponse

from kernel_gateway.events import EventType
from kernel_gateway.store import incoming

from .conftest import Service

CALLS = [("GET", ""), ("GET", f"/blobs/{'0' * 64}"), ("PUT", f"/blobs/{'0' * 64}"), ("POST", "/events/0")]


class Runner:
    """A runner with a pass, for a run that was just submitted."""

    def __init__(self, service: Service, **request: Any) -> None:
        self.service = service
        answer = service.call("POST", "/runs", json={"source": {"content": "print(1)"}, **request})
        self.id: str = answer.get_json()["id"]
        self.folder = service.data.run(self.id)
        self.log = self.folder / "events.jsonl"
        self.password = incoming.issue(self.folder)
        self.size = self.log.stat().st_size

    def call(self, method: str, path: str = "", *, token: str | None = None, **more: Any) -> TestResponse:
        """A call of its own."""
        token = self.password if token is None else token
        return self.service.call(method, f"/runners/{self.id}{path}", token=token, **more)

    def send(self, *events: dict[str, Any], offset: int | None = None) -> TestResponse:
        """Send events."""
        body = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        return self.call("POST", f"/events/{self.size if offset is None else offset}", data=body)


WHEN = "2026-11-21T12:00:00.000000Z"
END: dict[str, Any] = {"status": "succeeded", "reason": "", "seconds": 1.0, "exit_code": 0}


def event(seq: int, type: EventType = EventType.LOG, **fields: Any) -> dict[str, Any]:
    """An event of a log; a remark is a whole one."""
    given = {"level": "info", "message": ""} if type == EventType.LOG else {}
    return {"seq": seq, "time": WHEN, "type": type.value, **given, **fields}


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_a_call_takes_the_pass_of_this_very_run(service: Service, method: str, path: str) -> None:
    runner, other = Runner(service), Runner(service)

    assert runner.call(method, path, token="").status_code == 401
    assert runner.call(method, path, token=service.token).status_code == 401
    assert runner.call(method, path, token=other.password).status_code == 401
    assert runner.call(method, path).status_code != 401
    incoming.revoke(runner.folder)
    assert runner.call(method, path).status_code == 401


def test_a_pass_is_no_token(service: Service) -> None:
    runner = Runner(service)

    for path in ("/runs", f"/runs/{runner.id}", "/agents"):
        assert service.call("GET", path, token=runner.password).status_code == 401
    assert runner.password not in "".join(
        path.read_text(errors="replace") for path in runner.folder.rglob("*") if path.is_file()
    )


def test_a_piece_is_taken_once_wherever_an_answer_was_lost(service: Service) -> None:
    runner = Runner(service)
    piece = [event(2, message="one"), event(3, message="two")]

    first = runner.send(*piece)
    again = runner.send(*piece)
    ahead = runner.send(event(9), offset=10**6)

    size = runner.log.stat().st_size
    assert first.get_json() == again.get_json() == ahead.get_json() == {"size": size}
    assert [json.loads(line)["seq"] for line in runner.log.read_text().splitlines()] == [1, 2, 3]
    assert runner.send(event(4), offset=size).get_json()["size"] == runner.log.stat().st_size > size


def test_half_a_line_that_a_killed_gateway_left_is_cut_off(service: Service) -> None:
    runner = Runner(service)
    with runner.log.open("ab") as file:
        file.write(b'{"seq": 2, "ti')

    assert runner.call("POST", "/events/0", data=b"").get_json() == {"size": runner.size}
    assert runner.send(event(2)).status_code == 200
    assert [json.loads(line)["seq"] for line in runner.log.read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize(
    "body",
    [
        b"no json\n",
        b"[]\n",
        b'{"seq": 2, "time": "", "type": "log"}',
        json.dumps(event(3)).encode() + b"\n",
        json.dumps({**event(2), "seq": True}).encode() + b"\n",
        json.dumps({**event(2), "seq": 2.0}).encode() + b"\n",
        json.dumps({**event(2), "time": 5}).encode() + b"\n",
        json.dumps(event(2, EventType.RUN_QUEUED)).encode() + b"\n",
        json.dumps({**event(2), "time": "soon"}).encode() + b"\n",
        json.dumps({**event(2), "type": "own"}).encode() + b"\n",
        json.dumps({**event(2), "type": ["log"]}).encode() + b"\n",
        json.dumps(event(2)).encode() + b"\n" + json.dumps(event(2)).encode() + b"\n",
        json.dumps(event(2, EventType.ARTIFACT, size=1, path="../x", sha256="0" * 64)).encode() + b"\n",
        json.dumps(event(2, EventType.ARTIFACT, size=1, path="x", sha256="0" * 64)).encode() + b"\n",
        json.dumps(event(2, EventType.ARTIFACT, size=1, path="x", sha256="../../x")).encode() + b"\n",
        json.dumps(
            event(2, EventType.DISPLAY, data={}, metadata={}, blobs={"text/html": {"sha256": "1" * 64}})
        ).encode()
        + b"\n",
        json.dumps(event(2, EventType.DISPLAY, data={}, metadata={}, blobs=[1])).encode() + b"\n",
        json.dumps(event(2, EventType.DISPLAY, data=5, metadata={})).encode() + b"\n",
        json.dumps(event(2, EventType.DISPLAY, data={}, metadata={}, display_id=[1])).encode() + b"\n",
        json.dumps(event(2, EventType.STREAM, name="stdout")).encode() + b"\n",
        json.dumps(event(2, EventType.STREAM, name="stdout", text=1, cell=0)).encode() + b"\n",
        json.dumps(event(2, EventType.METRIC, name=["a"], value=1)).encode() + b"\n",
        json.dumps(event(2, EventType.GATE)).encode() + b"\n",
        json.dumps(event(2, message=None)).encode() + b"\n",
        *(
            json.dumps(event(2, EventType.RUN_FINISHED, **{**END, **wrong})).encode() + b"\n"
            for wrong in (
                {"status": "running"},
                {"status": ["failed"]},
                {"reason": None},
                {"seconds": -1},
                {"seconds": "1"},
                {"exit_code": 10**30},
                {"exit_code": True},
            )
        ),
        json.dumps(event(2, EventType.RUN_FINISHED)).encode() + b"\n",
    ],
)
def test_what_can_not_be_the_next_events_is_refused_as_a_whole(service: Service, body: bytes) -> None:
    runner = Runner(service)

    answer = runner.call("POST", f"/events/{runner.size}", data=body)

    assert answer.status_code == 422, answer.text
    assert runner.log.stat().st_size == runner.size


def test_after_its_last_event_nothing_counts(service: Service) -> None:
    runner = Runner(service)
    end = event(2, EventType.RUN_FINISHED, **END)

    assert runner.send(end, event(3)).status_code == 409
    assert runner.send(end).status_code == 200
    assert runner.send(event(3)).status_code == 401


def test_an_artifact_stands_in_its_place_when_its_event_is_taken(service: Service) -> None:
    runner = Runner(service)
    digest = hashlib.sha256(b"model").hexdigest()
    told = event(2, EventType.ARTIFACT, path="out/model.bin", sha256=digest, size=5, media_type="", cell=None)

    assert runner.call("PUT", f"/blobs/{digest}", data=b"other").status_code == 422
    assert runner.call("PUT", f"/blobs/{digest}", data=b"model").status_code == 200
    assert runner.send(told).status_code == 200
    assert (runner.folder / "artifacts/out/model.bin").read_bytes() == b"model"


def test_a_runner_gets_the_files_of_its_run_and_no_other(service: Service) -> None:
    mine, other = b"mine", b"other"
    for content in (mine, other):
        digest = hashlib.sha256(content).hexdigest()
        assert service.call("PUT", f"/blobs/{digest}", data=content).status_code == 201
    digest = hashlib.sha256(mine).hexdigest()
    runner = Runner(service, workspace=[{"path": "a.txt", "sha256": digest, "size": 4}])

    assert runner.call("GET", f"/blobs/{digest}").data == mine
    assert runner.call("GET", f"/blobs/{hashlib.sha256(other).hexdigest()}").status_code == 404


def test_a_runner_is_told_all_that_it_needs_and_no_setting_of_the_gateway_itself(service: Service) -> None:
    runner = Runner(service, name="train", parameters={"n": 7})

    told = runner.call("GET").get_json()

    assert told["request"]["name"] == "train"
    assert told["request"]["parameters"] == {"n": 7}
    assert told["log"].encode() == runner.log.read_bytes()
    assert told["secrets"] == {}
    assert told["settings"]["sandbox"] == service.settings.sandbox
    assert not {"database", "data", "tls_key", "host"} & told["settings"].keys()


def test_a_run_whose_folder_is_gone_can_not_be_taken_back_and_holds_nobody_up(service: Service) -> None:
    runner = Runner(service)
    shutil.rmtree(runner.folder)

    assert not incoming.withdraw(runner.folder)
    incoming.revoke(runner.folder)
    assert runner.call("GET").status_code == 401
