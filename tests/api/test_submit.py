"""Submitting a run: what is checked, what is kept, and that a repeat makes no second run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event

from kernel_gateway.agents.vault import Vault, VaultClient
from kernel_gateway.store.eventlog import read_events
from kernel_gateway.store.requests import given_request

from .conftest import NOTEBOOK, Service


@pytest.fixture
def vault(service: Service) -> Iterator[VaultClient]:
    running = Vault(service.data.vault_socket)
    yield VaultClient(service.data.vault_socket)
    running.close()


def fields_at_fault(answer: Any) -> list[str]:
    assert answer.status_code == 422, answer.text
    assert answer.content_type == "application/problem+json"
    return [error["field"] for error in answer.get_json()["errors"]]


def test_a_submitted_run_is_queued_with_its_files(service: Service) -> None:
    answer = service.submit(parameters={"epochs": 20}, priority=3, build={"job": "train", "number": 12})

    view = answer.get_json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/v1/runs/{view['id']}" == view["links"]["self"]
    assert (view["status"], view["name"], view["kernel"], view["token"]) == ("queued", "train", "python3", "admin")
    (first,) = read_events(service.data.run(view["id"]) / "events.jsonl")
    assert (first["seq"], first["type"], first["run"]) == (1, "run_queued", view["id"])
    assert "epochs = 20" in [cell["source"].splitlines()[-1] for cell in first["program"]["cells"]]
    assert first["provenance"]["build"] == {"job": "train", "number": 12}
    request = json.loads((service.data.run(view["id"]) / "request.json").read_bytes())
    assert request["parameters"] == {"epochs": 20}
    assert service.gateway.runs.get(view["id"]).priority == 3


def test_a_submit_costs_the_database_few_statements(service: Service) -> None:
    service.submit()  # looks up once what it keeps
    statements: list[str] = []
    note = lambda connection, cursor, statement, *rest: statements.append(statement)  # noqa: E731
    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert service.submit().status_code == 201
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert len(statements) <= 8, statements


def test_a_run_id_is_never_given_twice(service: Service) -> None:
    assert len({service.new_run() for _ in range(30)}) == 30


def test_a_snippet_needs_no_path(service: Service) -> None:
    assert service.submit(source={"content": "print(1)"}).status_code == 201


def test_a_source_may_be_a_blob(service: Service) -> None:
    digest = service.gateway.blobs.put(b"print('from a blob')")

    id = service.new_run(source={"path": "jobs/a.py", "sha256": digest})

    (first,) = read_events(service.data.run(id) / "events.jsonl")
    assert first["program"]["cells"][0]["source"] == "print('from a blob')"
    assert first["program"]["digest"] == f"sha256:{digest}"


def test_everything_that_is_wrong_is_told_at_once(service: Service) -> None:
    answer = service.submit(
        kernel="no-such-kernel",
        require=["accuracy >= 0.9", "accuracy >="],
        artifacts=["model/*", "../secret"],
        env={"path": "requirements.txt", "sha256": "0" * 64},
        workspace=[{"path": "data.csv", "sha256": "1" * 64, "size": 3}],
    )

    assert sorted(fields_at_fault(answer)) == ["artifacts.1", "env", "kernel", "require.1", "workspace"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"source": {}}, "source"),
        ({"source": {"content": "1", "sha256": "0" * 64}}, "source"),
        ({"source": {"sha256": "0" * 64}}, "source.sha256"),
        ({"source": {"content": "{", "path": "a.ipynb"}}, "source"),
        ({"source": {"content": "1", "path": "a.exe"}}, "source"),
        ({"source": {"content": "1", "path": "../a.py"}}, "source.path"),
        ({"env": {"path": "../requirements.txt", "sha256": "0" * 64}}, "env.path"),
        ({"source": {"content": "", "path": "a.py"}}, "source"),
        ({"parameters": {"epoch": 1}}, "parameters"),
        ({"source": {"content": "1"}, "parameters": {"no name": 1}}, "parameters.no name"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 7}, "name"),
        ({"priority": 101}, "priority"),
        ({"priority": "1"}, "priority"),
        ({"timeout": 0}, "timeout"),
        ({"colour": "blue"}, "colour"),
        ({"secrets": {"1A": "x"}}, "secrets.1A.[key]"),
        ({"secrets": {"A": "x\0"}}, "secrets.A"),
        ({"baseline": {"run": "x"}}, "baseline"),
        ({"workspace": [{"path": "/etc/passwd", "sha256": "0" * 64, "size": 1}]}, "workspace"),
        ({"workspace": [{"path": "a/../../b", "sha256": "0" * 64, "size": 1}]}, "workspace"),
        ({"workspace": [{"path": "a", "sha256": "zz", "size": 1}]}, "workspace.0.sha256"),
    ],
    ids=str,
)
def test_a_bad_field_is_named(service: Service, fields: dict[str, Any], field: str) -> None:
    assert field in fields_at_fault(service.submit(**fields))
    assert list(service.data.runs.iterdir()) == []


def test_two_files_of_one_name_are_refused(service: Service) -> None:
    digest = service.gateway.blobs.put(b"x")
    file = {"path": "a", "sha256": digest, "size": 1}

    assert fields_at_fault(service.submit(workspace=[file, file])) == ["workspace"]
    assert fields_at_fault(service.submit(workspace=[file, {**file, "path": "a/b"}])) == ["workspace"]


def test_what_no_agent_has_is_refused_once_the_agent_is_known(service: Service) -> None:
    assert service.submit(gpus=3).status_code == 201

    service.agent_says(gpus={"0": None, "1": None}, labels=["big"])

    assert fields_at_fault(service.submit(gpus=3)) == ["gpus"]
    assert fields_at_fault(service.submit(label="small")) == ["label"]
    assert service.submit(gpus=2, label="big").status_code == 201


def test_using_a_blob_makes_it_count_as_new(service: Service) -> None:
    import os

    digest = service.gateway.blobs.put(b"x")
    path = service.gateway.blobs.path(digest)
    os.utime(path, (1, 1))

    service.new_run(workspace=[{"path": "a", "sha256": digest, "size": 1}])

    assert time.time() - path.stat().st_mtime < 60


def test_the_same_idempotency_key_gives_the_same_run(service: Service) -> None:
    first = service.submit(headers={"Idempotency-Key": "build-12"})
    again = service.submit(headers={"Idempotency-Key": "build-12"})

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    assert [folder.name for folder in service.data.runs.iterdir()] == [first.get_json()["id"]]


def test_an_idempotency_key_with_another_body_is_a_conflict(service: Service) -> None:
    first = service.submit(headers={"Idempotency-Key": "build-12"})

    answer = service.submit(headers={"Idempotency-Key": "build-12"}, priority=5)

    assert answer.status_code == 409
    assert answer.get_json()["run"] == first.get_json()["id"]
    assert answer.content_type == "application/problem+json"
    assert len(list(service.data.runs.iterdir())) == 1


def test_a_token_may_queue_so_many_runs_and_no_more(service: Service) -> None:
    object.__setattr__(service.settings, "max_queued", 2)
    service.new_run()
    service.new_run()

    answer = service.submit()

    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert len(list(service.data.runs.iterdir())) == 2


def test_secrets_go_to_the_vault_and_nowhere_else(service: Service, vault: VaultClient) -> None:
    secret = "correct-horse-battery"
    notebook = json.dumps({**NOTEBOOK, "metadata": {**NOTEBOOK["metadata"], "note": "hi"}})  # type: ignore[dict-item]
    source = {"path": "a.ipynb", "content": notebook.replace("print(epochs)", f"print('{secret}')")}

    id = service.new_run(secrets={"API_KEY": secret}, source=source)

    assert vault.get(id) == {"API_KEY": secret}
    (first,) = read_events(service.data.run(id) / "events.jsonl")
    assert first["provenance"]["secrets"] == ["API_KEY"]
    assert secret not in json.dumps(first)
    assert "API_KEY" not in (service.data.run(id) / "request.json").read_text()
    service.gateway.engine.dispose()
    assert secret.encode() not in (service.data.root / "gateway.db").read_bytes()


def test_without_a_vault_a_run_with_secrets_is_refused_and_leaves_nothing(service: Service) -> None:
    answer = service.submit(secrets={"API_KEY": "correct-horse-battery"})

    assert answer.status_code == 503
    assert "correct-horse" not in answer.text
    assert list(service.data.runs.iterdir()) == []
    assert service.get("/runs").get_json()["runs"] == []


def test_a_repeat_leaves_no_secrets_of_a_run_that_is_not(service: Service, vault: VaultClient) -> None:
    headers = {"Idempotency-Key": "one"}
    service.submit(headers=headers, secrets={"A": "correct-horse"})
    held: list[str] = []
    put = service.gateway.vault.put
    service.gateway.vault.put = lambda run, secrets: (held.append(run), put(run, secrets))[1]  # type: ignore[method-assign,func-returns-value]
    service.gateway.runs.submitted = lambda *_: None  # type: ignore[method-assign]  # as when both come at once

    service.submit(headers=headers, secrets={"A": "correct-horse"})

    assert len(held) == 1
    assert vault.get(held[0]) is None


def test_a_submit_wakes_the_dispatcher(service: Service) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dispatcher:
        dispatcher.bind(str(service.data.wake_socket))
        dispatcher.settimeout(5)

        service.new_run()

        assert dispatcher.recv(64)


def test_the_provenance_names_every_input_by_its_digest(service: Service) -> None:
    content = b"a,b\n1,2\n"
    digest = service.gateway.blobs.put(content)

    id = service.new_run(workspace=[{"path": "data.csv", "sha256": digest, "size": len(content)}])

    (first,) = read_events(service.data.run(id) / "events.jsonl")
    (given,) = first["provenance"]["inputs"]
    assert (given["path"], given["sha256"]) == ("data.csv", hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 400), (b"\xff\xfe", 400), (b'{"name": "\\ud800"}', 400), (b"[1]", 422), (b'"{}"', 422), (b"null", 422)],
    ids=str,
)
def test_a_body_that_is_no_json_object_is_refused(service: Service, content: bytes, status: int) -> None:
    answer = service.call("POST", "/runs", data=content, content_type="application/json")

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"


def test_another_content_type_is_refused(service: Service) -> None:
    assert service.call("POST", "/runs", data=b"{}", content_type="text/plain").status_code == 415


def test_a_body_over_the_limit_is_refused(service: Service) -> None:
    answer = service.submit(source={"content": "x" * (1 << 20)})

    assert answer.status_code == 413
    assert answer.content_type == "application/problem+json"


def test_values_that_are_nested_too_deeply_are_refused(service: Service) -> None:
    deep: Any = 1
    for _ in range(150):
        deep = [deep]

    assert service.submit(parameters={"epochs": deep}).status_code == 422


def test_a_notebook_that_is_nested_too_deeply_is_refused(service: Service) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        deep = opening * 5000 + "1" + closing * 5000
        content = json.dumps({**NOTEBOOK, "metadata": {"x": "HERE"}}).replace('"HERE"', deep)

        assert fields_at_fault(service.submit(source={"path": "a.ipynb", "content": content})) == ["source"]


@pytest.mark.parametrize("value", [10**30, -(2**70), float("inf"), float("-inf"), [1, {"a": 2**64}]], ids=str)
def test_numbers_that_json_does_not_carry_are_parameters_as_they_are(service: Service, value: Any) -> None:
    body = {"source": {"content": "x"}, "parameters": {"x": value}, "timeout": 5}
    headers = {"Idempotency-Key": "once"}
    first, again = (
        service.call("POST", "/runs", data=json.dumps(body), content_type="application/json", headers=headers)
        for _ in range(2)
    )
    body["parameters"] = {"x": 1}
    other = service.call("POST", "/runs", data=json.dumps(body), content_type="application/json", headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409), first.text
    rerun = service.post(f"/runs/{first.get_json()['id']}/rerun")

    assert rerun.status_code == 201, rerun.text
    for id in (first.get_json()["id"], rerun.get_json()["id"]):
        kept = json.loads((service.data.run(id) / "request.json").read_text())
        assert given_request(kept)["parameters"] == {"x": value}


@pytest.mark.parametrize("field", ["timeout", "cpus", "gpus", "build", "git", "nothing"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_such_numbers_are_refused_elsewhere(service: Service, field: str, value: str) -> None:
    wanted = f'{{"job": {value}}}' if field in ("build", "git") else value
    content = f'{{"source": {{"content": "x"}}, "parameters": {{"x": NaN}}, "{field}": {wanted}}}'

    answer = service.call("POST", "/runs", data=content, content_type="application/json")

    assert answer.status_code in (400, 422), answer.text
    assert list(service.data.runs.iterdir()) == []


def test_a_repeat_gives_its_run_although_what_that_needed_is_gone(service: Service) -> None:
    digest = service.gateway.blobs.put(b"x")
    fields: dict[str, Any] = {"workspace": [{"path": "a", "sha256": digest, "size": 1}]}
    first = service.submit(headers={"Idempotency-Key": "once"}, **fields)
    service.gateway.blobs.path(digest).unlink()

    again = service.submit(headers={"Idempotency-Key": "once"}, **fields)

    assert (first.status_code, again.status_code) == (201, 200), again.text
    assert again.get_json()["id"] == first.get_json()["id"]
    assert fields_at_fault(service.submit(**fields)) == ["workspace"]
