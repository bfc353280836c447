"""The list, a run, and the parts of them that an open page asks for again and again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest

from kernel_gateway.api import live as live_runs
from kernel_gateway.api.pages import assets, blueprint
from kernel_gateway.api.results import REPORT_POLICY
from kernel_gateway.events import Event, EventType
from kernel_gateway.projections.console import Console
from tests.api.conftest import Service

from .conftest import Reader

MISSING = "20261121-073012-9f3a1c2b"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def test_every_page_has_the_policy_that_allows_the_services_own_files_only(service: Service, reader: Reader) -> None:
    id = service.new_run()

    for path in ("/", f"/runs/{id}", "/compare", "/login", f"/runs/{MISSING}", "/?status=none", "/runs/fragment"):
        answer = reader.get(path)
        assert answer.headers["Content-Security-Policy"] == blueprint.POLICY, path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert " style=" not in answer.text
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|<style", answer.text)


def test_a_run_tells_where_it_came_from(service: Service, reader: Reader) -> None:
    before = service.new_run()
    id = service.new_run(
        parameters={"epochs": [1, {"a": 2}]},
        git={"commit": "a" * 40, "branch": "main", "dirty": True},
        build={"job": "nightly", "number": 12, "url": "https://ci.example.org/job/nightly/12/"},
    )

    for state in ("queued", "running", "ended"):
        if state == "running":
            service.start(id)
        if state == "ended":
            service.end(id)
        page = reader.page(f"/runs/{id}")
        assert '<a href="https://ci.example.org/job/nightly/12/" rel="noreferrer">nightly #12</a>' in page
        assert '<code title="' + "a" * 40 + '">aaaaaaaaaa</code> main with uncommitted changes' in page
        assert "<code>epochs</code> [1,{&#34;a&#34;:2}]" in page
        assert f'href="/compare?runs={before},{id}"' in page
        for name in ("executed.ipynb", "console.log", "metrics.json", "junit.xml", "run.json", "events.jsonl"):
            (link,) = re.findall(rf'href="([^"]+)" download="{re.escape(name)}"', page)
            assert reader.get(link).status_code == 200


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http//[no-address", "//evil.example", "JAVASCRIPT:alert(1)"])
def test_a_build_whose_address_is_no_page_of_the_web_is_no_link(service: Service, reader: Reader, url: str) -> None:
    id = service.new_run(build={"job": "x", "number": 1, "url": url})

    assert url not in reader.page(f"/runs/{id}").partition('id="page-report"')[0]


def test_a_build_whose_address_is_cut_off_does_not_keep_its_run_from_being_shown(
    service: Service, reader: Reader
) -> None:
    id = service.new_run(build={"job": "x", "number": 1, "url": "http://[fe80"})

    assert "x #1" in reader.page(f"/runs/{id}")


@pytest.mark.parametrize("id", [MISSING, "x", "..%2f..%2fetc"])
def test_a_run_that_is_not_there_is_a_page_that_says_so(reader: Reader, id: str) -> None:
    for path in (f"/runs/{id}", f"/runs/{id}/fragment", f"/runs/{id}/report/style.css"):
        answer = reader.get(path)
        assert answer.status_code == 404
    assert reader.press(f"/runs/{id}/cancel").status_code == 404
    assert reader.press(f"/runs/{id}/rerun").status_code == 404


def test_the_console_comes_in_pieces_each_once(service: Service, reader: Reader) -> None:
    id = service.new_run()
    service.start(id)
    text, end = "", 0
    for number in range(3):
        service.print(id, f"line {number} \x1b[31mred\x1b[0m <b>&\n")
        part = reader.page(f"/runs/{id}/fragment?start={end}")
        found = re.search(r'data-begin="(-?\d+)" data-end="(\d+)">\n(.*?)</pre>', part, re.DOTALL)
        assert found
        assert int(found[1]) == end
        end, text = int(found[2]), text + found[3]

    assert [line for line in text.splitlines() if line.startswith("line")] == [
        f"line {number} red &lt;b&gt;&amp;" for number in range(3)
    ]


def test_a_page_that_was_away_too_long_gets_the_consoles_end_anew(
    service: Service, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_runs, "CONSOLE_TAIL", 100)
    id = service.new_run()
    service.start(id)
    for number in range(50):
        service.print(id, f"line {number}\n")

    part = reader.page(f"/runs/{id}/fragment?start=20")

    begin, end = map(int, re.findall(r'data-begin="(\d+)" data-end="(\d+)"', part)[0])
    assert end - begin == 100
    assert "line 49" in part
    assert "line 10" not in part.partition('id="page-report"')[0]


def test_the_report_is_sent_again_only_when_there_is_more_to_it(
    service: Service, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_runs, "SHARE", 0)
    monkeypatch.setattr(live_runs, "BYTES_PER_SECOND", 10**12)
    id = service.new_run()
    service.start(id)
    service.print(id, "one\n")
    page = reader.page(f"/runs/{id}")
    (seq,) = re.findall(r'id="page-report" data-seq="(\d+)">', page)

    same = reader.page(f"/runs/{id}/fragment?seq={seq}")
    service.print(id, "two\n")
    more = reader.page(f"/runs/{id}/fragment?seq={seq}")

    assert f'data-seq="{seq}" data-same' in same
    assert 'class="notebook"' not in same
    assert f'data-seq="{int(seq) + 1}">' in more
    assert "two" in more.partition('id="page-report"')[2]


def test_a_report_is_not_rendered_for_each_question_of_a_busy_run(
    service: Service, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = service.new_run()
    service.start(id)
    rendered: list[int] = []
    reader.page(f"/runs/{id}")
    report = service.gateway.live._entries[id].run
    report._next_render = float("inf")
    files = report._report.files

    def counted() -> Iterator[tuple[str, bytes]]:
        rendered.append(1)
        return files()

    monkeypatch.setattr(report._report, "files", counted)
    for _ in range(5):
        service.print(id, "more\n")
        assert "more" in reader.page(f"/runs/{id}/fragment")

    assert not rendered


def test_figures_of_a_running_report_are_served_and_change_their_address_with_their_content(
    service: Service, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_runs, "SHARE", 0)
    monkeypatch.setattr(live_runs, "BYTES_PER_SECOND", 10**12)
    id = service.new_run()
    service.start(id)
    addresses = []
    for step in range(3):
        fields = {"name": "loss", "value": 1.0 / (step + 1), "step": step, "cell": 1}
        service.write(id, (EventType.METRIC, fields))
        page = reader.page(f"/runs/{id}")
        addresses += re.findall(rf'src="(/runs/{id}/report/[^"]+)"', page)
    service.write(
        id,
        (EventType.DISPLAY, {"cell": 1, "data": {"image/png": PNG}, "metadata": {}, "blobs": {}, "display_id": None}),
    )
    addresses += re.findall(rf'src="(/runs/{id}/report/[^"]+)"', reader.page(f"/runs/{id}"))

    assert len(set(addresses)) >= 3
    types = {reader.get(address).mimetype for address in addresses}
    assert types == {"image/svg+xml", "image/png"}
    answer = reader.get(addresses[-1])
    assert answer.headers["Content-Security-Policy"] == REPORT_POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "max-age" in answer.headers["Cache-Control"]
    monkeypatch.setattr(live_runs, "FILE_BYTES", 0)
    service.print(id, "x\n")
    assert reader.get(addresses[-1]).data == answer.data
    assert reader.get(f"/runs/{id}/report/none.png").status_code == 404


def test_figures_of_all_running_reports_share_one_budget(
    service: Service, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    display = {"cell": 1, "data": {"image/png": PNG}, "metadata": {}, "blobs": {}, "display_id": None}
    ids, addresses = [], []
    for _ in range(3):
        ids.append(id := service.new_run())
        service.start(id)
        service.write(id, (EventType.DISPLAY, display))
        addresses += re.findall(rf'src="(/runs/{id}/report/[^"]+)"', reader.page(f"/runs/{id}"))
    runs = [service.gateway.live._entries[id].run for id in ids]
    assert all(run.file_bytes for run in runs)

    monkeypatch.setattr(live_runs, "FILE_BYTES", runs[0].file_bytes * 2)
    reader.get(addresses[2])

    assert [bool(run.file_bytes) for run in runs] == [False, True, True]
    assert reader.get(addresses[0]).data.startswith(b"\x89PNG")


def test_a_run_is_read_anew_after_its_events_could_not_be_taken(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = service.new_run()
    service.start(id)
    service.print(id, "one\n")
    service.print(id, "two\n")
    live, log = service.gateway.live, service.gateway.log(id)
    feed = Console.feed
    broken = iter([False, False, True])

    def fail_midway(console: Console, event: Event) -> str:
        if next(broken, False):
            raise ValueError("a projection's mistake")
        return feed(console, event)

    monkeypatch.setattr(Console, "feed", fail_midway)
    with pytest.raises(ValueError, match="mistake"):
        live.ask(id, log, lambda run: None)

    assert id not in live._entries
    _, text, _ = live.ask(id, log, lambda run: run.console(0))
    assert text.index("one\n") < text.index("two\n")
    assert text.count("one\n") == 1


def test_the_figures_of_an_ended_report_are_its_files(service: Service, reader: Reader) -> None:
    id = service.new_run()
    service.start(id)
    service.write(
        id,
        (EventType.DISPLAY, {"cell": 1, "data": {"image/png": PNG}, "metadata": {}, "blobs": {}, "display_id": None}),
    )
    service.end(id)

    (address,) = re.findall(r'src="(/runs/[^"]+)"', reader.page(f"/runs/{id}"))

    assert reader.get(address).data.startswith(b"\x89PNG")
    assert reader.get(f"/runs/{id}/report/../run.json").status_code == 404
    assert reader.get(f"/runs/{id}/report/%2e%2e/run.json").status_code == 404


def test_the_reports_style_touches_nothing_but_the_report(service: Service, reader: Reader) -> None:
    id = service.new_run()
    for _ in ("running", "ended"):
        page = reader.page(f"/runs/{id}")
        (address,) = set(re.findall(rf'<link rel="stylesheet" href="(/runs/{id}/report/style.css[^"]*)"', page))
        style = reader.get(address)
        assert style.mimetype == "text/css"
        assert style.text.startswith("#page-report {\n")
        assert style.text.count("{") == style.text.count("}")
        service.end(id)


def test_artifacts_are_linked_where_the_api_serves_them(service: Service, reader: Reader) -> None:
    id = service.new_run()
    service.start(id)
    folder = service.data.run(id) / "artifacts" / "a b"
    folder.mkdir(parents=True)
    (folder / "x<y.html").write_text("<script>alert(1)</script>")
    fields = {"path": "a b/x<y.html", "sha256": "0" * 64, "size": 25, "media_type": "text/html", "cell": None}
    service.write(id, (EventType.ARTIFACT, fields))
    for _ in ("running", "ended"):
        links = re.findall(rf'href="(/api/v1/runs/{id}/artifacts/[^"]+)"', reader.page(f"/runs/{id}"))
        assert len(links) == 2  # in the page's head and in the report
        for link in links:
            answer = reader.get(link)
            assert answer.status_code == 200
            assert answer.headers["Content-Disposition"].startswith("attachment")
            assert answer.headers["Content-Security-Policy"].startswith("sandbox")
        service.end(id)


def test_an_ended_run_without_results_is_shown_from_its_log_and_one_without_a_log_from_what_is_left(
    service: Service, reader: Reader
) -> None:
    id = service.new_run(name="little left")
    service.start(id)
    service.print(id, "it printed this\n")
    service.end(id, results=False)
    assert "it printed this" in reader.page(f"/runs/{id}")

    (service.data.run(id) / "events.jsonl").unlink()
    service.gateway.live.close()
    page = reader.page(f"/runs/{id}")

    assert "The event log of this run has been removed" in page
    assert "little left" in page
    assert "Run again" not in page


def test_the_buttons_cancel_and_start_again(service: Service, reader: Reader) -> None:
    id = service.new_run(parameters={"epochs": 7})

    answer = reader.press(f"/runs/{id}/cancel")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/runs/{id}")
    assert service.gateway.run(id).cancel_requested
    page = reader.page(f"/runs/{id}")
    assert "being cancelled" in page
    assert f'action="/runs/{id}/cancel"' not in page

    answer = reader.press(f"/runs/{id}/rerun")
    again = answer.headers["Location"].rpartition("/")[2]
    assert answer.status_code == 303
    page = reader.page(f"/runs/{again}")
    assert f'<dt>Again</dt><dd><a href="/runs/{id}">' in page
    assert "<code>epochs</code> 7" in page


def test_idle_runs_are_dropped_and_those_that_are_asked_for_stay(
    service: Service, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_runs, "KEPT", 2)
    ids = [service.new_run() for _ in range(4)]
    for id in ids:
        reader.page(f"/runs/{id}")
    assert list(service.gateway.live._entries) == ids[-2:]

    monkeypatch.setattr(live_runs, "IDLE_SECONDS", timedelta().total_seconds())
    reader.page(f"/runs/{ids[0]}")

    assert list(service.gateway.live._entries) == [ids[0]]


def test_the_pages_own_files_may_be_kept_for_they_change_their_address(service: Service) -> None:
    for name in assets.TYPES:
        answer = service.client.get(assets.address(name))
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert service.client.get("/static/..%2f__init__.py").status_code == 404
    assert service.client.get("/static/none.css").status_code == 404
