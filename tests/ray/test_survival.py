"""What a fleet survives: each case is caused for real, in the middle of a run that prints."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from kernel_gateway import __version__
from tests.ray.conftest import RayCluster, agent_of, end_runs, runners_on_nodes, wait_for_nodes, wait_until
from tests.ray.namespace import inside
from tests.ray.proxy import Proxy
from tests.service.conftest import Service

pytestmark = pytest.mark.timeout(300)  # a busy machine takes long to start a cluster

CLIENT_PORT = 10001

COUNTING = "import time\nfor n in range({count}):\n    print('line', n, flush=True)\n    time.sleep({pause})"


@dataclass
class Fleet:
    """A service, and the wires on which nodes reach it and on which it reaches the cluster."""

    service: Service
    home: Proxy
    ray: Proxy


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, cluster: RayCluster) -> Iterator[Fleet]:
    """One service for all tests here; each leaves it as it found it."""
    with inside(cluster.process.pid):
        home, ray = Proxy(0), Proxy(CLIENT_PORT)
        options = ("--agent", ray.url.replace("http", "ray"), "--node-url", home.url)
        service = Service(tmp_path_factory.mktemp("service") / "data", options)
        service.start()
        home.port = service.port
        wait_for_nodes(service, 3)
    yield Fleet(service, home, ray)
    with inside(cluster.process.pid):
        end_runs(service)
        service.close()
        home.close()
        ray.close()


@pytest.fixture
def service(fleet: Fleet) -> Service:
    """The service alone."""
    return fleet.service


def counting(count: int, pause: float) -> str:
    """A snippet that prints numbered lines."""
    return COUNTING.format(count=count, pause=pause)


def lines(count: int) -> str:
    """What it prints."""
    return "".join(f"line {n}\n" for n in range(count))


def test_a_gateway_killed_in_mid_run_finds_the_run_again_and_all_of_its_log(service: Service) -> None:
    mark = service.data.parent / "marks"
    id = service.submit(f"open({str(mark)!r}, 'a').write('begun\\n')\n" + counting(60, 0.1))
    service.wait_for_text(id, "line 3", 60)

    service.kill()
    time.sleep(2)
    service.start()

    assert service.wait_for(id, seconds=90) == "succeeded", service.run(id)
    assert service.text(id) == lines(60)
    assert mark.read_text() == "begun\n"
    assert [run["id"] for run in service.ask("GET", "/api/v1/runs").json["runs"]] == [id]


def test_a_run_that_ends_while_the_gateway_is_down_reports_later(service: Service) -> None:
    id = service.submit(counting(20, 0.1))
    service.wait_for_text(id, "line 2", 60)
    runner = runners_on_nodes()[id]

    service.kill()
    wait_until(lambda: not runner.is_running(), 30)
    service.start()

    assert service.wait_for(id, seconds=90) == "succeeded"
    assert service.text(id) == lines(20)


def test_a_cut_connection_loses_and_doubles_nothing(fleet: Fleet) -> None:
    service = fleet.service
    id = service.submit(counting(3000, 0.002))
    service.wait_for_text(id, "line 20", 60)

    for _ in range(4):
        fleet.home.cut()
        time.sleep(0.7)
        fleet.home.mend()
        time.sleep(0.5)

    assert service.wait_for(id, seconds=90) == "succeeded", service.run(id)
    assert service.text(id) == lines(3000)
    events = service.events(id)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert fleet.home.carried > len(lines(3000))


def node_of(service: Service, run: str) -> int:
    """The number of the node that runs it, from 0."""
    names = [node["name"] for node in agent_of(service)["nodes"] if run in node["runs"]]
    assert names, agent_of(service)
    return int(names[0].rpartition(".")[2]) - 1


def test_a_run_whose_node_is_killed_or_cut_off_is_lost_or_tried_again_elsewhere(
    service: Service, cluster: RayCluster
) -> None:
    extra = cluster.ask("add", labels={"fate": "dies"})["number"]
    frozen = cluster.ask("add", labels={"fate": "sleeps"})["number"]
    wait_for_nodes(service, 5)
    lost = service.submit(counting(6000, 0.1), label="fate=dies")
    other = service.submit(counting(6000, 0.1), gpus=1, label="fate=dies", retries=1)
    cut_off = service.submit(counting(6000, 0.1), label="fate=sleeps")
    for id in (lost, other, cut_off):
        service.wait_for_text(id, "line 3", 60)
    assert node_of(service, lost) == node_of(service, other) == extra
    runner = runners_on_nodes()[cut_off]
    below = [runner, *runner.children(recursive=True)]
    killed = time.monotonic()

    cluster.ask("freeze", node=frozen)
    cluster.ask("kill", node=extra)

    assert service.wait_for(lost, seconds=60) == "lost"
    assert service.wait_for(other, seconds=60) == "lost"
    assert time.monotonic() - killed < 45
    assert service.wait_for(cut_off, seconds=90) == "lost"
    events = service.events(cut_off)
    cluster.ask("thaw", node=frozen)
    wait_until(lambda: not any(process.is_running() for process in below), 60)
    assert service.events(cut_off) == events  # it could send nothing more
    cluster.ask("kill", node=frozen)
    assert service.text(lost).startswith(lines(3))
    assert service.run(lost)["retried_as"] is None
    again = service.run(other)["retried_as"]
    wait_until(lambda: service.run(again)["status"] == "queued", 90)  # no other node has this label
    revived = cluster.ask("add", labels={"fate": "dies"})["number"]
    service.wait_for_text(again, "line 3", 90)
    service.ask("POST", f"/api/v1/runs/{again}/cancel")
    assert service.wait_for(again) == "cancelled"
    cluster.ask("kill", node=revived)


def test_a_node_with_another_version_gets_no_run_and_both_versions_are_named(
    service: Service, cluster: RayCluster, tmp_path: Path
) -> None:
    package = tmp_path / "old" / "kernel_gateway"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '0.0.1'\n")

    number = cluster.ask("add", labels={"age": "old"}, env_vars={"PYTHONPATH": str(package.parent)})["number"]

    def problem() -> str:
        told = [node["problem"] for node in agent_of(service)["nodes"] if "age=old" in node["labels"]]
        return told[0] if told else ""

    wait_until(lambda: "0.0.1" in problem(), 60, lambda: agent_of(service))
    assert f"has kernel-gateway 0.0.1, this gateway is {__version__}" in problem()
    answer = service.ask("POST", "/api/v1/runs", {"source": {"content": "1"}, "label": "age=old"})
    assert answer.status == 422
    assert service.wait_for(service.submit("1 + 1")) == "succeeded"
    cluster.ask("kill", node=number)


def test_without_a_cluster_runs_wait_with_a_reason_and_start_when_it_is_there(fleet: Fleet) -> None:
    service = fleet.service
    going_on = service.submit(counting(6000, 0.1))
    service.wait_for_text(going_on, "line 3", 60)
    fleet.ray.cut()

    wait_until(lambda: "can't be used" in agent_of(service)["problem"], 120, lambda: agent_of(service))
    waiting = service.submit("print('at last')")
    assert "can't be used" in service.ask("GET", "/readyz").json["problem"]
    assert service.run(waiting)["status"] == "queued"
    printed = len(service.text(going_on))
    wait_until(lambda: len(service.text(going_on)) > printed, 30)  # it needs Ray no more

    fleet.ray.mend()
    assert service.wait_for(waiting, seconds=120) == "succeeded", agent_of(service)
    assert service.text(waiting) == "at last\n"
    assert service.ask("GET", "/readyz").json["problem"] == ""
    service.ask("POST", f"/api/v1/runs/{going_on}/cancel")
    assert service.wait_for(going_on) == "cancelled"
    assert service.text(going_on).startswith(lines(4))


@pytest.mark.slow
def test_a_client_server_of_ray_that_dies_loses_no_run(service: Service, cluster: RayCluster) -> None:
    going_on = service.submit(counting(6000, 0.1))
    service.wait_for_text(going_on, "line 3", 60)
    wait_until(lambda: bool(client_servers(cluster)), 30)

    for process in client_servers(cluster):
        process.kill()

    wait_until(lambda: "can't be used" in service.log(), 60, lambda: service.log()[-3000:])
    wait_for_nodes(service, 3)
    later = service.submit("print('later')")
    assert service.wait_for(later, seconds=60) == "succeeded", agent_of(service)
    assert service.run(going_on)["status"] == "running"
    service.ask("POST", f"/api/v1/runs/{going_on}/cancel")
    assert service.wait_for(going_on) == "cancelled"


def client_servers(cluster: RayCluster) -> list[psutil.Process]:
    """The processes of Ray's client port that each speak with one client."""
    found = []
    for process in psutil.Process(cluster.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "specific-server" in " ".join(process.cmdline()):
                found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_a_hundred_runs_none_is_lost_without_a_word_and_none_runs_twice(
    service: Service, cluster: RayCluster, tmp_path: Path
) -> None:
    extra = cluster.ask("add", labels={"fate": "dies too"})["number"]
    wait_for_nodes(service, 4)
    marks = tmp_path / "marks"
    marks.mkdir()
    code = (
        "import os, time, uuid\n"
        f"open(os.path.join({str(marks)!r}, f'{{n}}-{{uuid.uuid4().hex}}'), 'w').close()\n"
        "time.sleep(1)\nprint('done', n)"
    )

    ids = [service.submit(code, name=f"run{n}", parameters={"n": n}, cpus=2) for n in range(100)]
    wait_until(lambda: len(list(marks.iterdir())) >= 20, 200)
    cluster.ask("kill", node=extra)

    ends = {id: service.wait_for(id, seconds=500) for id in ids}
    assert set(ends.values()) <= {"succeeded", "lost"}
    lost = [id for id, end in ends.items() if end == "lost"]
    assert all(service.run(id)["reason"] for id in lost)
    assert len(lost) <= 2  # no more than the node had room for
    begun = [int(mark.name.partition("-")[0]) for mark in marks.iterdir()]
    assert len(begun) == len(set(begun))
    for n, id in enumerate(ids):
        if ends[id] == "succeeded":
            assert n in begun
            assert service.text(id) == f"done {n}\n"
