"""Listing, showing and cancelling runs."""

from __future__ import annotations

import socket

import pytest

from .conftest import Service


def ids(service: Service, query: str = "") -> list[str]:
    answer = service.get(f"/runs?{query}")
    assert answer.status_code == 200, answer.text
    return [run["id"] for run in answer.get_json()["runs"]]


def test_runs_are_listed_newest_first_and_a_page_at_a_time(service: Service) -> None:
    made = [service.new_run() for _ in range(5)]

    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        page = service.get(f"/runs?limit=2{cursor}").get_json()
        seen += [run["id"] for run in page["runs"]]
        cursor = f"&cursor={page['next']}"

    assert seen == made[::-1]
    assert page["next"] is None


def test_runs_are_found_by_name_status_and_build(service: Service) -> None:
    one = service.new_run(name="train", build={"job": "ml/train", "number": 12})
    other = service.new_run(name="report", build={"job": "ml/train", "number": 13})
    service.start(other)

    assert ids(service, "name=train") == [one]
    assert ids(service, "status=running") == [other]
    assert ids(service, "build=ml/train%2312") == [one]
    assert ids(service, "build=ml/train") == [other, one]
    assert ids(service, "name=train&status=running") == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "status=happy",
        "satus=queued",
        "cursor=zzz",
        "name=%00",
        "cursor=MDAwMS0wMS0wMVQwMDowMDowMCsxNDowMCB4",
    ],
)
def test_a_query_that_makes_no_sense_is_refused(service: Service, query: str) -> None:
    answer = service.get(f"/runs?{query}")

    assert answer.status_code == 422
    assert answer.get_json()["field"] == query.partition("=")[0]


def test_a_run_shows_how_it_stands(service: Service) -> None:
    id = service.new_run()
    assert service.get(f"/runs/{id}").get_json()["status"] == "queued"

    service.start(id)
    running = service.get(f"/runs/{id}").get_json()
    assert (running["status"], running["finished"]) == ("running", None)
    assert running["started"].endswith("Z")

    service.end(id)
    ended = service.get(f"/runs/{id}").get_json()
    assert (ended["status"], ended["exit_code"], ended["seconds"]) == ("succeeded", 0, 1.5)


def test_every_link_of_a_run_leads_somewhere(service: Service) -> None:
    id = service.new_run()
    service.end(id)

    links = service.get(f"/runs/{id}").get_json()["links"]

    for name, link in links.items():
        assert service.call("POST" if name == "cancel" else "GET", link).status_code == 200, name


@pytest.mark.parametrize("id", ["20261121-073012-9f3a1c2b", "..", "x", "20261121-073012-9f3a1c2b%0a", "%2e%2e%2fblobs"])
@pytest.mark.parametrize(
    "part",
    ["", "/events", "/console", "/notebook", "/junit", "/metrics", "/record", "/report/", "/artifacts", "/artifacts/a"],
)
def test_a_run_that_is_not_there_is_404(service: Service, id: str, part: str) -> None:
    answer = service.get(f"/runs/{id}{part}")

    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"


def test_a_cancel_is_asked_for_once_however_often(service: Service) -> None:
    id = service.new_run()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dispatcher:
        dispatcher.bind(str(service.data.wake_socket))
        dispatcher.settimeout(5)

        answers = [service.post(f"/runs/{id}/cancel") for _ in range(2)]

        assert dispatcher.recv(64)
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].get_json()["cancel_requested"] is True
    assert [record.id for record in service.gateway.runs.cancel_requested()] == [id]


def test_cancelling_a_run_that_has_ended_shows_its_end(service: Service) -> None:
    id = service.new_run()
    service.end(id, "failed")

    answer = service.post(f"/runs/{id}/cancel")

    assert (answer.status_code, answer.get_json()["status"]) == (200, "failed")
    assert service.post("/runs/20261121-073012-9f3a1c2b/cancel").status_code == 404
