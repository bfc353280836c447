"""The step kernelRun in real builds: what a person sees on the build's page when it ends well, badly, or not at all."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.jenkins_real.conftest import NAME, Site
from tests.jenkins_real.face import poll
from tests.jenkins_real.jobs import pipeline
from tests.jenkins_real.record import Record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def _cell(source: str, **metadata: object) -> dict[str, object]:
    return {"cell_type": "code", "id": f"c{len(source)}", "source": source, "metadata": metadata} | {
        "outputs": [],
        "execution_count": None,
    }


NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "cells": [
        _cell("epochs = 1", tags=["parameters"]),
        _cell("print('epochs', epochs)\nprint('::metric name=accuracy value=0.93')\nopen('model.txt', 'w').close()"),
    ],
}


def notebook_text() -> str:
    """Groovy that writes the notebook into the workspace. Single-quoted, each backslash of the JSON doubled."""
    text = json.dumps(NOTEBOOK).replace("\\", "\\\\").replace("'", "\\'")
    return f"writeFile file: 'train.ipynb', text: '{text}'"


def test_a_scripted_pipeline_runs_a_notebook_and_shows_its_results(site: Site) -> None:
    build = site.step(
        "scripted",
        "notebook: 'train.ipynb', params: [epochs: 20], require: ['accuracy >= 0.9'], artifacts: ['model.txt']",
        before=notebook_text(),
        after='echo "ANSWER ${result.status} ${result.metrics.accuracy} ${result.runId} ${result.reportUrl}"',
    )

    assert build.wait() == "SUCCESS", build.log()
    log = build.log()
    assert "epochs 20" in log
    answer = next(line for line in log.splitlines() if line.startswith("ANSWER "))
    (run,) = site.runs(build)
    assert answer.startswith(f"ANSWER succeeded 0.93 {run['id']} ")
    assert f"{build.url}/artifact/kernel-runs/train/report/index.html" in answer
    assert {"kernel-runs/train/executed.ipynb", "kernel-runs/train/artifacts/model.txt"} <= set(build.artifacts())
    assert "accuracy 0.93" in build.info("description")["description"]
    tests = site.jenkins.json(f"{build.path}/testReport", tree="passCount,failCount")
    assert tests["failCount"] == 0
    assert tests["passCount"] >= 3, "two cells and a gate"
    assert build.info("fingerprint[fileName]")["fingerprint"]


def test_a_declarative_pipeline_runs_a_notebook(site: Site) -> None:
    script = f"""
        pipeline {{
            agent {{ label '{NAME}' }}
            stages {{ stage('Train') {{ steps {{
                script {{ {notebook_text()} }}
                kernelRun notebook: 'train.ipynb', kernel: 'python3', params: [epochs: 7], {site.where}
            }} }} }}
        }}"""
    build = site.run("declarative", script)

    assert build.wait() == "SUCCESS", build.log()
    assert "epochs 7" in build.log()


def test_a_failing_cell_fails_the_build_and_leaves_the_notebook(site: Site) -> None:
    build = site.step("failing", "code: 'print(1)\\nraise ValueError(\"too bad\")', name: 'bad'")

    assert build.wait() == "FAILURE", build.log()
    assert "ValueError: too bad" in build.log()
    assert "kernelRun bad: it failed (exit code 1): Cell 1" in build.log()
    assert b"too bad" in build.artifact("kernel-runs/bad/executed.ipynb")
    assert site.jenkins.json(f"{build.path}/testReport", tree="failCount")["failCount"] == 1


@pytest.mark.parametrize(("on_gate", "result"), [("unstable", "UNSTABLE"), ("failure", "FAILURE")])
def test_a_missed_gate_makes_the_build(site: Site, on_gate: str, result: str) -> None:
    build = site.step(
        f"gate-{on_gate}",
        f"code: 'print(\"::metric name=accuracy value=0.5\")', require: ['accuracy >= 0.9'], onGate: '{on_gate}'",
    )

    assert build.wait() == result, build.log()
    assert "accuracy >= 0.9" in build.log()


def test_an_abort_in_mid_cell_ends_the_kernel_within_five_seconds(site: Site, record: Record) -> None:
    seconds = "86399.25"  # nothing else on this machine sleeps for so long
    lines = ("import subprocess, time", f'subprocess.Popen(["sleep", "{seconds}"])', 'print("begun", flush=True)')
    code = "\\n".join([*lines, "time.sleep(600)"])
    build = site.step("abort", f"code: '{code}'")
    build.wait_for("begun", 300)
    # The kernel may have a process namespace of its own, so it can't tell its number: its child is looked for instead.
    (child,) = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", seconds]]
    kernel = child.parent()
    assert kernel is not None

    began = time.monotonic()
    build.abort()
    poll(lambda: _are_gone([child, kernel]), 20, f"the end of {kernel}", 0.02)
    took = time.monotonic() - began

    assert build.wait(60) == "ABORTED", build.log()
    (run,) = site.runs(build)
    assert run["status"] == "cancelled"
    record.figure("abort button to dead kernel, its cell asleep", f"{took:.1f} s")
    assert took < 5


def _are_gone(processes: list[psutil.Process]) -> bool:
    return not [process for process in processes if process.is_running() and not _is_zombie(process)]


def _is_zombie(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


HARD = "a 'b' \"c\" $HOME ${PATH} `id` $(id) \\ \\n\tü 漢 😀\r\nsecond line\n\n-- # ; & | < > * ? !"


def test_parameters_arrive_as_they_were_typed(site: Site) -> None:
    step = f"""kernelRun {site.where}, name: 'hard',
        params: [value: params.VALUE, list: [1, 2.5, true, null, params.VALUE]],
        code: 'import json\\nprint("GOT", json.dumps([value, list]))'"""
    build = site.run("parameters", f"node('{NAME}') {{ {step} }}", VALUE=HARD)

    assert build.wait() == "SUCCESS", build.log()
    typed = site.jenkins.json(build.path, tree="actions[parameters[name,value]]")
    (sent,) = [p["value"] for action in typed["actions"] for p in action.get("parameters", [])]
    line = next(line for line in build.log().splitlines() if line.startswith("GOT "))
    assert json.loads(line.removeprefix("GOT ")) == [sent, [1, 2.5, True, None, sent]]
    assert sent.replace("\r\n", "\n") == HARD.replace("\r\n", "\n"), "Jenkins itself may change line ends only"


def test_a_snippet_of_ten_megabytes_arrives_whole(site: Site) -> None:
    build = site.step(
        "large",
        "code: text, name: 'large'",
        before='def text = \'x = """\' + (\'0123456789abcdef\' * 655360) + \'"""\\nprint("LENGTH", len(x))\\n\'',
    )

    assert build.wait(180) == "SUCCESS", build.log()[-3000:]
    assert "LENGTH 10485760" in build.log()


