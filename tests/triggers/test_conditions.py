"""What is decided, on plain data with a clock of the test's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.jenkins.triggers import memory as memories
from kernel_gateway.jenkins.triggers.conditions import Decision, Finding, decide
from kernel_gateway.jenkins.triggers.evidence import Evidence
from kernel_gateway.jenkins.triggers.memory import Memory
from kernel_gateway.jenkins.triggers.plan import DAY, Condition, Either, Every, Limits, Trigger, Watch
from kernel_gateway.jenkins.triggers.starting import intend

A, B, C = (Watch("data", {"data": [name]}, name) for name in ("a", "b", "c"))

Found = Mapping[str, Evidence | str]


class Life:
    """A trigger that is checked again and again."""

    def __init__(self, when: Condition = A, **limits: Any) -> None:
        self.trigger = Trigger(
            "t", "job", when, limits=Limits(**{"minimal_interval": 0.0, "max_per_day": 10**6} | limits)
        )
        self.memory = Memory()
        self.now = 1e9
        self.starts: list[float] = []

    def check(self, **found: str | bool | Evidence | None) -> Decision:
        """One check: a text is a token; None can't be read; True and False are conditions of their own, by time."""
        looked: dict[str, Evidence | str] = {}
        for watch in self.trigger.watches():
            value = found[watch.title]
            if value is None:
                looked[watch.key] = "no route to host"
            elif isinstance(value, bool):
                looked[watch.key] = Evidence(str(self.now), str(value), value)
            else:
                looked[watch.key] = value if isinstance(value, Evidence) else Evidence(value, value)
        self.memory = memories.observed(self.memory, self.trigger, looked, self.now)
        decision = decide(self.trigger, self.memory, self.now)
        if decision.start:
            self.starts.append(self.now)
            self.memory = memories.intended(self.memory, intend(decision, self.memory, self.now))
            self.memory = memories.started(self.memory, "build", self.now)
        self.memory = Memory.from_dict(self.memory.to_dict())  # as it comes out of the file
        return decision


STEPS = st.lists(
    st.tuples(st.sampled_from([None, "x", "y", "z"]), st.floats(0, 2 * DAY, allow_nan=False)), min_size=1, max_size=60
)


@given(STEPS, st.floats(0, 3 * DAY), st.integers(1, 5), st.floats(0, DAY), st.booleans())
def test_a_flapping_source_never_starts_more_than_the_limits_allow(
    steps: list[tuple[str | None, float]], interval: float, most: int, quiet: float, first: bool
) -> None:
    life = Life(minimal_interval=interval, max_per_day=most, quiet_period=quiet, fire_on_first=first)

    for token, pause in steps:
        life.check(a=token)
        life.now += pause

    assert all(later - earlier >= interval for earlier, later in zip(life.starts, life.starts[1:], strict=False))
    for begin in life.starts:
        assert sum(1 for at in life.starts if begin <= at < begin + DAY) <= most


@given(STEPS)
def test_what_can_not_be_read_never_starts_anything(steps: list[tuple[str | None, float]]) -> None:
    life = Life(fire_on_first=True)

    for token, pause in steps:
        decision = life.check(a=token)
        life.now += pause

        assert token is not None or not decision.start


@given(STEPS)
def test_a_start_follows_each_change_and_nothing_else(steps: list[tuple[str | None, float]]) -> None:
    life = Life()
    acted: str | None = None

    for token, pause in steps:
        decision = life.check(a=token)
        life.now += pause

        assert decision.start == (token is not None and acted is not None and token != acted)
        if token is not None and (acted is None or decision.start):
            acted = token


@given(st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("xy"), st.booleans()), max_size=30))
def test_all_is_met_with_each_part_and_any_with_one(steps: list[tuple[str, str, bool]]) -> None:
    every, either = Life(Every((A, B, C))), Life(Either((A, B, C)))
    every_old = either_old = ("x", "x")
    for life in (every, either):
        life.check(a="x", b="x", c=False)

    for a, b, c in steps:
        every.now += 1
        either.now += 1
        all_changed = a != every_old[0] and b != every_old[1] and c
        assert every.check(a=a, b=b, c=c).start == all_changed
        one_changed = (a, b) != either_old or c
        assert either.check(a=a, b=b, c=c).start == one_changed
        every_old = (a, b) if all_changed else every_old
        either_old = (a, b) if one_changed else either_old


