"""A real Ray cluster of three nodes on this machine, and services that run on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.ray.namespace import inside
from tests.service.conftest import Service

ADDRESS = "ray://127.0.0.1:10001"
NODES_SECONDS = 90.0


@dataclass
class RayCluster:
    """The cluster's process, spoken to in JSON lines."""

    process: subprocess.Popen[str]
    folder: Path

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Have something done; the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the cluster's process ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """One cluster for all tests here: starting one takes many seconds."""
    if find_spec("ray") is None and not os.environ.get("KERNEL_GATEWAY_REQUIRE_KERNELS"):
        pytest.skip("Ray is not installed; scripts/setup --kernels installs it")
    folder = tmp_path_factory.mktemp("ray")
    short = Path(tempfile.mkdtemp(prefix="kg-ray-", dir="/tmp"))  # its sockets have long names
    with (folder / "cluster.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.ray.cluster", str(short)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=Path(__file__).parents[2],
        )
    made = RayCluster(process, short)
    try:
        first = made.answer()
        if "error" in first and not os.environ.get("KERNEL_GATEWAY_REQUIRE_KERNELS"):
            pytest.skip(f"no network of its own can be made here ({first['error']}); root can")
        assert "nodes" in first, (first, (folder / "cluster.log").read_text()[-3000:])
        yield made
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
        shutil.rmtree(short, ignore_errors=True)


@pytest.fixture(autouse=True)
def in_the_network_of_the_cluster(cluster: RayCluster) -> Iterator[None]:
    """Each test and all that it starts is where the cluster is; other tests of the same process are not."""
    with inside(cluster.process.pid):
        yield


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, cluster: RayCluster) -> Iterator[Service]:
    """One service on the cluster that the tests of a module share."""
    service = Service(tmp_path_factory.mktemp("service") / "data", ("--agent", ADDRESS))
    with inside(cluster.process.pid):
        service.start()
        wait_for_nodes(service, 3)
    yield service
    with inside(cluster.process.pid):
        end_runs(service)
        service.close()


def agent_of(service: Service) -> dict[str, Any]:
    """The agent as `GET /agents` shows it."""
    agents = service.ask("GET", "/api/v1/agents").json["agents"]
    return dict(agents[0]) if agents else {"nodes": [], "problem": "no word yet"}


def wait_for_nodes(service: Service, count: int) -> None:
    """Wait until so many nodes can be used."""
    wait_until(
        lambda: sum(not node["problem"] for node in agent_of(service)["nodes"]) >= count,
        NODES_SECONDS,
        lambda: (agent_of(service), service.log()[-3000:]),
    )


def wait_until(holds: Callable[[], bool], seconds: float, tell: Callable[[], Any] = lambda: "") -> None:
    """Wait until something holds; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, tell()
        time.sleep(0.1)


def runners_on_nodes() -> dict[str, psutil.Process]:
    """The runner processes on nodes, each by its run."""
    found = {}
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if "kernel_gateway.agents.runner_process" in line and "run" in line and line[1] == "-m":
            found[line[-2]] = process
    return found


def end_runs(service: Service) -> None:
    """Cancel what still runs, so that the cluster is free for the next test."""
    if service.process is None:
        return
    live = [run for run in service.ask("GET", "/api/v1/runs?limit=500").json["runs"] if not run["finished"]]
    for run in live:
        service.ask("POST", f"/api/v1/runs/{run['id']}/cancel")
    for run in live:
        service.wait_for(run["id"])
