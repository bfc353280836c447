"""run.json: the record of a run."""

from __future__ import annotations

import json
from typing import Any

from kernel_gateway.projections.run import Run
from kernel_gateway.settings import Settings
from tests.projections.conftest import Log, code


def record(log: Log) -> dict[str, Any]:
    projection = Run(Settings(), log.blobs)
    for event in log.events:
        projection.feed(event)
    parsed: dict[str, Any] = json.loads(projection.result())
    return parsed


def test_the_record_tells_what_was_run_where_and_how_it_went(rich_log: Log) -> None:
    made = record(rich_log)

    assert (made["id"], made["name"], made["status"], made["exit_code"]) == ("run-1", "train.ipynb", "failed", 1)
    assert made["reason"].endswith("ValueError: no data")
    assert made["start"] == "2026-11-21T03:00:00.000000Z"
    assert made["seconds"] == 20.4
    assert made["kernels"] == ["python3"]
    assert made["versions"]["ipykernel"] == "7.4.0"
    assert made["packages"] == {"numpy": "2.3.1"}
    assert made["source"] == {"path": "jobs/train.ipynb", "format": "ipynb", "digest": "sha256:" + "0" * 64}
    assert made["parameters"] == {"epochs": 3}
    assert made["git"] == {"commit": "abc123", "dirty": False}
    assert made["secrets"] == ["TOKEN"]
    assert made["resources"] == {"gpus": 0}
    assert [gate["passed"] for gate in made["gates"]] == [False, True]
    assert made["artifacts"][0]["path"] == "models/m 1.pkl"


def test_cells_are_listed_with_status_and_seconds(rich_log: Log) -> None:
    cells = {cell["id"]: cell for cell in record(rich_log)["cells"]}

    assert [cell["status"] for cell in cells.values()] == ["ok", "ok", "skipped", "error", "ok", "error", "not_run"]
    assert cells["cell-2"]["seconds"] == 10.0
    assert cells["cell-2"]["index"] == 2


def test_metrics_carry_their_history(rich_log: Log) -> None:
    loss = record(rich_log)["metrics"]["loss"]

    assert (loss["count"], loss["first"], loss["last"], loss["min"], loss["max"]) == (5, 1.0, 0.2, 0.2, 1.0)
    assert loss["steps"][0] == [0, 1.0]
    assert record(rich_log)["metrics"]["odd"]["mean"] == "NaN"


def test_outputs_are_counted_and_streams_measured_in_bytes() -> None:
    log = Log(code("x")).start().cell(0).print("größe\n").print("err", name="stderr").display({"text/plain": "1"})
    outputs = record(log)["outputs"]

    assert outputs["bytes"] == {"stdout": 8, "stderr": 3}
    assert (outputs["stream"], outputs["display"], outputs["error"]) == (2, 1, 0)


def test_an_unfinished_log_gives_the_last_known_status_and_no_reason() -> None:
    log = Log(code("x"))
    assert record(log)["status"] == "queued"

    made = record(log.start().cell(0).print("x", after=3.0))
    assert (made["status"], made["reason"], made["exit_code"], made["end"]) == ("running", "", None, None)
    assert made["seconds"] == 3.0
    assert made["cells"][0]["status"] == "running"


def test_provenance_that_it_does_not_know_is_kept() -> None:
    assert record(Log(code("x"), user="ada"))["provenance"] == {"user": "ada"}
