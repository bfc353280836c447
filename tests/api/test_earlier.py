"""A new run is compared with earlier ones of its name, without its client knowing of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kernel_gateway.events import EventType
from kernel_gateway.store.eventlog import read_events

from .conftest import Service


def ended_run(service: Service, accuracy: float, status: str = "succeeded", **fields: Any) -> str:
    """A run that measured something and ended."""
    id = service.new_run(**fields)
    service.start(id)
    service.write(id, (EventType.METRIC, {"name": "accuracy", "value": accuracy, "step": None, "cell": 1}))
    service.end(id, status)
    return id


def provenance(service: Service, id: str) -> dict[str, Any]:
    """What the log's first event tells of where a run came from."""
    first = next(read_events(service.data.run(id) / "events.jsonl"))
    found: dict[str, Any] = first["provenance"]
    return found


def baseline_of(service: Service, id: str) -> str | None:
    """The run that a run's gates compare with; the runner finds it in the request."""
    baseline = provenance(service, id)["baseline"]
    assert json.loads((service.data.run(id) / "request.json").read_text())["baseline"] == baseline
    return baseline["run"] if baseline else None


def test_the_first_run_of_a_name_has_nothing_to_compare_with(service: Service) -> None:
    ended_run(service, 0.5, name="another")
    id = service.new_run()
    assert baseline_of(service, id) is None
    assert provenance(service, id)["history"] == []


def test_the_baseline_is_the_last_run_of_the_name_that_succeeded(service: Service) -> None:
    ended_run(service, 0.8)
    good = ended_run(service, 0.9)
    ended_run(service, 0.7, "unstable")
    ended_run(service, 0.1, "failed")
    id = service.new_run()
    assert baseline_of(service, id) == good
    assert provenance(service, id)["baseline"]["metrics"]["accuracy"]["last"] == 0.9


@pytest.mark.parametrize(("branch", "expected"), [("main", "on main"), ("feature", "on feature"), (None, "on feature")])
def test_the_baseline_is_of_the_same_branch_where_both_have_one(
    service: Service, branch: str | None, expected: str
) -> None:
    runs = {f"on {name}": ended_run(service, 0.9, git={"branch": name}) for name in ("main", "feature")}
    id = service.new_run(git={"branch": branch} if branch else None)
    assert baseline_of(service, id) == runs[expected]


def test_a_run_again_keeps_its_baseline_and_gets_one_if_it_had_none(service: Service) -> None:
    first = ended_run(service, 0.8)
    second = ended_run(service, 0.9)
    newest = ended_run(service, 0.95)

    compared = {id: baseline_of(service, service.post(f"/runs/{id}/rerun").get_json()["id"]) for id in (first, second)}

    assert baseline_of(service, second) == first
    assert compared == {first: newest, second: first}


def test_a_baseline_that_the_client_names_counts_more(service: Service) -> None:
    ended_run(service, 0.9)
    mine = {"run": "mine", "metrics": {"accuracy": {"last": 0.5, "count": 1}}}
    assert baseline_of(service, service.new_run(baseline=mine)) == "mine"


def test_each_run_hands_the_history_on_with_itself_at_the_end(service: Service) -> None:
    earlier = [ended_run(service, value, status) for value, status in ((0.8, "succeeded"), (0.1, "failed"))]
    earlier.append(ended_run(service, 0.9, build={"job": "train", "number": 7, "url": "https://ci.example/7/"}))
    history = provenance(service, service.new_run())["history"]
    assert [entry["id"] for entry in history] == earlier
    assert [entry["metrics"]["accuracy"] for entry in history] == [0.8, 0.1, 0.9]
    assert history[-1]["build"] == {"number": 7, "url": "https://ci.example/7/"}


def test_results_that_are_gone_or_broken_are_no_history(service: Service) -> None:
    lost, broken = ended_run(service, 0.8), ended_run(service, 0.9)
    (service.data.run(lost) / "run.json").unlink()
    (service.data.run(broken) / "run.json").write_text("[")
    id = service.new_run()
    assert (baseline_of(service, id), provenance(service, id)["history"]) == (None, [])


def test_a_repeat_under_the_same_key_is_the_same_run_whatever_has_ended_since(service: Service) -> None:
    headers = {"Idempotency-Key": "one"}
    id = service.submit(headers=headers).get_json()["id"]
    ended_run(service, 0.9)
    again = service.submit(headers=headers)
    assert (again.status_code, again.get_json()["id"]) == (200, id)
