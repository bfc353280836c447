"""A run on a gateway is started once, and ended when the command is."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from kernel_gateway.cli.step import idempotency_key
from kernel_gateway.client.request import Request
from tests.client.gateway import ScriptedGateway
from tests.client.results import Command, RunCode, log, record, wait_for
from tests.client.scripted_run import ScriptedRun

# -- submitting once -----------------------------------------------------------------------------------


def test_a_lost_answer_starts_no_second_run(gateway: ScriptedGateway, run_code: RunCode) -> None:
    gateway.fail("POST /api/v1/runs$", late=True)

    assert run_code() == 0
    assert len(gateway.runs) == 1


def test_a_build_step_that_is_run_again_finds_the_run_that_it_began(
    gateway: ScriptedGateway, folder: Path, run_code: RunCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILD_TAG", "jenkins-train-12")
    gateway.on_submit = ScriptedRun.begin

    # When its agent is lost in mid-run and the step is run again on another one…
    first = threading.Thread(target=run_code)
    first.start()
    wait_for(lambda: gateway.count("events"))
    (run,) = gateway.runs.values()
    run.end()
    first.join()

    shutil.rmtree(folder / "out")
    # … it is the same run; one that has ended is an earlier try, as by Jenkins' `retry`, and is not taken for ours.
    run.finished, run.status = False, "running"
    assert run_code() == 0
    assert len(gateway.runs) == 1
    shutil.rmtree(folder / "out")
    run.finished, run.status = True, "failed"
    gateway.on_submit = gateway.hello
    assert run_code() == 0
    assert [run.key for run in gateway.runs.values()] == [run.key, f"{run.key}-2"]


def test_a_failed_step_that_is_tried_again_at_once_gets_a_new_run(
    gateway: ScriptedGateway, run_code: RunCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: ScriptedRun) -> None:
        run.lag = 0.7
        run.begin()
        run.end("failed", 1)

    monkeypatch.setenv("BUILD_TAG", "jenkins-train-13")
    gateway.on_submit = fail

    assert [run_code(), run_code()] == [1, 1]
    assert len(gateway.runs) == 2


BUILD = {"JOB_NAME": "train", "BUILD_NUMBER": "12", "BUILD_TAG": "jenkins-train-12"}


def _step_on(agent: str, folder: Path, command: Command, attempt: int | None = None) -> subprocess.Popen[str]:
    """A build's step on an agent, with a file of options of its own."""
    options = folder / f"{agent}-{attempt}" / "request.json"
    options.parent.mkdir(exist_ok=True)
    options.write_text(json.dumps({"code": "print(1)", "name": "train", "step": "train#1", "try": attempt}))
    return command("--options", str(options), env={**BUILD, "NODE_NAME": agent})


def test_a_step_that_goes_on_elsewhere_finds_its_run_whatever_lies_there(
    gateway: ScriptedGateway, folder: Path, command: Command
) -> None:
    gateway.on_submit = ScriptedRun.begin
    lost = _step_on("one", folder, command)
    wait_for(lambda: gateway.count("events"))
    lost.kill()
    lost.wait()
    (run,) = gateway.runs.values()

    again = _step_on("two", folder, command)
    wait_for(lambda: gateway.count("events") > 1)
    run.end()
    _, told = again.communicate(timeout=20)

    assert again.returncode == 0
    assert f"run {run.id}, begun before," in told
    assert list(gateway.runs.values()) == [run]


def test_a_run_that_ended_while_its_agent_was_lost_is_this_try_of_its_step_and_the_next_try_a_new_one(
    gateway: ScriptedGateway, folder: Path, command: Command
) -> None:
    codes = []
    for agent, attempt in (("one", 1), ("two", 1), ("two", 2)):
        command_of_step = _step_on(agent, folder, command, attempt=attempt)
        command_of_step.communicate(timeout=20)
        codes.append(command_of_step.returncode)

    assert codes == [0, 0, 0]
    assert len(gateway.runs) == 2


