"""Every run of a service is an MLflow run: on a server of its own, with kernels in the sandbox, warm or not."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.command.test_ends import assert_gone
from tests.service.conftest import Serve, Service
from tests.service.idle import wait_for_idle, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TRACK = """
import mlflow
with mlflow.start_run():
    mlflow.log_param("depth", 3)
    mlflow.log_metric("accuracy", 0.9, step=1)
    mlflow.log_metric("accuracy", 0.95, step=2)
"""
MODEL = """
import mlflow, numpy
from sklearn.linear_model import LinearRegression
model = LinearRegression().fit(numpy.arange(6).reshape(-1, 1), numpy.arange(6))
mlflow.sklearn.log_model(model, name="line")
print("::metric name=r2 value=0.99")
"""


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with an MLflow server of its own."""
    folder = tmp_path_factory.mktemp("tracked")
    # A cell waits for MLflow as long as it takes here, where other tests keep the machine busy.
    env = {"KERNEL_GATEWAY_MLFLOW_PATIENCE": "60"}
    service = Service(folder / "data", ("--slots", "2", "--mlflow", "local", "--warm", "python3=1"), env)
    service.start()
    yield service
    service.close()


def port(service: Service) -> int:
    """Where the service's MLflow server listens."""
    return int((service.data / "mlflow" / "port").read_text())


