"""Console, projections, report and artifacts, of runs under way and ended; and that nothing leads out of a run."""

from __future__ import annotations

import json
import os
from typing import Any
from xml.etree import ElementTree

import pytest
from werkzeug.test import TestResponse

from kernel_gateway.api import consoles
from kernel_gateway.events import Event, EventType
from kernel_gateway.projections.console import Console
from kernel_gateway.store.eventlog import read_events

from .conftest import Service


def started(service: Service) -> str:
    """A run that is in its second cell."""
    id = service.new_run()
    service.start(id)
    service.write(
        id,
        (EventType.RUN_STARTED, {"agent": "here", "kernel": "python3", "versions": {"python": "3.11.2"}}),
        (EventType.CELL_STARTED, {"cell": 1, "id": "two", "title": "print(epochs)", "kernel": "python3"}),
    )
    return id


def whole_console(service: Service, id: str) -> bytes:
    """The console as computed from the log in one go."""
    console = Console(service.settings)
    events = list(read_events(service.data.run(id) / "events.jsonl"))
    text = "".join(console.feed(event) for event in events)
    return (text + (console.finish() if events[-1]["type"] == "run_finished" else "")).encode()


class Poller:
    """Reads a console as Jenkins does."""

    def __init__(self, service: Service, id: str) -> None:
        self._service = service
        self._id = id
        self.text = b""
        self.more = True
        self.start = 0

    def poll(self) -> bytes:
        answer = self._service.get(f"/runs/{self._id}/console?start={self.start}")
        assert answer.status_code == 200
        assert answer.content_type == "text/plain; charset=utf-8"
        self.start = int(answer.headers["X-Text-Size"])
        self.more = answer.headers.get("X-More-Data") == "true"
        self.text += answer.get_data()
        return answer.get_data()


def test_the_console_grows_with_the_run(service: Service) -> None:
    id = started(service)
    poller = Poller(service, id)
    poller.poll()
    service.print(id, "epoch 1 ✓\n")
    assert poller.poll() == "epoch 1 ✓\n".encode()
    assert poller.poll() == b""
    service.end(id)
    while poller.more:
        poller.poll()

    assert poller.text == (service.data.run(id) / "console.log").read_bytes()
    assert b"succeeded" in poller.text


