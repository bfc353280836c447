"""Triggers beside a real service: checked again and again, and no harm to it; the page of a run's lineage."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.api.conftest import Service as Api
from tests.api.conftest import empty_database, settings
from tests.api.conftest import service as api
from tests.pages.conftest import Reader
from tests.service.conftest import Serve, Service, serve
from tests.tracking.conftest import Run, Server, run, start

from .conftest import need
from .jenkins_server import SmallJenkins
from .test_lineage import SCORE, TRAIN

__all__ = ["api", "empty_database", "run", "serve", "settings", "start"]

FILE = """\
triggers:
- name: churn
  job: retrain
  minimal_interval: 0
  when:
  - data: a.csv
"""


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} does not come"
        time.sleep(0.05)


def state(service: Service) -> str:
    file = service.data / "triggers" / "triggers.json"
    return file.read_text() if file.exists() else ""


def checking(service: Service) -> psutil.Process:
    """The process that checks again and again; its guard has the same words in its command line."""
    found = service.children("kernel_gateway.jenkins.triggers.service")
    (process,) = [one for one in found if not any(word.endswith("guard.py") for word in one.cmdline())]
    return process


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_service_checks_its_triggers_goes_on_when_they_are_killed_and_takes_them_along(
    serve: Serve, jenkins: SmallJenkins, tmp_path: Path
) -> None:
    need("jenkins")
    (tmp_path / "a.csv").write_text("1")
    (tmp_path / "triggers.yaml").write_text(FILE)
    service = serve(
        *("--triggers", str(tmp_path / "triggers.yaml"), "--trigger-interval", "0.2"),
        KERNEL_GATEWAY_JENKINS_URL=jenkins.url,
    )
    wait_until(lambda: "1 file" in state(service), "the first check")

    (tmp_path / "a.csv").write_text("2")
    wait_until(lambda: len(jenkins.ids()) == 1, "the first build")
    wait_until(lambda: "trigger churn: started: " in service.log(), "a line in the log")
    checking(service).kill()
    (tmp_path / "a.csv").write_text("3")
    wait_until(lambda: len(jenkins.ids()) == 2, "the second build")
    process = checking(service)
    healthy = service.ask("GET", "/healthz").status
    service.kill()
    wait_until(lambda: not psutil.pid_exists(process.pid), "the end of the trigger process")

    assert healthy == 200
    assert "Trigger churn: data a.csv: 1 file, " in service.log()
    assert len(jenkins.ids()) == 2


def test_a_service_refuses_a_file_of_triggers_that_can_not_be_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "triggers.yaml").write_text(FILE.replace("job:", "jop:"))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "kernel_gateway", "serve", "--port", "0", "--data", str(tmp_path / "data")),
            *("--triggers", str(tmp_path / "triggers.yaml"), "--mlflow", "off"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert "line 3, trigger 'churn': there is no field 'jop'; did you mean 'job'?" in done.stderr


# -- the page --------------------------------------------------------------------------------------------


def test_the_page_of_a_run_s_lineage_shows_its_record_where_there_is_no_mlflow(api: Api) -> None:
    id = api.new_run(name="<b>bold</b>", parameters={"epochs": "<script>alert(1)</script>"})
    api.start(id)
    api.end(id)

    answer = Reader(api).get(f"/lineage?of={id}")

    assert answer.status_code == 200
    assert "<b>bold" not in answer.text
    assert "&lt;b&gt;bold" in answer.text
    assert "<script>alert" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert f'href="/runs/{id}"' in answer.text
    assert "/lineage?of=" in Reader(api).page(f"/runs/{id}")


@pytest.mark.parametrize(
    ("of", "status", "told"),
    [
        ("20261121-073012-9f3a1c2b", 404, "There is no run"),
        ("../../etc/passwd", 404, "There is no run"),
        ("models:/churn@champion", 404, "sends its runs to no MLflow"),
        ("models:/a@b@c", 422, "That is no model or run"),
        ("x" * 600, 422, "That is no model or run"),
    ],
)
def test_what_has_no_lineage_is_a_page_that_says_so(api: Api, of: str, status: int, told: str) -> None:
    answer = Reader(api).get("/lineage", query_string={"of": of})

    assert answer.status_code == status
    assert told in answer.text


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_page_of_a_model_leads_back_to_its_run_and_forward_to_those_that_used_it(
    serve: Serve, run: Run, server: Server, tmp_path: Path
) -> None:
    name = f"page-{os.urandom(4).hex()}"
    run(TRAIN.replace("{f1}", "0.9"), "--mlflow", server.uri, "--register", name, "--promote", "champion")
    scored = run(SCORE.replace("{name}", name), "--mlflow", server.uri, name="score")
    service = serve("--mlflow", server.uri)

    def page() -> str:
        headers = {"Authorization": f"Bearer {service.token}"}
        return service.ask("GET", f"/lineage?of=models:/{name}@champion", **headers).body.decode()

    wait_until(lambda: f"<h1>{name} version 1</h1>" in page(), "the tracker's answer")

    assert re.search(rf"Used by</h2>\s*<ul><li>score <span class=\"page-id\">{scored.record['id']}", page())