def test_a_part_that_can_not_be_read_does_not_keep_any_from_being_met_by_another() -> None:
    life = Life(Either((A, B)))
    life.check(a="x", b="x")

    decision = life.check(a=None, b="y")
    later = life.check(a="y", b="y")

    assert decision.start
    assert [one.finding for one in decision.judgements] == [Finding.UNREADABLE, Finding.MET]
    assert later.start  # a's change was not covered by the build, since nobody could see it


def test_evidence_that_was_acted_on_is_not_met_again_until_there_is_new_evidence() -> None:
    life = Life()

    first = life.check(a=Evidence("batch 1", "drifted", True))
    same = life.check(a=Evidence("batch 1", "drifted", True))
    new = life.check(a=Evidence("batch 2", "drifted", True))

    assert [first.start, same.start, new.start] == [True, False, True]
    assert "a build was started for that" in same.judgements[0].words


def test_a_source_becomes_an_error_after_so_many_failures_in_a_row_and_recovers() -> None:
    life = Life(errors_after=3)

    errors = [life.check(a=token).judgements[0].error for token in (None, None, "x", None, None, None, None, "x")]

    assert errors == [False, False, False, False, False, True, True, False]


def test_a_clock_that_was_set_back_starts_nothing_too_early() -> None:
    life = Life(minimal_interval=3600.0)
    life.check(a="x")
    life.check(a="y")
    life.now -= 7200

    assert life.check(a="z").held.startswith("held: the last start was 0 s ago")
    assert len(life.starts) == 1


def test_a_clock_that_was_far_ahead_and_is_right_again_holds_nothing_longer_than_the_limits() -> None:
    life = Life(minimal_interval=3600.0, max_per_day=1, quiet_period=60.0)
    life.check(a="x")
    life.now += 365 * DAY
    life.check(a="y")
    life.now += 60
    ahead = life.check(a="y")
    life.check(a="z")
    life.now -= 365 * DAY

    held = life.check(a="z")
    life.now += DAY
    later = life.check(a="z")

    assert ahead.start
    assert not held.start
    assert later.start


def test_more_starts_a_day_than_the_memory_usually_holds_are_counted_too() -> None:
    life = Life(max_per_day=250)
    for number in range(300):
        life.now += 1
        decision = life.check(a=str(number))

    assert len(life.starts) == 250
    assert decision.held == "held: 250 started within a day, 250 may be"


def test_a_reason_holds_nothing_that_jenkins_or_a_terminal_could_not_show() -> None:
    life = Life()
    life.check(a="1 file")

    decision = life.check(a="a\x1b[2J\0\udcff\nb")

    assert decision.reason == "Trigger t: a: 1 file → a [2J   b, changed"


def test_a_condition_that_is_rewritten_is_looked_at_for_the_first_time() -> None:
    life = Life()
    life.check(a="x")
    other = Watch("data", {"data": ["a"], "by": "content"}, "a")
    life.trigger = Trigger("t", "job", other, limits=life.trigger.limits)

    decision = life.check(a="y")

    assert not decision.start
    assert decision.judgements[0].finding is Finding.FIRST


def test_the_reason_names_what_was_and_what_is_of_each_condition_that_was_met() -> None:
    life = Life(Either((A, B)))
    life.check(a="1 file", b="commit 1")

    decision = life.check(a="2 files", b="commit 1")

    assert decision.reason == "Trigger t: a: 1 file → 2 files, changed"


@pytest.mark.parametrize("count", [1, 250])
def test_the_memory_does_not_grow_without_end(count: int) -> None:
    life = Life()
    for number in range(count + 1):
        life.now += DAY
        life.check(a=str(number))

    assert len(life.memory.starts) == min(count, memories.KEPT_STARTS)
