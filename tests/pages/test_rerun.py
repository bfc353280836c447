"""A run once more: by the API and by the button."""

from __future__ import annotations

import json

import pytest

from tests.api.conftest import Service

from .conftest import Reader

MISSING = "20261121-073012-9f3a1c2b"


def test_a_run_again_asks_for_the_same_but_for_its_build(service: Service) -> None:
    id = service.new_run(
        parameters={"epochs": 7}, priority=3, require=["accuracy >= 0.9"], build={"job": "x"}, git={"commit": "c"}
    )

    answer = service.post(f"/runs/{id}/rerun")

    assert answer.status_code == 201
    again = answer.get_json()["id"]
    assert answer.headers["Location"] == f"/api/v1/runs/{again}"
    first, second = (json.loads((service.data.run(run) / "request.json").read_bytes()) for run in (id, again))
    assert second == first | {"build": None}
    record = service.get(f"/runs/{again}/record").get_json()
    assert record["provenance"]["rerun_of"] == id
    assert (record["parameters"], record["git"], record["build"]) == ({"epochs": 7}, {"commit": "c"}, None)


def test_running_again_under_a_key_happens_once(service: Service) -> None:
    id = service.new_run()
    key = {"Idempotency-Key": "once"}

    first, second = (service.call("POST", f"/runs/{id}/rerun", headers=key) for _ in range(2))

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.get_json()["id"] == second.get_json()["id"] != id


def test_a_run_with_secrets_can_not_be_started_again(
    service: Service, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.gateway.vault, "put", lambda id, secrets: None)
    id = service.new_run(secrets={"API_KEY": "swordfish", "OTHER": "barracuda"})

    answer = service.post(f"/runs/{id}/rerun")

    assert answer.status_code == 409
    assert "API_KEY, OTHER" in answer.get_json()["detail"]
    assert "had secrets, which are not kept" in reader.page(f"/runs/{id}")
    assert reader.press(f"/runs/{id}/rerun").status_code == 409


def test_a_run_whose_request_is_gone_or_unreadable_can_not_be_started_again(service: Service) -> None:
    id = service.new_run()
    request = service.data.run(id) / "request.json"

    request.write_text('{"name": "x", "source": {"content": "1"}, "from_the_future": 1}')
    assert service.post(f"/runs/{id}/rerun").status_code == 409
    request.unlink()
    assert service.post(f"/runs/{id}/rerun").status_code == 404
    assert service.post(f"/runs/{MISSING}/rerun").status_code == 404


def test_a_run_whose_kernel_was_removed_says_so_when_it_is_started_again(
    service: Service, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = service.new_run()
    request = service.data.run(id) / "request.json"
    content = json.loads(request.read_bytes())
    request.write_text(json.dumps(content | {"kernel": "no-such-kernel"}))

    answer = reader.press(f"/runs/{id}/rerun")

    assert answer.status_code == 422
    assert "no-such-kernel" in answer.text
