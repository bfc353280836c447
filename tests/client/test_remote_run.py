"""`kernel-gateway run --gateway`: as a run on this machine, whatever happens to gateway and network."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.cli.remote import RemoteRun
from kernel_gateway.errors import UsageError
from kernel_gateway.runner.ending import Cancellation
from kernel_gateway.settings import RunOptions, Settings
from tests.client.gateway import ScriptedGateway
from tests.client.results import Command, RunCode, log, record, wait_for
from tests.client.scripted_run import ScriptedRun

# -- a run that goes well ------------------------------------------------------------------------------


def test_output_results_and_exit_code_are_those_of_a_run_on_this_machine(
    gateway: ScriptedGateway, folder: Path, command: Command
) -> None:
    (folder / "train.py").write_text("print('hello')")

    process = command("train.py", "-p", "epochs", "3", "--require", "accuracy > 0.9", "--retries", "2")
    stdout, stderr = process.communicate(timeout=30)

    (run,) = gateway.runs.values()
    assert process.returncode == 0, stderr
    assert "hello\n" in stdout
    assert "[kernel-gateway] succeeded in 0.2 s" in stdout
    assert "status    succeeded" in stdout
    assert f"kernel-gateway: run {run.id} at {gateway.url}/runs/{run.id}\n" in stderr
    assert log(folder) == run.lines
    assert record(folder)["id"] == run.id
    assert run.body["source"] == {"path": "train.py", "content": "print('hello')"}
    assert (run.body["parameters"], run.body["require"]) == ({"epochs": 3}, ["accuracy > 0.9"])
    assert (run.body["retries"], run.body["name"]) == (2, "train")


@pytest.mark.parametrize(("status", "code"), [("failed", 1), ("unstable", 3), ("kernel_died", 5), ("cancelled", 130)])
def test_the_exit_code_is_that_of_the_run(
    gateway: ScriptedGateway, folder: Path, run_code: RunCode, status: str, code: int
) -> None:
    def fill(run: ScriptedRun) -> None:
        run.begin()
        run.end(status, code)

    gateway.on_submit = fill

    assert run_code() == code
    assert (record(folder)["status"], record(folder)["exit_code"]) == (status, code)


def test_large_outputs_and_artifacts_are_brought_back(
    gateway: ScriptedGateway, folder: Path, run_code: RunCode
) -> None:
    image, model = os.urandom(100_000), os.urandom(2_000_000)
    digest = hashlib.sha256(image).hexdigest()
    gateway.blobs[digest] = image

    def fill(run: ScriptedRun) -> None:
        run.begin()
        refs = {"image/png": {"sha256": digest, "size": len(image), "encoding": "base64"}}
        for _ in range(3):
            run.add("display", cell=0, data={"text/plain": "plot"}, metadata={}, blobs=refs, display_id=None)
        run.artifacts["model/m.bin"] = model
        sha = hashlib.sha256(model).hexdigest()
        run.add("artifact", path="model/m.bin", sha256=sha, size=len(model), media_type="x/y", cell=None)
        run.end()

    gateway.on_submit = fill
    gateway.fail("HALF ")

    assert run_code() == 0
    assert (folder / "out" / "artifacts" / "model" / "m.bin").read_bytes() == model
    assert gateway.count(f"GET /api/v1/blobs/{digest}") <= 2  # once, and once more after a break
    notebook = json.loads((folder / "out" / "executed.ipynb").read_text())
    assert len(notebook["cells"][0]["outputs"][0]["data"]["image/png"]) > 100_000


@pytest.mark.parametrize(
    ("type", "fields"),
    [
        ("artifact", {"cell": None}),
        ("display", {"cell": 0, "data": {}, "metadata": {}, "blobs": {"image/png": {"size": 1}}}),
        ("display", {"cell": 0, "data": {}, "metadata": {}, "blobs": {"image/png": {"sha256": "../x", "size": 1}}}),
    ],
)
def test_events_that_lack_what_a_gateways_have_are_told_as_such(
    gateway: ScriptedGateway,
    folder: Path,
    run_code: RunCode,
    capfd: pytest.CaptureFixture[str],
    type: str,
    fields: dict[str, Any],
) -> None:
    def fill(run: ScriptedRun) -> None:
        run.begin()
        run.add(type, **fields)
        run.end()

    gateway.on_submit = fill

    assert run_code() == 6
    assert "is no kernel gateway" in capfd.readouterr().err


def test_success_without_all_artifacts_is_no_success(
    gateway: ScriptedGateway, folder: Path, run_code: RunCode, capfd: pytest.CaptureFixture[str]
) -> None:
    def fill(run: ScriptedRun) -> None:
        run.begin()
        run.add("artifact", path="gone.bin", sha256="0" * 64, size=5, media_type="x/y", cell=None)
        run.end()

    gateway.on_submit = fill

    assert run_code() == 6
    assert "gone.bin could not be brought back" in capfd.readouterr().err
    assert record(folder)["status"] == "succeeded"


def test_workspace_git_build_and_baseline_go_along(
    gateway: ScriptedGateway, folder: Path, run_code: RunCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    (folder / "lib.py").write_text("x = 1")
    subprocess.run(["git", "add", "lib.py"], check=True)
    monkeypatch.setenv("JOB_NAME", "train")
    monkeypatch.setenv("BUILD_NUMBER", "12")

    assert run_code() == 0
    first = list(gateway.runs.values())[-1]
    assert run_code("print(2)") == 0
    second = list(gateway.runs.values())[-1]

    assert [file["path"] for file in first.body["workspace"]] == ["lib.py"]
    assert b"x = 1" in gateway.blobs.values()
    assert first.body["build"]["number"] == 12
    assert first.body["git"]["dirty"] is True
    assert "baseline" not in first.body
    assert second.body["baseline"]["run"] == first.id


def test_a_long_source_is_sent_as_a_blob_and_an_env_file_from_elsewhere_too(
    gateway: ScriptedGateway, folder: Path, run_code: RunCode, tmp_path_factory: pytest.TempPathFactory
) -> None:
    code = "x = 1\n" * 100_000
    env = tmp_path_factory.mktemp("elsewhere") / "requirements.txt"
    env.write_text("numpy\n")

    assert run_code(code, env_file=str(env)) == 0

    (run,) = gateway.runs.values()
    assert gateway.blobs[run.body["source"]["sha256"]] == code.encode()
    assert run.body["env"]["path"] == "environment-file/requirements.txt"
    assert gateway.blobs[run.body["env"]["sha256"]] == b"numpy\n"


def test_secrets_are_sent_and_masked_here_once_more(gateway: ScriptedGateway, folder: Path, run_code: RunCode) -> None:
    def careless(run: ScriptedRun) -> None:
        run.begin()
        run.say("the key is hunter2-hunter2\n")
        run.end()

    gateway.on_submit = careless

    assert run_code(secrets={"KEY": "hunter2-hunter2"}) == 0
    (run,) = gateway.runs.values()
    assert run.body["secrets"] == {"KEY": "hunter2-hunter2"}
    texts = [path.read_text() for path in (folder / "out").rglob("*") if path.is_file()]
    assert not any("hunter2" in text for text in texts)
    assert "the key is ****" in (folder / "out" / "console.log").read_text()
    assert [json.loads(line)["seq"] for line in log(folder)] == list(range(1, len(run.lines) + 1))


def test_a_lost_run_is_followed_by_the_one_that_tries_again(
    gateway: ScriptedGateway, folder: Path, run_code: RunCode, capfd: pytest.CaptureFixture[str]
) -> None:
    def lose(run: ScriptedRun) -> None:
        again = gateway.new_run()
        run.begin()
        run.say("first try\n")
        run.end("lost", 5, retried_as=again.id)
        again.begin()
        again.say("second try\n")
        again.end()

    gateway.on_submit = lose

    assert run_code() == 0
    told = capfd.readouterr()
    assert "first try" in told.out
    assert "second try" in told.out
    assert "was lost: because It is tried again as run" in told.err
    assert log(folder) == list(gateway.runs.values())[1].lines
    assert "first try" not in (folder / "out" / "console.log").read_text()


# -- trouble -------------------------------------------------------------------------------------------


def test_a_gateway_that_is_not_there_is_exit_code_6_with_results(
    gateway: ScriptedGateway, folder: Path, run_code: RunCode, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.stop()

    assert run_code() == 6
    assert f"kernel-gateway: No gateway answers at {gateway.url}: the connection was refused." in capfd.readouterr().err
    assert record(folder)["status"] == "failed"
    assert record(folder)["reason"].startswith("No gateway answers")
    assert (
        'failures="1"' in (folder / "out" / "junit.xml").read_text()
        or "error" in (folder / "out" / "junit.xml").read_text()
    )


def test_a_refused_request_has_the_exit_code_of_its_kind(
    gateway: ScriptedGateway, folder: Path, run_code: RunCode, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway.fail("POST /api/v1/runs$", 422, document={"detail": "There is no kernelspec 'x'.", "field": "kernel"})
    assert run_code() == 2
    gateway.fail("POST /api/v1/runs$", 401, document={"detail": "No."})
    assert run_code() == 6

    assert "There is no kernelspec 'x'." in capfd.readouterr().err
    assert record(folder)["exit_code"] == 6


def test_breaks_duplicates_and_a_restart_leave_a_true_copy_of_the_log(
    gateway: ScriptedGateway, folder: Path, run_code: RunCode, capfd: pytest.CaptureFixture[str]
) -> None:
    def live(run: ScriptedRun) -> None:
        run.begin()
        run.repeat = 2
        run.cuts = {5: 20, 9: 0, 30: 100}

        def produce() -> None:
            for number in range(100):
                run.say(f"line {number}\n")
                time.sleep(0.03)
                if number == 40:
                    gateway.stop()
                if number == 85:
                    gateway.start()
            run.end()

        threading.Thread(target=produce).start()

    gateway.on_submit = live

    assert run_code() == 0
    (run,) = gateway.runs.values()
    assert log(folder) == run.lines
    told = capfd.readouterr()
    assert [line for line in told.out.splitlines() if line.startswith("line ")] == [f"line {n}" for n in range(100)]
    assert told.err.count("trying again") <= 1
    assert "line 99" in (folder / "out" / "console.log").read_text()


def test_a_connection_that_stays_lost_ends_with_6_and_what_came(
    gateway: ScriptedGateway, folder: Path, run_code: RunCode, capfd: pytest.CaptureFixture[str]
) -> None:
    def leave(run: ScriptedRun) -> None:
        run.begin()
        run.say("so far\n")
        threading.Timer(0.5, gateway.stop).start()

    gateway.on_submit = leave

    assert run_code(later=1.0) == 6
    (run,) = gateway.runs.values()
    assert f"Run {run.id} may go on there." in capfd.readouterr().err
    assert (record(folder)["status"], record(folder)["exit_code"]) == ("lost", 6)
    assert "so far" in (folder / "out" / "console.log").read_text()
    assert log(folder)[:-1] == run.lines


def test_a_reader_who_stops_reading_holds_up_nothing(gateway: ScriptedGateway, folder: Path, command: Command) -> None:
    def flood(run: ScriptedRun) -> None:
        run.begin()
        for _ in range(40):
            run.say("x" * 49_999 + "\n")
        run.end()

    gateway.on_submit = flood
    process = command("-c", "flood")
    wait_for(lambda: (folder / "out" / "run.json").exists())  # nobody has read a byte of 2 MB by now

    (run,) = gateway.runs.values()
    assert log(folder) == run.lines
    assert process.poll() is None
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_full_disk_here_does_not_change_how_the_run_went(
    gateway: ScriptedGateway, folder: Path, run_code: RunCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if b"no room" in bytes(data):
            raise OSError(28, "No space left on device")
        return write(fd, data)

    def fill(run: ScriptedRun) -> None:
        run.begin()
        run.say("first\n")

        def more() -> None:
            time.sleep(0.3)
            run.say("no room\n")
            time.sleep(0.2)
            run.say("third\n")
            run.end("failed", 1)

        threading.Thread(target=more).start()

    gateway.on_submit = fill
    monkeypatch.setattr(os, "write", full)

    assert run_code() == 1
    kept = [json.loads(line) for line in log(folder)]
    assert [event.get("text") for event in kept if event["type"] == "stream"] == ["first\n"]
    assert kept[-1]["type"] == "run_finished"


def test_what_is_wrong_before_there_is_a_folder_is_an_error_of_the_command(folder: Path) -> None:
    cancel = Cancellation()
    arguments = (b"", None, RunOptions(name="x"), Settings(), folder / "out", cancel)
    try:
        with pytest.raises(UsageError, match="no gateway's URL"):
            RemoteRun(*arguments, url="nonsense", token=None)
        with pytest.raises(UsageError, match="matches no file"):
            RemoteRun(*arguments, url="http://127.0.0.1:1", token=None, inputs=["none*"]).run()
    finally:
        cancel.close()

    assert not (folder / "out").exists()