def test_a_poll_costs_only_the_new_events(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    id = started(service)
    service.print(id, "before\n")
    poller = Poller(service, id)
    poller.poll()
    fed = []
    feed = Console.feed

    def counted(console: Console, event: Event) -> str:
        fed.append(event["seq"])
        return feed(console, event)

    monkeypatch.setattr(Console, "feed", counted)

    service.print(id, "after\n")
    poller.poll()

    assert len(fed) == 1


def test_another_worker_answers_the_same(service: Service) -> None:
    id = started(service)
    poller = Poller(service, id)
    poller.poll()
    service.print(id, "one\n")
    service.gateway.consoles.close()

    assert poller.poll() == b"one\n"


def test_readers_at_different_places_get_the_same_text(service: Service) -> None:
    id = started(service)
    quick, slow = Poller(service, id), Poller(service, id)
    for number in range(10):
        service.print(id, f"line {number}\n")
        quick.poll()
        if number % 4 == 0:
            slow.poll()
    slow.poll()

    assert quick.text == slow.text == whole_console(service, id)


def test_a_long_console_comes_in_pieces(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consoles, "PIECE", 10_000)
    monkeypatch.setattr(consoles, "TAIL_BYTES", 1_000)
    id = started(service)
    for number in range(40):
        service.print(id, f"{number} {'x' * 60_000}\n")
    service.end(id, results=False)
    poller = Poller(service, id)
    pieces = 0
    while poller.more:
        poller.poll()
        pieces += 1

    assert pieces > 1
    assert poller.text == whole_console(service, id)


def test_a_start_behind_the_end_gives_the_text_from_the_beginning(service: Service) -> None:
    id = started(service)
    whole = Poller(service, id).poll()

    assert service.get(f"/runs/{id}/console?start=100000").get_data() == whole
    service.end(id)
    ended = (service.data.run(id) / "console.log").read_bytes()
    assert service.get(f"/runs/{id}/console?start=100000").get_data() == ended


def test_the_console_of_a_run_that_ended_without_a_word_comes_to_an_end(service: Service) -> None:
    id = started(service)
    service.print(id, "so far")
    service.gateway.runs.finish(id, "lost", "The runner vanished.", 5, 1.0)
    poller = Poller(service, id)
    poller.poll()

    assert not poller.more
    assert poller.text.endswith(b"so far\n")


def test_only_so_many_consoles_are_kept(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consoles, "KEPT", 3)
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(8):
        Poller(service, service.new_run()).poll()

    assert len(service.gateway.consoles._positions) == 3
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 3 + 6  # some are the database's


@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
def test_every_result_is_there_at_any_time(service: Service, ended: bool) -> None:
    id = started(service)
    service.print(id, "hello\n")
    service.write(id, (EventType.METRIC, {"name": "accuracy", "value": 0.9, "step": None, "cell": 1}))
    if ended:
        service.end(id)

    notebook = service.get(f"/runs/{id}/notebook")
    assert notebook.mimetype == "application/x-ipynb+json"
    assert "hello" in str(json.loads(notebook.data)["cells"])
    junit = service.get(f"/runs/{id}/junit")
    assert junit.mimetype == "application/xml"
    assert ElementTree.fromstring(junit.data).tag == "testsuites"
    assert service.get(f"/runs/{id}/metrics").get_json() == {"accuracy": 0.9}
    record = service.get(f"/runs/{id}/record").get_json()
    assert (record["id"], record["status"]) == (id, "succeeded" if ended else "running")
    page = service.get(f"/runs/{id}/report/")
    assert page.mimetype == "text/html"
    assert b"hello" in page.data
    assert page.data == service.get(f"/runs/{id}/report/index.html").data
    style = service.get(f"/runs/{id}/report/style.css")
    assert (style.status_code, style.mimetype) == (200, "text/css")
    assert service.get(f"/runs/{id}/report/none.png").status_code == 404


def with_artifacts(service: Service, **files: bytes) -> str:
    id = started(service)
    folder = service.data.run(id) / "artifacts"
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        fields = {"sha256": "0" * 64, "size": len(content), "media_type": "text/plain", "cell": None}
        service.write(id, (EventType.ARTIFACT, {"path": path.relative_to(folder).as_posix(), **fields}))
    return id


def test_artifacts_are_listed_and_fetched(service: Service) -> None:
    id = with_artifacts(service, plots__loss_txt=b"falling", **{"a b%_txt": b"odd"})

    listed = service.get(f"/runs/{id}/artifacts").get_json()["artifacts"]

    assert [artifact["path"] for artifact in listed] == ["plots/loss.txt", "a b%.txt"]
    assert [service.get(artifact["link"]).data for artifact in listed] == [b"falling", b"odd"]


@pytest.mark.parametrize("name", ["a\nb.txt", "c\rX-Evil: 1\r\n.bin", "tab\t.png", "x.txt.gz", "a\\b.txt", "ä€.csv"])
def test_an_artifact_of_any_name_can_be_fetched_and_no_name_becomes_a_header(service: Service, name: str) -> None:
    id = with_artifacts(service, plain_txt=b"")
    (service.data.run(id) / "artifacts" / name).write_bytes(b"content")
    fields = {"path": name, "sha256": "0" * 64, "size": 7, "media_type": "text/plain", "cell": None}
    service.write(id, (EventType.ARTIFACT, fields))

    answer = service.get(service.get(f"/runs/{id}/artifacts").get_json()["artifacts"][-1]["link"])

    assert (answer.status_code, answer.data) == (200, b"content")
    assert "X-Evil" not in answer.headers
    assert answer.headers["Content-Disposition"].isprintable()
    if name.endswith(".gz"):
        assert answer.content_type == "application/octet-stream"


def test_a_part_of_an_artifact_can_be_fetched(service: Service) -> None:
    id = with_artifacts(service, model_bin=bytes(range(100)))
    path = f"/runs/{id}/artifacts/model.bin"

    part = service.get(path, headers={"Range": "bytes=10-19"})

    assert (part.status_code, part.data) == (206, bytes(range(10, 20)))
    assert part.headers["Content-Range"] == "bytes 10-19/100"
    assert service.get(path, headers={"Range": "bytes=90-"}).data == bytes(range(90, 100))
    beyond = service.get(path, headers={"Range": "bytes=100-"})
    assert (beyond.status_code, beyond.content_type) == (416, "application/problem+json")
    etag = service.get(path).headers["ETag"]
    assert service.get(path, headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plot_png", True),
        ("notes_txt", True),
        ("page_html", False),
        ("drawing_svg", False),
        ("script_js", False),
        ("data_xml", False),
        ("model_pkl", False),
    ],
)
def test_nothing_that_a_program_made_may_run_in_our_origin(service: Service, name: str, shown: bool) -> None:
    id = with_artifacts(service, **{name: b"<script>alert(1)</script>"})

    answer = service.get(f"/runs/{id}/artifacts/{name.replace('_', '.')}")

    assert answer.headers["Content-Security-Policy"].startswith("sandbox;")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers.get("Content-Disposition", "inline").startswith("inline" if shown else "attachment")