def test_a_step_whose_run_the_gateway_lost_and_tries_again_goes_on_with_that_one(
    gateway: ScriptedGateway, folder: Path, command: Command
) -> None:
    gateway.on_submit = ScriptedRun.begin
    first = _step_on("one", folder, command)
    wait_for(lambda: gateway.count("events"))
    first.kill()
    first.wait()
    (lost,) = gateway.runs.values()
    following = gateway.new_run()
    following.begin()
    lost.retried_as = following.id
    lost.end("lost", 5, retried_as=following.id)

    again = _step_on("two", folder, command)
    wait_for(lambda: gateway.count("events") > 1)
    following.end()
    _, told = again.communicate(timeout=20)

    assert again.returncode == 0
    assert f"run {following.id}, begun before," in told
    assert len(gateway.runs) == 2


def test_keys_come_from_the_user_from_the_build_or_from_chance() -> None:
    request, other = Request({"name": "a", "secrets": {"K": "1"}}), Request({"name": "b"})
    build = {"BUILD_TAG": "jenkins-train-12"}

    assert idempotency_key({"KERNEL_GATEWAY_IDEMPOTENCY_KEY": "mine", **build}, request) == ("mine", False)
    assert idempotency_key(build, request) == idempotency_key(build, Request({"name": "a", "secrets": {"K": "2"}}))
    assert idempotency_key(build, request) != idempotency_key(build, other)
    assert idempotency_key({}, request) != idempotency_key({}, request)


# -- cancelling ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cancels_the_run_and_follows_it_to_its_end(
    gateway: ScriptedGateway, folder: Path, command: Command, number: signal.Signals
) -> None:
    gateway.on_submit = ScriptedRun.begin

    def end(run: ScriptedRun) -> None:
        if not run.finished:
            run.say("interrupted\n")
            run.end("cancelled", 130)

    gateway.on_cancel = end
    process = command("-c", "sleep")
    wait_for(lambda: gateway.count("events"))
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=20)

    (run,) = gateway.runs.values()
    assert process.returncode == 130
    assert run.cancelled == 1
    assert "interrupted" in stdout
    assert log(folder) == run.lines
    assert record(folder)["status"] == "cancelled"


def test_a_second_signal_is_passed_on(gateway: ScriptedGateway, folder: Path, command: Command) -> None:
    gateway.on_submit = ScriptedRun.begin

    def end(run: ScriptedRun) -> None:
        if run.cancelled == 2:
            run.end("cancelled", 130)

    gateway.on_cancel = end
    process = command("-c", "sleep")
    wait_for(lambda: gateway.count("events"))
    process.terminate()
    wait_for(lambda: gateway.count("cancel") == 1)
    time.sleep(0.5)
    process.terminate()
    process.communicate(timeout=20)

    assert process.returncode == 130
    assert gateway.count("cancel") == 2


@pytest.mark.slow
def test_a_signal_while_the_gateway_is_gone_ends_the_command_in_20_seconds(
    gateway: ScriptedGateway, folder: Path, command: Command
) -> None:
    gateway.on_submit = ScriptedRun.begin
    process = command("-c", "sleep")
    wait_for(lambda: gateway.count("events"))
    gateway.stop()
    started = time.monotonic()
    process.terminate()
    process.communicate(timeout=30)

    assert process.returncode == 130
    assert time.monotonic() - started < 20
    assert record(folder)["status"] == "cancelled"
    assert "may go on there" in record(folder)["reason"]


def test_a_signal_before_the_run_is_submitted_ends_the_command_at_once(
    gateway: ScriptedGateway, folder: Path, command: Command
) -> None:
    gateway.fail("blobs/missing", 503, times=1000, headers={"Retry-After": "30"})
    (folder / "data").write_text("x")
    process = command("-c", "print(1)", "--input", "data")
    wait_for(lambda: gateway.count("missing"))
    started = time.monotonic()
    process.terminate()
    process.communicate(timeout=20)

    assert process.returncode == 130
    assert time.monotonic() - started < 5
    assert gateway.runs == {}
    assert record(folder)["status"] == "cancelled"