def ask(service: Service, path: str, **body: Any) -> dict[str, Any]:
    """Ask the MLflow server, by its REST API."""
    connection = http.client.HTTPConnection("127.0.0.1", port(service), timeout=30)
    try:
        method = "POST" if body else "GET"
        headers = {"Content-Type": "application/json"}
        connection.request(method, f"/api/2.0/mlflow/{path}", json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        assert response.status == 200, answer
        return answer
    finally:
        connection.close()


def mlflow_run(service: Service, id: str) -> dict[str, Any]:
    """The one MLflow run of a run of ours, once all of it has arrived."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        ids = [experiment["experiment_id"] for experiment in experiments(service)]
        wanted = f"tags.`kernel_gateway.run` = '{id}'"
        found[:] = ask(service, "runs/search", experiment_ids=ids, filter=wanted).get("runs", [])
        return (
            bool(found)
            and found[0]["info"]["status"] not in ("RUNNING", "SCHEDULED")
            and bool(files(service, found[0]))
        )

    wait_until(is_there, f"{id} is not in MLflow: {found}; {service.log()[-2000:]}")
    assert len(found) == 1, [run["info"] for run in found]
    return found[0]


def experiments(service: Service) -> list[dict[str, Any]]:
    """All experiments."""
    found: list[dict[str, Any]] = ask(service, "experiments/search", max_results=1000)["experiments"]
    return found


def files(service: Service, run: dict[str, Any]) -> list[str]:
    """Names of a run's artifacts at the top."""
    answer = ask(service, f"artifacts/list?run_id={run['info']['run_id']}")
    names = [file["path"] for file in answer.get("files", [])]
    return names if "run.json" in names else []


def values(run: dict[str, Any], what: str) -> dict[str, Any]:
    """A run's metrics, params or tags by name."""
    return {entry["key"]: entry["value"] for entry in run["data"].get(what, [])}


def test_a_run_with_its_results_is_an_mlflow_run(tracked: Service) -> None:
    code = "print('::metric name=loss value=0.5 step=1\\n::metric name=loss value=0.25 step=2')"
    build = {"job": "train", "number": 12, "url": "https://ci.example/job/train/12/"}
    id = tracked.submit(code, name="plain", build=build, parameters={"epochs": 20})
    assert tracked.wait_for(id) == "succeeded", tracked.events(id)
    run = mlflow_run(tracked, id)
    assert values(run, "metrics") == {"loss": 0.25}
    assert values(run, "params") == {"epochs": "20"}
    tags = values(run, "tags")
    assert (tags["jenkins.job"], tags["jenkins.build_number"]) == ("train", "12")
    assert {"executed.ipynb", "junit.xml", "report", "console.log"} <= set(files(tracked, run))
    assert (
        next(e for e in experiments(tracked) if e["experiment_id"] == run["info"]["experiment_id"])["name"] == "train"
    )


@pytest.mark.parametrize("kernel", ["warm", "cold"])
def test_what_cells_log_to_mlflow_lands_in_the_same_run_and_counts_for_gates(tracked: Service, kernel: str) -> None:
    if kernel == "warm":
        wait_for_idle(tracked)
    else:
        tracked.submit("import time; time.sleep(2)")  # takes the warm one
    id = tracked.submit(TRACK, name="own", require=["accuracy >= 0.94", "last(accuracy) > first(accuracy)"])
    assert tracked.wait_for(id) == "succeeded", tracked.events(id)
    run = mlflow_run(tracked, id)
    assert values(run, "metrics") == {"accuracy": 0.95}
    assert values(run, "params")["depth"] == "3"
    assert run["info"]["status"] == "FINISHED"


def test_the_command_registers_and_promotes_by_way_of_the_gateway(tracked: Service, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(MODEL)

    def train(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kernel_gateway", "run", "train.py", "--gateway", tracked.url, *options]
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "KERNEL_GATEWAY_TOKEN": tracked.token}
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    options = ("--register", "line", "--promote", "champion")
    first = train(*options, "--require", "r2 >= champion", "--require", "r2 > 0.9")
    assert first.returncode == 0, first.stdout + first.stderr
    alias = ask(tracked, "registered-models/alias?name=line&alias=champion")["model_version"]
    assert alias["version"] == "1"
    worse = train(*options, "--require", "r2 > champion")
    assert worse.returncode == 3, worse.stdout + worse.stderr
    assert ask(tracked, "registered-models/alias?name=line&alias=champion")["model_version"]["version"] == "1"
    assert ask(tracked, "model-versions/get?name=line&version=2")["model_version"]["version"] == "2"
    compared = train("--baseline", "models:/line@champion", "--require", "r2 >= baseline")
    assert compared.returncode == 0, compared.stdout + compared.stderr


def test_runs_go_on_without_mlflow_and_reach_it_later(serve: Serve) -> None:
    service = serve("--mlflow", "local")
    for process in service.children("mlflow"):
        process.kill()
    id = service.submit("print('::metric name=loss value=0.5')")
    assert service.wait_for(id) == "succeeded"
    assert values(mlflow_run_later(service, id), "metrics") == {"loss": 0.5}
    for process in service.children("tracking.process"):
        process.kill()
    id = service.submit("print('::metric name=loss value=0.25')")
    assert service.wait_for(id) == "succeeded"
    assert values(mlflow_run_later(service, id), "metrics") == {"loss": 0.25}


def mlflow_run_later(service: Service, id: str) -> dict[str, Any]:
    """The MLflow run, once there is a server again."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return mlflow_run(service, id)
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < deadline, service.log()[-3000:]
            time.sleep(0.5)


def test_nothing_of_mlflow_outlives_a_killed_service(serve: Serve) -> None:
    service = serve("--mlflow", "local")
    below = service.children("")
    assert any("mlflow" in " ".join(process.cmdline()) for process in below if process.is_running())
    service.kill()
    assert_gone(*(process.pid for process in below))
    earlier = port(service)
    service.start()
    assert port(service) == earlier
    service.stop()
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(service.data) in " ".join(p.info["cmdline"] or [])]


def test_a_gateway_without_mlflow_refuses_what_needs_it(serve: Serve) -> None:
    service = serve()
    for field in ("register_model", "compare_with"):
        body = {"source": {"content": "1"}, "name": "x", field: "runs:/" + "0" * 32}
        answer = service.ask("POST", "/api/v1/runs", body)
        assert answer.status == 422
        assert re.search(f"no MLflow, which {field} needs", answer.body.decode())


def test_a_uri_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kernel_gateway", "serve", "--port", "0", "--data", str(tmp_path / "data")]
    done = subprocess.run([*command, "--mlflow", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'nonsense' is no tracking URI" in done.stderr
