"""Who gets in, what the log says of it, and that every refusal is a problem document."""

from __future__ import annotations

import json
import logging

import pytest
from sqlalchemy.exc import OperationalError

from kernel_gateway.agents.logs import JsonFormatter
from kernel_gateway.api import auth
from kernel_gateway.settings import Settings

from .conftest import Service

PROBLEM_FIELDS = {"type", "title", "status", "detail", "field", "errors"}
ID = "20261121-073012-9f3a1c2b"
OPEN = {
    *("/healthz", "/readyz", "/api/v1/healthz", "/api/v1/readyz"),
    *("/api/openapi.json", "/login", "/static/<name>", "/client/", "/client/<string:name>"),
}

CALLS = [
    ("GET", "/runs", "read"),
    ("GET", f"/runs/{ID}", "read"),
    ("GET", f"/runs/{ID}/events", "read"),
    ("GET", f"/runs/{ID}/console", "read"),
    ("GET", f"/runs/{ID}/artifacts/x", "read"),
    ("GET", f"/blobs/{'0' * 64}", "read"),
    ("GET", "/kernelspecs", "read"),
    ("GET", "/agents", "read"),
    ("GET", "/metrics", "read"),
    ("POST", "/runs", "run"),
    ("POST", f"/runs/{ID}/cancel", "run"),
    ("POST", f"/runs/{ID}/rerun", "run"),
    ("POST", "/blobs/missing", "run"),
    ("PUT", f"/blobs/{'0' * 64}", "run"),
]


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_a_call_takes_a_token_with_its_scope(service: Service, method: str, path: str, scope: str) -> None:
    answer = service.call(method, path, token="")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert service.call(method, path, token="kg_wrong").status_code == 401
    assert service.call(method, path, token=service.new_token(scope)).status_code not in (401, 403)
    if scope == "run":
        assert service.call(method, path, token=service.new_token("read")).status_code == 403


def test_every_view_says_which_scope_it_takes(service: Service) -> None:
    scopes = {
        rule.rule: getattr(service.app.view_functions[rule.endpoint], "scope", None)
        for rule in service.app.url_map.iter_rules()
    }

    assert {rule for rule, scope in scopes.items() if scope == auth.PUBLIC} == OPEN
    by_pass = {rule for rule, scope in scopes.items() if scope == auth.RUNNER}
    assert all(rule.startswith("/api/v1/runners/<id>") for rule in by_pass)
    assert {scope for rule, scope in scopes.items() if rule not in OPEN | by_pass} == {"read", "run"}


def test_a_view_without_a_scope_is_refused(service: Service) -> None:
    service.app._got_first_request = False
    service.app.add_url_rule("/api/v1/forgotten", view_func=lambda: "secret", endpoint="forgotten")

    assert service.get("/forgotten").status_code == 403


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "Bearer \xff", "bearer"])
def test_a_header_that_is_no_token_is_401(service: Service, header: str) -> None:
    assert service.call("GET", "/runs", token="", headers={"Authorization": header}).status_code == 401


def test_a_revoked_token_counts_no_more(service: Service) -> None:
    token = service.new_token("read")
    assert service.get("/runs", token=token).status_code == 200

    service.gateway.tokens.revoke("read")

    assert service.get("/runs", token=token).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("DELETE", "/runs", 405),
        ("OPTIONS", "/runs", 405),
        ("GET", f"/runs/{ID}/cancel", 405),
        ("GET", "/runs?limit=x", 422),
        ("GET", f"/runs/{ID}", 404),
    ],
)
def test_every_refusal_is_a_problem_document(service: Service, method: str, path: str, status: int) -> None:
    answer = service.call(method, path)

    problem = answer.get_json()
    assert answer.status_code == status == problem["status"]
    assert answer.content_type == "application/problem+json"
    assert set(problem) == PROBLEM_FIELDS
    assert len(problem["detail"]) > 10
    if status == 405:
        assert "GET" in answer.headers["Allow"] or "POST" in answer.headers["Allow"]


def test_a_database_that_does_not_answer_is_503(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object, **__: object) -> None:
        raise OperationalError("SELECT secret", {}, ConnectionRefusedError("connection refused"))

    monkeypatch.setattr(service.gateway.runs, "list", down)
    answer = service.get("/runs")

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "secret" not in answer.text
    monkeypatch.setattr(service.gateway.tokens, "check", down)
    assert service.get("/kernelspecs").status_code == 503


def test_a_database_server_that_is_away_is_503_and_nothing_else_breaks(settings: Settings) -> None:
    away = Service(Settings(data=settings.data, database="postgresql+psycopg://u:p@127.0.0.1:1/x"), "kg_token")

    for path, status in (("/runs", 503), ("/readyz", 503), ("/healthz", 200)):
        assert away.get(path).status_code == status
    away.gateway.close()


def test_a_defect_is_told_without_its_details(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.gateway.runs, "list", lambda **_: 1 / 0)

    answer = service.get("/runs")

    assert (answer.status_code, answer.content_type) == (500, "application/problem+json")
    assert "division" not in answer.text


def test_a_request_is_one_log_line_without_secrets(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "kernel_gateway.http"):
        service.get("/runs?name=hidden")

    (record,) = [record for record in caplog.records if record.name == "kernel_gateway.http"]
    line = JsonFormatter().format(record)
    fields = json.loads(line)
    assert (fields["method"], fields["path"], fields["status"]) == ("GET", "/api/v1/runs", 200)
    assert fields["token"] == "admin"
    assert fields["ms"] > 0
    assert "hidden" not in line
    assert service.token not in line


def test_a_path_cannot_forge_a_log_line(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "kernel_gateway.http"):
        service.get('/x%0a{"forged":true}')

    lines = [JsonFormatter().format(record) for record in caplog.records if record.name == "kernel_gateway.http"]
    assert all("\n" not in line for line in lines)


def test_health_checks_fill_no_log(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        service.get("/healthz")

    assert caplog.records == []
