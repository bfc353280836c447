"""Liveness, readiness, figures, kernels and agents."""

from __future__ import annotations

import os
import time

from prometheus_client.parser import text_string_to_metric_families

from kernel_gateway.agents.notes import RUNNER_NOTE
from kernel_gateway.events import EventType

from .conftest import Service


def measured(service: Service) -> dict[str, float]:
    """Samples by name, and by name and label where there is one."""
    answer = service.get("/metrics")
    assert answer.status_code == 200
    assert answer.mimetype == "text/plain"
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = "".join(f"[{value}]" for value in sample.labels.values())
            found[sample.name.removeprefix("kernel_gateway_") + labels] = sample.value
    return found


def test_a_worker_that_answers_is_healthy(service: Service) -> None:
    assert service.get("/healthz", token="").get_json()["status"] == "ok"
    assert service.client.get("/healthz").status_code == 200


def test_the_service_is_ready_while_the_dispatcher_lives(service: Service) -> None:
    assert service.client.get("/readyz").status_code == 503

    state = service.agent_says()
    assert service.client.get("/readyz").status_code == 200

    os.utime(state, (time.time() - 11, time.time() - 11))
    answer = service.client.get("/readyz")
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")


def test_the_installed_kernels_are_listed(service: Service) -> None:
    found = {spec["name"]: spec for spec in service.get("/kernelspecs").get_json()["kernelspecs"]}

    assert found["python3"]["language"] == "python"


def test_the_agent_shows_what_is_free(service: Service) -> None:
    assert service.get("/agents").get_json() == {"agents": []}

    service.agent_says(slots=4, busy=1, gpus={"0": "20261121-073012-9f3a1c2b", "1": None}, labels=["big"])

    (agent,) = service.get("/agents").get_json()["agents"]
    assert (agent["slots"], agent["busy"], agent["labels"], agent["alive"]) == (4, 1, ["big"], True)
    assert agent["gpus"] == {"0": "20261121-073012-9f3a1c2b", "1": None}


def test_an_agent_file_that_makes_no_sense_is_no_agent(service: Service) -> None:
    for content in ("", "[]", "null", "{"):
        service.data.agent_state.write_text(content)
        assert service.get("/agents").get_json() == {"agents": []}
        assert service.client.get("/readyz").status_code == 503


def test_the_figures_tell_how_the_queue_stands(service: Service) -> None:
    service.agent_says(slots=4, busy=1)
    for _ in range(3):
        id = service.new_run()
    service.start(id)
    service.print(id, "working\n")

    found = measured(service)

    assert (found["queue_length"], found["runs[queued]"], found["runs[running]"]) == (2, 2, 1)
    assert 0 < found["queue_oldest_seconds"] < 60
    assert (found["slots"], found["slots_busy"]) == (4, 1)
    assert 0 <= found["event_lag_seconds"] < 5
    assert found["data_bytes[runs]"] > 0


def test_an_ended_run_is_counted_once_whichever_worker_is_asked(service: Service) -> None:
    other = Service(service.settings, service.token)
    ids = [service.new_run() for _ in range(3)]
    service.end(ids[0])
    assert measured(service)["runs_ended_total[succeeded]"] == 1
    service.end(ids[1])
    service.end(ids[2], "failed")

    for _ in range(2):
        for worker in (other, service):
            found = measured(worker)
            assert (found["runs_ended_total[succeeded]"], found["runs_ended_total[failed]"]) == (2, 1)
            assert (found["run_seconds_count"], found["run_seconds_sum"]) == (3, 4.5)
    other.gateway.close()


def test_counts_stay_when_runs_are_removed(service: Service) -> None:
    id = service.new_run()
    service.end(id)
    measured(service)

    service.gateway.runs.delete(id)

    found = measured(service)
    assert (found["runs_ended_total[succeeded]"], found["runs[succeeded]"]) == (1, 0)


def test_the_time_to_start_a_kernel_is_measured(service: Service) -> None:
    id = service.new_run()
    note = service.data.run(id) / RUNNER_NOTE
    note.write_text("1 1")
    service.write(id, (EventType.RUN_STARTED, {"agent": "here", "kernel": "python3", "versions": {}}))
    os.utime(note, (time.time() - 3, time.time() - 3))
    service.end(id)

    found = measured(service)

    assert found["kernel_start_seconds_count"] == 1
    assert 2.9 < found["kernel_start_seconds_sum"] < 4
    assert found["queue_wait_seconds_count"] == 1


def test_the_lag_of_events_is_the_time_from_their_making_to_the_log(service: Service) -> None:
    id = service.new_run()
    service.start(id)
    service.print(id, "x" * 200_000)  # longer than what is read at first
    log = service.data.run(id) / "events.jsonl"
    os.utime(log, (time.time() + 7, time.time() + 7))

    assert 6 < measured(service)["event_lag_seconds"] < 8


def test_a_damaged_file_of_totals_is_begun_anew(service: Service) -> None:
    service.end(service.new_run())
    for content in ("", "[]", '{"what": 1}'):
        (service.data.root / "run" / "totals.json").write_text(content)
        assert measured(service)["runs_ended_total[succeeded]"] == 1
