"""The list of runs, and what it says of queue and agent."""

from __future__ import annotations

import os
import re

import pytest

from kernel_gateway.api.pages import runs
from tests.api.conftest import Service

from .conftest import Reader


def listed(page: str) -> list[str]:
    """Ids of the runs in a list, in its order."""
    return re.findall(r'id="page-row-([^"]+)"', page)


def test_the_list_shows_runs_newest_first_a_page_at_a_time(
    service: Service, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PAGE", 2)
    ids = [service.new_run(name=f"train-{number}") for number in range(5)]
    seen, path, first_links = [], "/", []
    while path:
        page = reader.page(path)
        seen.append(listed(page))
        first_links.append(">Newest runs</a>" in page)
        following = re.search(r'<a href="([^"]+)" rel="next"', page)
        path = following[1].replace("&amp;", "&") if following else ""

    assert [len(part) for part in seen] == [2, 2, 1]
    assert sorted(id for part in seen for id in part) == sorted(ids)
    assert first_links == [False, True, True]


def test_the_list_is_filtered_by_name_status_build_and_text(service: Service, reader: Reader) -> None:
    train = service.new_run(name="train", build={"job": "nightly", "number": 12})
    test = service.new_run(name="Test 100%")
    service.start(train)

    assert listed(reader.page("/?name=train")) == [train]
    assert listed(reader.page("/?status=queued")) == [test]
    assert listed(reader.page("/?build=nightly")) == listed(reader.page("/?build=nightly%2312")) == [train]
    assert listed(reader.page("/?text=TRAI")) == listed(reader.page("/?text=night")) == [train]
    assert listed(reader.page(f"/?text={test[-6:]}")) == listed(reader.page("/?text=100%25")) == [test]
    assert listed(reader.page("/?text=%25rain")) == []
    assert "No run fits this filter." in reader.page("/?name=trai")
    page = reader.page("/?name=train&status=running")
    assert 'value="train"' in page
    assert '<option value="running" selected>' in page
    assert 'data-url="/runs/fragment?name=train&amp;status=running"' in page


@pytest.mark.parametrize(
    "query", ["status=none", "cursor=none", "cursor=MDAwMS0wMS0wMVQwMDowMDowMCsyMzo1OSB4", "text=" + "x" * 501]
)
def test_a_filter_that_makes_no_sense_is_told_in_words(reader: Reader, query: str) -> None:
    answer = reader.get(f"/?{query}")

    assert answer.status_code == 422
    assert answer.mimetype == "text/html"
    assert '<p role="alert">' in answer.text


def test_the_list_shows_the_place_in_the_queue_by_priority_and_age(service: Service, reader: Reader) -> None:
    later, first = service.new_run(), service.new_run(priority=5)

    page = reader.page("/")

    places = dict(re.findall(r'id="page-row-([^"]+)".*?place (\d+)', page, re.DOTALL))
    assert places == {first: "1", later: "2"}


def test_the_list_shows_the_agent_who_holds_which_gpu_and_what_is_kept_warm(service: Service, reader: Reader) -> None:
    assert "No agent has reported yet." in reader.page("/")
    id = service.new_run(name="on a GPU")
    service.start(id)
    pool = [
        {"kernel": "python3", "env": "a.txt", "idle": 2, "starting": 1, "target": 3, "problem": ""},
        {"kernel": "ir", "env": None, "idle": 0, "starting": 0, "target": 1, "problem": "It died."},
    ]
    service.agent_says(busy=1, gpus={"0": id, "1": None}, labels=["big"], pool=pool)

    text = " ".join(re.sub(r"<[^>]*>", " ", reader.page("/")).split())

    assert "here 1 of 2 slots busy · 0 queued · labels big" in text
    assert (
        "GPU 0 on a GPU GPU 1 free warm python3 with a.txt 2 of 3 ready, 1 starting warm ir 0 of 1 ready It died."
        in text
    )


@pytest.mark.parametrize("pool", [3, {}, [], [None], [{}], [{"kernel": 1, "idle": "x"}], None])
def test_the_list_takes_whatever_the_agent_says_of_its_pool(service: Service, reader: Reader, pool: object) -> None:
    service.agent_says(pool=pool, gpus=["0"])

    assert "slots busy" in reader.page("/")


def test_an_agent_that_is_silent_is_told(service: Service, reader: Reader) -> None:
    file = service.agent_says()
    os.utime(file, (0, 0))
    id = service.new_run()

    assert "gives no sign of life; runs are queued but not started" in reader.page("/")
    assert "the run starts when it is back" in reader.page(f"/runs/{id}")


def test_what_has_not_changed_is_answered_with_304(service: Service, reader: Reader) -> None:
    service.agent_says()
    id = service.new_run()
    service.start(id)

    for path in ("/runs/fragment", f"/runs/{id}/fragment"):
        first = reader.get(path)
        tag = {"If-None-Match": first.headers["ETag"]}
        same = reader.get(path, headers=tag)
        assert (first.status_code, same.status_code, same.data) == (200, 304, b"")
        service.print(id, "more\n")
        service.new_run()
        assert reader.get(path, headers=tag).status_code == 200


def test_fragments_are_not_in_the_log_of_requests(
    service: Service, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        reader.get("/runs/fragment")
        reader.get("/")

    assert [record.getMessage() for record in caplog.records] == ["GET /"]