def test_parallel_branches_keep_their_results_apart(site: Site) -> None:
    branch = "{ kernelRun %s, name: 'part', code: 'import time\\ntime.sleep(1)\\nprint(\"I am %s\")' }"
    branches = ", ".join(f"{word}: {branch % (site.where, word)}" for word in ("red", "green", "blue"))
    build = site.run("parallel", f"node('{NAME}') {{ parallel({branches}) }}")

    assert build.wait() == "SUCCESS", build.log()
    assert len(site.runs(build)) == 3
    folders = {path.split("/")[1] for path in build.artifacts()}
    assert len(folders) == 3
    assert len(str(build.info("description")["description"]).splitlines()) == 3
    said = [build.artifact(f"kernel-runs/{folder}/console.log").decode() for folder in folders]
    assert sorted(text.split("I am ")[1].split()[0] for text in said) == ["blue", "green", "red"]


def test_a_retry_is_a_new_run_and_ends_the_build_well(site: Site, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = f'import pathlib\\nmark = pathlib.Path("{mark}")\\nold = mark.exists()\\nmark.touch()\\nassert old'
    build = site.run(
        "retry", f"node('{NAME}') {{ retry(3) {{ kernelRun {site.where}, name: 'again', code: '{code}' }} }}"
    )

    assert build.wait() == "SUCCESS", build.log()
    assert sorted(str(run["status"]) for run in site.runs(build)) == ["failed", "succeeded"]


def test_a_secret_is_masked_in_the_log_and_in_all_that_is_archived(site: Site) -> None:
    lines = ("import os, base64", 'word = os.environ["WORD"]', "print(len(word), word)")
    code = "\\n".join([*lines, "print(base64.b64encode(word.encode()).decode())"])
    build = site.step("secret", f"name: 'secret', secrets: [WORD: '{NAME}'], code: '{code}'")

    assert build.wait() == "SUCCESS", build.log()
    word = site.gateway.token
    assert f"{len(word)} " in build.log()
    for text in [build.log(), *(build.artifact(path).decode("utf-8", "replace") for path in build.artifacts())]:
        assert word not in text
        assert base64.b64encode(word.encode()).decode() not in text


def test_without_a_gateway_the_agent_runs_the_notebook_itself(site: Site) -> None:
    command = Path(sys.executable).parent / "kernel-gateway"
    step = (
        f"kernelRun client: '{command}', name: 'here', code: 'print(\"::metric name=x value=2\")', require: ['x > 1']"
    )
    build = site.run("embedded", f"node('{NAME}') {{ {step} }}")

    assert build.wait() == "SUCCESS", build.log()
    assert site.runs(build) == []
    assert "kernel-runs/here/executed.ipynb" in build.artifacts()


def test_a_library_that_runs_in_the_sandbox_needs_no_approvals(site: Site) -> None:
    scm = f"[$class: 'GitSCMSource', remote: '{site.library.url}']"
    load = f"library identifier: 'own@main', retriever: modernSCM(libraryPath: 'jenkins-plugin/', scm: {scm})"
    step = f"kernelRun {site.where}, code: 'print(\"::metric name=x value=1.5\")', require: ['x > 1'], name: 'boxed'"
    script = f"{load}\nnode('{NAME}') {{ def run = {step}\necho \"ANSWER ${{run.metrics.x}} ${{run.reportUrl}}\" }}"
    build = site.jenkins.run(f"{NAME}-sandbox", pipeline(script))

    assert build.wait() == "SUCCESS", build.log()
    assert "ANSWER 1.5 " in build.log()
