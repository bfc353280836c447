"""The gateway's count of a cluster, without one: what fits where, whatever Ray decides."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from kernel_gateway import __version__
from kernel_gateway.agents.agent import scheme_of
from kernel_gateway.agents.fleet import check_nodes
from kernel_gateway.agents.ray import PROTOCOL
from kernel_gateway.agents.ray.agent import check
from kernel_gateway.agents.ray.connector import Connector
from kernel_gateway.agents.ray.nodes import Ask, Nodes
from kernel_gateway.errors import ResourceError, UsageError
from kernel_gateway.settings import Settings

GOOD = {"version": __version__, "protocol": PROTOCOL, "problem": "", "host": "h", "python": "3.11"}


@pytest.fixture(autouse=True)
def in_the_network_of_the_cluster() -> None:
    """Needs none."""


def node(number: int, *, gpus: int = 1, probe: dict[str, Any] | None = None, **labels: str) -> dict[str, Any]:
    """A node as Ray tells of it."""
    return {
        "address": f"10.0.0.{number}",
        "resources": {"CPU": 4.0, "GPU": float(gpus), "memory": 8e9, f"node:10.0.0.{number}": 1.0, "disk": 1.0},
        "labels": {"ray.io/node-id": f"n{number}", **labels},
        "probe": GOOD if probe is None else probe,
    }


def three() -> Nodes:
    """Three nodes of one GPU each."""
    nodes = Nodes()
    nodes.update({f"n{number}": node(number, place=f"p{number}") for number in (1, 2, 3)})
    return nodes


def test_a_guess_gives_way_to_what_ray_has_decided() -> None:
    nodes, ask = three(), Ask(1, 1, 0, None)
    for run in ("a", "b", "c"):
        assert nodes.has_room(ask)
        nodes.hold(run, ask)
    assert not nodes.has_room(ask)

    nodes.place("a", "n3", ["0"])
    assert not nodes.has_room(ask)
    nodes.place("b", "n1", ["0"])
    nodes.place("c", "n2", ["0"])

    assert not nodes.has_room(ask)
    assert nodes.gpu_table() == {"10.0.0.1/0": "b", "10.0.0.2/0": "c", "10.0.0.3/0": "a"}
    assert nodes.gpus_of("a") == ["10.0.0.3/0"]
    nodes.release("c")
    assert nodes.has_room(ask)


def test_labels_are_ray_labels_or_custom_resources() -> None:
    nodes = three()

    assert nodes.has_room(Ask(0, 1, 0, "place=p2"))
    assert nodes.has_room(Ask(0, 1, 0, "disk"))
    assert not nodes.has_room(Ask(0, 1, 0, "place=p9"))
    assert not nodes.has_room(Ask(0, 1, 0, "CPU"))
    assert Ask(0, 1, 0, "place=p2").selector == {"place": "p2"}
    assert Ask(0, 1, 0, "disk").resources.keys() == {"disk"}


def test_a_run_that_waits_in_ray_for_a_node_that_is_gone_is_hopeless() -> None:
    nodes = three()
    nodes.hold("a", Ask(1, 1, 0, "place=p2"))
    assert nodes.hopeless() == []

    nodes.update({"n1": node(1, place="p1")})

    assert nodes.hopeless() == ["a"]


def test_a_node_that_differs_is_named_with_both_versions() -> None:
    nodes = Nodes()
    nodes.update({"n1": node(1, probe={**GOOD, "version": "0.0.1"})})

    assert "0.0.1" in nodes.problem()
    assert __version__ in nodes.problem()
    assert not nodes.has_room(Ask(0, 1, 0, None))


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"gpus": 2}, "gpus"),
        ({"cpus": 5.0}, "cpus"),
        ({"memory": 10**10}, "memory"),
        ({"label": "place=p9"}, "label"),
        ({"gpus": 2, "label": "place=p1"}, "gpus"),
    ],
)
def test_what_no_node_has_is_refused_unless_nodes_are_added_on_demand(wish: dict[str, Any], field: str) -> None:
    state = {"nodes": [one.state() for one in three().all.values()], "elastic": False, "asking": False}
    asked = {"gpus": 0, "cpus": None, "memory": None, "label": None, **wish}

    with pytest.raises(ResourceError) as refused:
        check_nodes(state, **asked)

    assert refused.value.field == field
    check_nodes({**state, "elastic": True}, **asked)
    check_nodes({**state, "nodes": []}, **asked)
    check_nodes(state, 1, 4.0, 10**9, "place=p1")


@pytest.mark.parametrize("agent", ["", "ray", "ray://", "local://x", "slurm://x", "http://x"])
def test_an_agent_that_there_is_not_is_refused(agent: str) -> None:
    with pytest.raises(UsageError, match="is no agent"):
        scheme_of(agent)


def test_a_gateway_that_no_node_can_reach_is_refused() -> None:
    with pytest.raises(UsageError, match="can't reach this gateway"):
        check(Settings(agent="ray://head.example:10001", node_url="http://127.0.0.1:8888"))
    check(Settings(agent="ray://head.example:10001", node_url="https://gateway.example"))
    check(Settings(agent="ray://127.0.0.1:10001", node_url="http://127.0.0.1:8888"))


def test_a_node_needs_nothing_that_only_the_service_needs() -> None:
    code = (
        "import sys, kernel_gateway.agents.ray.node, kernel_gateway.agents.runner_process\n"
        "print({'alembic', 'flask', 'prometheus_client', 'pydantic', 'setproctitle', 'sqlalchemy'} & {*sys.modules})"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


def test_memory_that_no_node_has_is_told_in_a_unit_that_people_read() -> None:
    state = {"nodes": [one.state() for one in three().all.values()]}

    with pytest.raises(ResourceError, match=r"asks for 16 GiB of memory, but no node has more than 7\.451\."):
        check_nodes(state, 0, None, 16 << 30, None)


def test_a_lost_connection_to_the_cluster_says_nothing_of_a_run() -> None:
    said: list[str] = []
    connector = Connector.__new__(Connector)  # without a cluster
    connector._actors = {"run": object()}
    connector._say = lambda what, **fields: said.append(what)

    with pytest.raises(ConnectionError):
        connector._ended("run", None, ConnectionError("Ray's client has lost the cluster"))

    assert said == []
    assert "run" in connector._actors