@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
@pytest.mark.parametrize("part", ["report/", "report/style.css", "notebook", "junit", "metrics", "record", "console"])
def test_results_carry_a_policy_that_allows_no_script(service: Service, part: str, ended: bool) -> None:
    id = started(service)
    if ended:
        service.end(id)

    headers = service.get(f"/runs/{id}/{part}").headers

    assert "sandbox" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "script" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


ESCAPES = [
    "../request.json",
    "..%2frequest.json",
    "%2e%2e/request.json",
    "a/../../request.json",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "..%5crequest.json",
    "x%00.txt",
    "link",
    "folder/passwd",
    ".",
    "folder",
    "plain.txt/x",
    "n" * 5000,
]


@pytest.mark.parametrize("part", ["artifacts", "report"])
@pytest.mark.parametrize("name", ESCAPES)
def test_no_name_and_no_link_leads_out_of_a_runs_folder(service: Service, part: str, name: str) -> None:
    id = with_artifacts(service, plain_txt=b"x")
    service.end(id)
    folder = service.data.run(id) / part
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "folder").symlink_to("/etc")

    answer = service.get(f"/runs/{id}/{part}/{name}")

    assert final(service, answer).status_code == 404
    assert b"root:" not in answer.data


def final(service: Service, answer: TestResponse) -> TestResponse:
    """The answer behind redirects, which tidy up slashes."""
    while answer.status_code == 308:
        answer = service.get(answer.headers["Location"].removeprefix("http://localhost"))
    return answer


def test_a_large_output_is_put_back_from_its_blob(service: Service) -> None:
    digest = service.gateway.blobs.put(b"the whole of it")
    id = started(service)
    blob: dict[str, Any] = {"text/plain": {"sha256": digest, "size": 15, "encoding": "utf-8"}}
    fields = {"cell": 1, "data": {}, "metadata": {}, "blobs": blob, "display_id": None}
    service.write(id, (EventType.DISPLAY, fields))

    assert "the whole of it" in service.get(f"/runs/{id}/notebook").text


def test_a_removed_log_is_404(service: Service) -> None:
    id = service.new_run()
    (service.data.run(id) / "events.jsonl").unlink()

    for part in ("events", "console", "notebook", "record", "report/", "artifacts"):
        assert service.get(f"/runs/{id}/{part}").status_code == 404, part


def test_a_head_request_opens_nothing_that_stays_open(service: Service) -> None:
    id = started(service)

    service.end(service_id := service.new_run())
    for part in ("notebook", "report/"):
        assert service.call("HEAD", f"/runs/{service_id}/{part}").status_code == 200
    for part in ("events", "console", "notebook"):
        assert service.call("HEAD", f"/runs/{id}/{part}").status_code == 200
