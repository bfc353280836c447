"""Following a run: every event once and in order, whenever a reader comes, and an end to the stream."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.serving import make_server

from kernel_gateway.api import events as events_module
from kernel_gateway.events import EventType

from .conftest import BASE, Service

Message = tuple[int, str, dict[str, Any]]


def messages(text: str) -> list[Message]:
    """The messages of a stream: id, event, data."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def follow(service: Service, id: str, query: str = "", **headers: str) -> list[Message]:
    answer = service.get(f"/runs/{id}/events{query}", headers=headers)
    assert answer.status_code == 200
    assert answer.mimetype == "text/event-stream"
    return messages(answer.get_data(as_text=True))


@pytest.fixture
def ended(service: Service) -> str:
    id = service.new_run()
    for number in range(5):
        service.print(id, f"line {number}\n")
    service.end(id)
    return id


def test_a_stream_holds_every_event_and_ends_with_the_run(service: Service, ended: str) -> None:
    got = follow(service, ended)

    assert [seq for seq, _, _ in got] == [1, 2, 3, 4, 5, 6, 7]
    assert [kind for _, kind, _ in got] == ["run_queued", *["stream"] * 5, "run_finished"]
    assert all(data["seq"] == seq and data["type"] == kind for seq, kind, data in got)


def test_a_reader_goes_on_behind_the_last_event_it_saw(service: Service, ended: str) -> None:
    assert [seq for seq, _, _ in follow(service, ended, "?after=4")] == [5, 6, 7]
    assert [seq for seq, _, _ in follow(service, ended, **{"Last-Event-ID": "5"})] == [6, 7]
    assert [seq for seq, _, _ in follow(service, ended, "?after=6", **{"Last-Event-ID": "2"})] == [7]


def test_what_is_there_comes_as_json_lines_without_waiting(service: Service) -> None:
    id = service.new_run()
    service.print(id, "one\n")

    answer = service.get(f"/runs/{id}/events?wait=0")
    assert answer.mimetype == "application/jsonl"
    assert answer.get_data() == (service.data.run(id) / "events.jsonl").read_bytes()
    assert service.get(f"/runs/{id}/events?wait=0&after=2").get_data() == b""


@pytest.mark.parametrize("query", ["after=-1", "after=x", "wait=2", "after=1e3"])
def test_a_query_that_makes_no_sense_is_refused(service: Service, ended: str, query: str) -> None:
    assert service.get(f"/runs/{ended}/events?{query}").status_code == 422


def test_events_come_as_they_happen(service: Service) -> None:
    id = service.new_run()
    answer = service.get(f"/runs/{id}/events", buffered=False)
    stream: Iterator[bytes] = answer.iter_encoded()
    assert next(stream).startswith(b"retry: ")
    assert messages(next(stream).decode())[0][1] == "run_queued"

    lags = []
    for number in range(20):
        service.print(id, f"{number}\n")
        written = time.perf_counter()
        got = messages(next(stream).decode())
        lags.append(time.perf_counter() - written)
        assert [data["text"] for _, _, data in got] == [f"{number}\n"]
    service.end(id)

    assert [kind for _, kind, _ in messages(b"".join(stream).decode())] == ["run_finished"]
    assert sorted(lags)[10] < 0.05
    answer.close()


def test_a_line_that_is_half_written_is_not_sent_before_it_is_whole(service: Service) -> None:
    id = service.new_run()
    with (service.data.run(id) / "events.jsonl").open("ab") as log:
        log.write(b'{"seq":2,"time":"2026-11-21T03:00:00.000000Z","type":"log","level":"info","mess')
        log.flush()
        stream = service.get(f"/runs/{id}/events?after=1", buffered=False).iter_encoded()
        next(stream)
        threading.Timer(0.1, lambda: os.write(log.fileno(), b'age":"whole"}\n')).start()

        ((seq, _, data),) = messages(next(stream).decode())

    assert (seq, data["message"]) == (2, "whole")


def test_silence_brings_heartbeats(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "HEARTBEAT_SECONDS", 0.05)
    id = service.new_run()
    stream = service.get(f"/runs/{id}/events?after=1", buffered=False).iter_encoded()
    next(stream)

    assert b"".join(next(stream) for _ in range(4)) == b": ping\n\n" * 2


def test_a_run_that_ended_without_a_word_ends_the_stream(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "HEARTBEAT_SECONDS", 0.05)
    id = service.new_run()
    service.gateway.runs.finish(id, "lost", "The runner vanished.", 5, 1.0)

    assert [seq for seq, _, _ in follow(service, id)] == [1]


def test_a_run_that_is_removed_ends_the_stream(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "HEARTBEAT_SECONDS", 0.05)
    id = service.new_run()
    stream = service.get(f"/runs/{id}/events", buffered=False).iter_encoded()
    next(stream)
    next(stream)

    (service.data.run(id) / "events.jsonl").unlink()

    assert b"".join(stream).count(b"ping") == 1


def test_a_long_log_is_sent_in_pieces(service: Service) -> None:
    id = service.new_run()
    events = [(EventType.STREAM, {"cell": 1, "name": "stdout", "text": "x" * 60_000})] * 100
    service.write(id, *events)
    service.end(id, results=False)

    pieces = list(service.get(f"/runs/{id}/events", buffered=False).iter_encoded())

    assert max(map(len, pieces)) < 2 << 20
    assert len(messages(b"".join(pieces).decode())) == 102


def test_many_readers_get_every_event(service: Service) -> None:
    id = service.new_run()
    got: list[list[int]] = []
    readers = [
        threading.Thread(target=lambda: got.append([seq for seq, _, _ in follow_with_own_client(service, id)]))
        for _ in range(10)
    ]
    for reader in readers:
        reader.start()
    log = service.log(id)
    for number in range(300):
        log.append(EventType.STREAM, cell=1, name="stdout", text=f"{number}\n")
        log.flush()
    log.close()
    service.end(id)
    for reader in readers:
        reader.join(20)

    assert got == [list(range(1, 303))] * 10


def follow_with_own_client(service: Service, id: str) -> list[Message]:
    headers = {"Authorization": f"Bearer {service.token}"}
    answer = service.app.test_client().get(f"{BASE}/runs/{id}/events", headers=headers)
    return messages(answer.get_data(as_text=True))


def test_a_reader_who_vanishes_is_noticed_at_the_next_heartbeat(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    import http.client

    monkeypatch.setattr(events_module, "HEARTBEAT_SECONDS", 0.05)
    id = service.new_run()
    server = make_server("127.0.0.1", 0, service.app, threaded=True)
    server.log = lambda *_: None  # type: ignore[method-assign]
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    before = threading.active_count()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", f"{BASE}/runs/{id}/events", headers={"Authorization": f"Bearer {service.token}"})
    answer = connection.getresponse()
    assert answer.readline().startswith(b"retry:")
    assert threading.active_count() == before + 1

    answer.close()
    connection.close()

    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() == before
    server.shutdown()
    server.server_close()
    serving.join(5)
