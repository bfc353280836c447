"""The service on PostgreSQL, with several web workers, and while its database is away."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.service.conftest import Serve, Service
from tests.service.test_survival import PRINTS, assert_whole
from tests.store.postgres import PostgresServer, postgres

__all__ = ["postgres"]

pytestmark = pytest.mark.slow

AWAY = 10.0
"""Seconds without a database."""


def test_the_whole_way_of_a_run_on_postgresql_with_two_web_workers(serve: Serve, postgres: PostgresServer) -> None:
    service = serve("--database", postgres.new_database(), KERNEL_GATEWAY_WEB_WORKERS="2")
    assert service.process is not None
    workers = [child for child in service.children("gunicorn") if child.ppid() != service.process.pid]
    assert len(workers) == 2
    secret = "pa55word-for-nobody"
    code = "import os\nprint('::metric name=f1 value=0.5')\nprint(os.environ['TOKEN'], flush=True)"
    body = {"source": {"content": code}, "name": "first", "secrets": {"TOKEN": secret}, "require": ["f1 > 0.4"]}
    answers = [service.ask("POST", "/api/v1/runs", body, Idempotency_Key="once") for _ in range(6)]
    assert [answer.status for answer in answers] == [201, 200, 200, 200, 200, 200]
    assert len({answer.json["id"] for answer in answers}) == 1
    id = answers[0].json["id"]
    cancelled = service.submit("import time; print('begun', flush=True); time.sleep(60)")
    service.wait_for_text(cancelled, "begun")
    service.ask("POST", f"/api/v1/runs/{cancelled}/cancel")
    assert service.wait_for(id) == "succeeded"
    assert service.wait_for(cancelled) == "cancelled"
    assert "****" in service.text(id)
    assert secret not in service.text(id)
    for part in ("notebook", "junit", "metrics", "console", "report/index.html", "artifacts"):
        assert service.ask("GET", f"/api/v1/runs/{id}/{part}").status == 200
    assert [run["id"] for run in service.ask("GET", "/api/v1/runs").json["runs"]] == [cancelled, id]
    assert 'kernel_gateway_runs_ended_total{status="succeeded"} 1.0' in service.ask("GET", "/metrics").body.decode()
    assert not (service.data / "gateway.db").exists()
    # What one worker revokes, the other refuses: neither keeps a token.
    service.stop()
    service.start()
    assert service.run(id)["status"] == "succeeded"


def test_a_database_that_is_away_costs_no_run_anything(serve: Serve, postgres: PostgresServer) -> None:
    service = serve("--slots", "1", "--database", postgres.new_database())
    dispatchers = [process.pid for process in service.children("agents.dispatcher")]
    running = service.submit(PRINTS)
    waiting = [service.submit("print('waited')") for _ in range(2)]
    service.wait_for_text(running, "line 3")
    try:
        postgres.stop(signal.SIGQUIT)
        deadline = time.monotonic() + AWAY
        while time.monotonic() < deadline:
            begun = time.monotonic()
            for answer in (
                service.ask("GET", f"/api/v1/runs/{running}"),
                service.ask("POST", "/api/v1/runs", {"source": {"content": "1"}}),
                service.ask("GET", "/readyz"),
            ):
                assert answer.status == 503, answer.body
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert answer.headers["Retry-After"]
            assert time.monotonic() - begun < 5
            assert service.ask("GET", "/healthz").status == 200
            time.sleep(0.5)
    finally:
        postgres.start()
    assert service.wait_for(running) == "succeeded"
    assert_whole(service, running)
    for id in waiting:
        assert service.wait_for(id) == "succeeded"
        assert service.text(id) == "waited\n"
    # What was refused has left nothing behind.
    assert {path.name for path in (service.data / "runs").iterdir()} == {running, *waiting}
    assert [process.pid for process in service.children("agents.dispatcher")] == dispatchers
    assert service.ask("GET", "/readyz").status == 200


def test_a_follower_stays_connected_while_the_database_is_away(serve: Serve, postgres: PostgresServer) -> None:
    from kernel_gateway import GatewayClient

    service = serve("--database", postgres.new_database())
    id = service.submit(PRINTS)
    seen: list[int] = []
    with GatewayClient(service.url, token=service.token) as client:
        try:
            for event in client.events(id):
                seen.append(event["seq"])
                if event["type"] == "stream" and "line 3\n" in event["text"]:
                    postgres.stop(signal.SIGQUIT)
                if event["type"] == "stream" and "line 30\n" in event["text"]:
                    postgres.start()
        finally:
            if not is_up(service):
                postgres.start()
    assert seen == list(range(1, len(seen) + 1))
    assert service.wait_for(id) == "succeeded"
    assert_whole(service, id)


def test_a_service_whose_database_is_away_says_so_and_does_not_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kernel_gateway", "serve", "--port", "0", "--data", str(tmp_path / "data")]
    url = "postgresql+psycopg://gateway:pa55word-of-db@127.0.0.1:1/gateway"
    done = subprocess.run([*command, "--database", url], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 6
    assert "database" in done.stderr
    assert "Traceback" not in done.stderr
    assert "pa55word" not in done.stderr


def is_up(service: Service) -> bool:
    """Whether the service reaches its database."""
    return service.ask("GET", "/readyz").status == 200


def test_a_password_of_the_database_is_told_to_nobody(serve: Serve, postgres: PostgresServer) -> None:
    url = postgres.new_database().replace("postgres@", "postgres:pa55word-of-db@")
    service = serve(KERNEL_GATEWAY_DATABASE=url)
    id = service.submit("import os; print(sorted(os.environ)); print([v for v in os.environ.values() if 'pa55' in v])")
    assert service.wait_for(id) == "succeeded"
    assert service.text(id).endswith("\n[]\n")
    assert "KERNEL_GATEWAY_DATABASE" not in service.text(id)
    postgres.stop(signal.SIGQUIT)
    try:
        assert service.ask("GET", f"/api/v1/runs/{id}").status == 503
    finally:
        postgres.start()
    service.wait_for(id)
    assert "pa55word-of-db" not in service.log()
    for process in service.children(""):
        assert not any("pa55word-of-db" in word for word in process.cmdline())
