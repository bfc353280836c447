"""Who gets what of a machine, and whose turn it is: the rule of the queue, without a queue."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from kernel_gateway.agents.capacity import Capacity, Share

GIB = 2**30


@dataclass(frozen=True)
class Wanted:
    """What a run asks for."""

    name: str
    gpus: int = 0
    cpus: float = 0.0
    memory: int = 0


def begin(capacity: Capacity, queue: list[Wanted]) -> list[str]:
    """Start all that may start now, as the dispatcher does; the names, in the order in which they began."""
    begun: list[str] = []
    while capacity.has_slot:
        turn = capacity.turn()
        chosen = next((run for run in queue if capacity.suits(run) and turn.admits(run)), None)
        if chosen is None:
            break
        capacity.grant(chosen.name, chosen)
        queue.remove(chosen)
        begun.append(chosen.name)
    return begun


def capacity(gpus: Iterable[str] = ("0", "1"), slots: int = 4, cpus: float = 8.0, memory: int = 16 * GIB) -> Capacity:
    return Capacity(slots, gpus, cpus, memory)


def test_each_gpu_is_held_by_one_run_and_comes_back_in_its_order() -> None:
    machine = capacity(("b", "a", "c"))

    assert machine.grant("x", Wanted("x", gpus=2)).gpus == ("b", "a")
    assert machine.grant("y", Wanted("y", gpus=1)).gpus == ("c",)
    machine.release("x")

    assert machine.free_gpus() == ["b", "a"]
    assert machine.state()["gpus"] == {"b": None, "a": None, "c": "y"}


def test_a_run_that_waits_for_two_gpus_is_not_passed_by_runs_that_want_one() -> None:
    machine = capacity()
    machine.hold("first", Share(("0",)))
    queue = [Wanted("large", gpus=2), Wanted("small", gpus=1), Wanted("plain")]

    assert begin(machine, queue) == ["plain"]  # what the large one waits for is kept; the rest is not

    machine.release("first")
    assert begin(machine, queue) == ["large"]
    machine.release("large")
    assert begin(machine, queue) == ["small"]


def test_runs_fill_what_a_waiting_run_has_no_use_for() -> None:
    machine = capacity(("0", "1", "2", "3"), slots=8)
    machine.hold("first", Share(("0", "1"), cpus=6.0))
    queue = [Wanted("cpus", cpus=4), Wanted("gpu", gpus=1), Wanted("few", cpus=1)]

    assert begin(machine, queue) == ["gpu"]  # the two free CPUs are kept for the first


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Wanted("x", gpus=2, cpus=8, memory=16 * GIB), True),
        (Wanted("x", gpus=3), False),
        (Wanted("x", cpus=8.5), False),
        (Wanted("x", memory=17 * GIB), False),
    ],
)
def test_what_a_machine_never_has_does_not_suit_it(wanted: Wanted, fits: bool) -> None:
    assert capacity().suits(wanted) is fits


def test_tenths_of_a_cpu_add_up() -> None:
    machine = capacity(cpus=0.3)
    queue = [Wanted("a", cpus=0.1), Wanted("b", cpus=0.2)]

    assert begin(machine, queue) == ["a", "b"]


def test_a_gpu_that_another_process_has_is_not_given_out() -> None:
    machine = capacity()

    assert not machine.turn(elsewhere=["0"]).admits(Wanted("x", gpus=2))
    assert machine.grant("x", Wanted("x", gpus=1), elsewhere=["0"]).gpus == ("1",)


def test_runs_without_wishes_hold_a_slot_alone() -> None:
    machine = capacity(slots=2)

    assert begin(machine, [Wanted("a"), Wanted("b"), Wanted("c")]) == ["a", "b"]
    assert (machine.free_cpus, machine.free_memory) == (8.0, 16 * GIB)


@pytest.mark.parametrize("seed", range(20))
def test_no_run_waits_for_ever_and_nothing_is_given_twice(seed: int) -> None:
    dice = random.Random(seed)
    machine = capacity(("0", "1", "2"), slots=3, cpus=4, memory=8 * GIB)
    machine.hold("first", Share(("0",), 1.0, GIB))
    running = {"first": 4}
    queue = [Wanted("large", gpus=3, cpus=4, memory=8 * GIB)]
    begun: list[str] = []
    for step in range(200):
        # Small runs never cease to come, each behind the large one.
        wish = Wanted(str(step), dice.randint(0, 2), dice.choice([0, 0.5, 2]), dice.choice([0, GIB, 4 * GIB]))
        queue.append(wish)
        for name in begin(machine, queue):
            running[name] = dice.randint(1, 5)
            begun.append(name)
        shares = [machine.share_of(name) for name in running]
        held = [gpu for share in shares for gpu in share.gpus]
        assert len(held) == len(set(held))
        assert sum(share.cpus for share in shares) <= 4 + 1e-6
        assert sum(share.memory for share in shares) <= 8 * GIB
        assert len(running) <= 3
        for name in [name for name, left in running.items() if left == 1]:
            machine.release(name)
        running = {name: left - 1 for name, left in running.items() if left > 1}

    assert "large" in begun
    ahead = begun[: begun.index("large")]
    assert all(name.isdecimal() and int(name) < 4 for name in ahead)  # nobody who came once "first" had ended


@pytest.mark.parametrize("seed", range(20))
def test_a_large_run_begins_as_soon_as_those_before_it_have_ended(seed: int) -> None:
    dice = random.Random(seed)
    machine = capacity(("0", "1", "2"), slots=4)
    queue = [Wanted(f"before-{number}", gpus=1) for number in range(3)]
    before = set(begin(machine, queue))
    queue = [Wanted("large", gpus=3)]
    while before:
        queue.append(Wanted(f"later-{len(queue)}", gpus=dice.randint(1, 2)))
        assert begin(machine, queue) == []
        machine.release(before.pop())

    assert begin(machine, queue) == ["large"]


def test_a_note_of_a_share_is_read_back_as_it_was() -> None:
    share = Share(("GPU-a", "1"), 2.5, 3 * GIB)

    assert Share.from_dict(share.to_dict()) == share
    for broken in ({}, {"gpus": None, "cpus": 1, "memory": 1}, {"gpus": [], "cpus": "many", "memory": 0}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Share.from_dict(broken)
