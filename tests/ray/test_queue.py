"""Whose turn it is for the nodes, whatever Ray decides among those it may choose; and how many results at a time."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
from typing import Any

import pytest

from kernel_gateway.agents.ray.nodes import Ask, Nodes
from kernel_gateway.agents.ray.results import Results
from kernel_gateway.agents.runners import RunnerProcess
from tests.ray.test_nodes import node, three

LARGE = Ask(1, 4, 0, None)
SMALL = Ask(0, 1, 0, None)


@pytest.fixture(autouse=True)
def in_the_network_of_the_cluster() -> None:
    """Needs none."""


class Cluster:
    """A gateway's queue and a cluster that puts each run on any node that has room and is not barred."""

    def __init__(self, dice: random.Random, *nodes: dict[str, Any]) -> None:
        self.nodes = Nodes()
        self.nodes.update({entry["labels"]["ray.io/node-id"]: entry for entry in nodes})
        self.dice = dice
        self.queue: list[tuple[str, Ask]] = []
        self.begun: list[str] = []

    def dispatch(self) -> None:
        """Hand over all that may be, as the dispatcher does."""
        while True:
            claims = self.nodes.claims()
            chosen = next((entry for entry in self.queue if claims.admits(entry[1])), None)
            if chosen is None:
                return
            run, ask = chosen
            barred = claims.barred(ask)
            roomy = [one for one in self.nodes.all.values() if one.has_room(ask) and one.id not in barred]
            place = self.dice.choice(roomy)
            self.nodes.hold(run, ask, barred)
            self.nodes.place(run, place.id, [])
            self.queue.remove(chosen)
            self.begun.append(run)

    def check(self) -> None:
        """See that no node has given more than it has."""
        for one in self.nodes.all.values():
            assert sum(ask.cpus for ask in one.holders.values()) <= one.resources["CPU"]
            assert sum(ask.gpus for ask in one.holders.values()) <= one.resources["GPU"]


@pytest.mark.parametrize("seed", range(20))
def test_small_runs_never_pass_a_large_one_on_what_it_waits_for(seed: int) -> None:
    dice = random.Random(seed)
    cluster = Cluster(dice, *(node(number) for number in (1, 2, 3)))
    for number in range(9):  # three of four CPUs of each node are taken
        cluster.queue.append((f"first{number}", SMALL))
    cluster.dispatch()
    running = list(cluster.begun)
    cluster.queue.append(("large", LARGE))
    for step in range(100):
        # Small ones never cease to come, and one at a time ends, whose place the next could take at once.
        cluster.queue += [(f"{step}-{n}", Ask(dice.randint(0, 1), dice.choice([0.5, 1]), 0, None)) for n in range(4)]
        begun = len(cluster.begun)
        cluster.nodes.release(running.pop(0))
        cluster.dispatch()
        cluster.check()
        running += cluster.begun[begun:]
        if "large" in cluster.begun:
            break

    assert "large" in cluster.begun


def test_what_a_waiting_run_has_no_use_for_is_given_to_those_behind_it() -> None:
    nodes = three()
    nodes.hold("a", Ask(1, 1, 0, "place=p2"))
    claims = nodes.claims()

    assert not claims.admits(Ask(1, 4, 0, "place=p2"))  # waits for the GPU and one CPU of that node alone
    assert not claims.admits(Ask(0, 1, 0, "place=p2"))
    assert claims.admits(Ask(1, 4, 0, None))
    assert claims.barred(Ask(0, 1, 0, None)) == {"n2"}
    assert claims.barred(Ask(0, 4, 0, None)) == frozenset()  # has no room there anyway


def test_a_run_that_no_node_can_ever_run_keeps_nothing() -> None:
    claims = three().claims()

    assert not claims.admits(Ask(0, 1, 0, "place=p9"))
    assert claims.admits(Ask(1, 4, 0, "place=p1"))


def test_a_run_that_waits_in_ray_comes_before_the_queue_once_its_patience_is_over() -> None:
    nodes = three()
    for number in (1, 2, 3):
        nodes.hold(f"small{number}", Ask(0, 1, 0, f"place=p{number}"))
    nodes.hold("large", Ask(0, 4, 0, "place=p1"))
    wish = Ask(0, 1, 0, "place=p1")

    assert nodes.claims(patience=600).admits(wish)
    assert not nodes.claims().admits(wish)


def test_a_run_is_not_thought_to_be_where_ray_may_not_put_it() -> None:
    nodes = three()
    nodes.hold("small", Ask(1, 1, 0, None), frozenset({"n1", "n2"}))
    assert nodes.all["n3"].holders.keys() == {"small"}

    nodes.update({f"n{number}": node(number) for number in (1, 2)})

    assert nodes.hopeless() == ["small"]


# -- results -----------------------------------------------------------------------------------------


def sleeper() -> RunnerProcess:
    """A process that ends when its input does."""
    stdin, ours = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=stdin)
    os.close(stdin)
    return RunnerProcess(process.pid, os.pidfd_open(process.pid), ours, -1, process, None)


def test_results_are_computed_for_a_few_runs_at_a_time_and_in_the_order_of_their_ends() -> None:
    started: dict[str, RunnerProcess] = {}

    def start(run: str) -> RunnerProcess:
        if run == "c":
            raise OSError("no process")
        started[run] = sleeper()
        return started[run]

    results = Results(start, 2)
    for run in "abcde":
        results.ask(run)

    assert list(started) == ["a", "b"]
    assert not any(results.are_done(run) for run in "abcde")
    assert len(results.fds) == 2
    started["b"].hand(b"")
    assert select.select(results.fds, [], [], 30)[0]
    assert [run for run in "abcde" if results.are_done(run)] == ["b", "c"]  # for that no process could be had
    assert list(started) == ["a", "b", "d"]
    for run in ("a", "d", "e"):
        started[run].hand(b"")
        assert started[run].ends_within(30)
        assert results.are_done(run)
    assert list(started) == ["a", "b", "d", "e"]
    assert results.fds == []
