"""Gates by the API: those of the request and those of the source, and whether a missed one fails the run."""

from __future__ import annotations

import json

from kernel_gateway.store.eventlog import read_events

from .conftest import NOTEBOOK, Service


def source(*gates: object) -> dict[str, str]:
    document = {**NOTEBOOK, "metadata": {"kernel_gateway": {"gates": list(gates)}}}
    return {"path": "train.ipynb", "content": json.dumps(document)}


def test_gates_of_the_source_add_to_those_of_the_request(service: Service) -> None:
    answer = service.submit(source=source("accuracy > 0.9", "loss < 1"), require=["loss < 1"], gate_fails=True)

    assert answer.status_code == 201
    (first,) = read_events(service.data.run(answer.get_json()["id"]) / "events.jsonl")
    assert first["gates"] == [
        {"expression": "loss < 1", "origin": "request"},
        {"expression": "accuracy > 0.9", "origin": "source"},
    ]
    request = json.loads((service.data.run(answer.get_json()["id"]) / "request.json").read_bytes())
    assert request["gate_fails"] is True


def test_a_wrong_gate_of_the_source_is_told_beside_a_wrong_one_of_the_request(service: Service) -> None:
    answer = service.submit(source=source("accuracy => 0.9"), require=["loss < "])

    assert answer.status_code == 422
    errors = {error["field"]: error["message"] for error in answer.get_json()["errors"]}
    assert "column 8" in errors["require.0"]
    assert "source" not in errors or "gates[0]" in errors["source"]

    alone = service.submit(source=source("accuracy => 0.9"))

    assert alone.status_code == 422
    (error,) = alone.get_json()["errors"]
    assert error["field"] == "source"
    assert "metadata.kernel_gateway.gates[0] of the source: The gate can't be read at column 10." in str(error)


def test_metadata_that_is_no_list_of_gates_is_refused(service: Service) -> None:
    answer = service.submit(source=source(7))

    assert answer.status_code == 422
    assert "gates[0] of the source is 7" in answer.text
