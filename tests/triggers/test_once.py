"""A build is started exactly once, whatever is killed between the decision and the note that it was carried out."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kernel_gateway.jenkins.triggers import starting

from .checker import AFTER_BUILD, AFTER_INTENT, BEFORE_BUILD, BEFORE_START, POINTS
from .conftest import Bench
from .jenkins_server import SmallJenkins

ROOT = Path(__file__).parents[2]


def checker(bench: Bench, point: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.triggers.checker", str(bench.folder), bench.jenkins.url, point],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=60)


@pytest.fixture
def due(bench: Bench) -> Bench:
    """A trigger that is due."""
    (bench.folder / "a.csv").write_text("0")
    bench.write("- data: a.csv", fire_on_first=True, minimal_interval=0)
    (bench.folder / "triggers.yaml").write_text(bench.text)
    return bench


@pytest.mark.parametrize("held", [False, True], ids=["in a build", "in the queue"])
@pytest.mark.parametrize("point", POINTS)
def test_a_check_killed_at_any_point_and_repeated_starts_one_build(due: Bench, point: str, held: bool) -> None:
    due.jenkins.hold = held
    process = checker(due, point)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == point, process.communicate(timeout=60)
    kill(process)

    finish(checker(due, "none"))
    finish(checker(due, "none"))

    assert len(due.jenkins.ids()) == 1


@pytest.mark.parametrize("moment", ["before_queue", "after_queue"])
def test_a_check_killed_while_jenkins_works_on_its_request_starts_one_build(due: Bench, moment: str) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert go_on.wait(60)

    setattr(due.jenkins, moment, wait)
    process = checker(due, "none")
    assert reached.wait(60)
    kill(process)
    setattr(due.jenkins, moment, lambda: None)
    go_on.set()  # Jenkins works through what it was sent, though nobody waits for the answer
    deadline = time.monotonic() + 30
    while not due.jenkins.ids():
        assert time.monotonic() < deadline
        time.sleep(0.01)

    finish(checker(due, "none"))
    finish(checker(due, "none"))

    assert len(due.jenkins.ids()) == 1


def test_a_second_kill_while_the_first_is_looked_after_still_starts_one_build(due: Bench) -> None:
    for point in (AFTER_INTENT, BEFORE_BUILD, AFTER_BUILD, BEFORE_START):
        process = checker(due, point)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == point, process.communicate(timeout=60)
        kill(process)

    finish(checker(due, "none"))

    assert len(due.jenkins.ids()) == 1


def test_a_jenkins_that_breaks_off_the_answer_starts_one_build(
    due: Bench, jenkins: SmallJenkins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "SETTLE_SECONDS", 0.01)

    def break_off() -> None:
        raise OSError

    jenkins.after_queue = break_off
    broken = due.check()
    jenkins.after_queue = lambda: None
    again = due.check()

    assert broken.failure is not None
    assert broken.failure.exit_code == 6
    assert not again.started
    assert "the build of an earlier check that was interrupted is there" in again.resumed
    assert len(jenkins.ids()) == 1


def test_two_checks_at_once_start_one_build(due: Bench) -> None:
    both = [checker(due, "none"), checker(due, "none")]

    for process in both:
        finish(process)

    assert len(due.jenkins.ids()) == 1


def test_an_intent_is_told_by_a_dry_run_and_left_alone(due: Bench) -> None:
    process = checker(due, AFTER_INTENT)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == AFTER_INTENT
    kill(process)

    told = due.check(dry_run=True)

    assert "an earlier check was interrupted" in told.resumed
    assert due.started == 0
    assert due.check().started
    assert due.started == 1
