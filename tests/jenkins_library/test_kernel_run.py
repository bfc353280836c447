"""The step kernelRun, with the real command behind its `sh`: what users write arrives, and Jenkins gets the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.jenkins_library.conftest import BOOTSTRAP, SCRIPT, Pipeline, build_environ

NASTY = "'single' \"double\" `backtick` $HOME ${PATH} $(touch pwned) \\ \\n %s \t; && | # {{x}} — ü 日本語 😀 \u2028"
WRITE = "import json, pathlib\npathlib.Path('out.json').write_text(json.dumps([value, __import__('os').getcwd()]))\n"


def test_parameters_and_snippets_arrive_as_they_were_written(pipeline: Pipeline, tmp_path: Path) -> None:
    workspace = tmp_path / "work $HOME `x` space"
    value = {"text": NASTY, "lines": "a\r\nb\n\nc\r", "007": "007", "true": ["true", True, None, 1.5, 10**14], "": {}}
    code = f"{WRITE}text = r'''{NASTY}'''\nprint(ascii(text))\n# last line".replace("\n", "\r\n")

    ran = pipeline(
        "kernelRun code: inputs.code, params: [value: inputs.value], artifacts: '*.json', name: '-leading $(x) dash'",
        workspace=str(workspace),
        inputs={"code": code, "value": value},
    ).succeeded()

    folder = workspace / ran.value["outputDir"]
    assert json.loads((folder / "artifacts/out.json").read_text()) == [value, str(workspace)]
    assert ascii(NASTY) in ran.console
    assert ran.value["outputDir"] == "kernel-runs/-leading __x_ dash"
    assert json.loads((folder / "run.json").read_text())["name"] == "-leading $(x) dash"
    assert not list(tmp_path.rglob("pwned"))
    assert not list(Path(f"{workspace}@tmp").iterdir())


def test_a_snippet_may_have_ten_megabytes(pipeline: Pipeline) -> None:
    code = "text = '''" + "0123456789abcdé\r\n" * 600_000 + "'''\nimport hashlib\nprint(len(text))"

    ran = pipeline("kernelRun code: inputs.code", inputs={"code": code}).succeeded()

    assert len(code.encode()) > 10_000_000
    assert f"{600_000 * 16}\n" in ran.console  # Python reads \r\n in a literal as \n


def test_a_notebook_may_have_any_name(pipeline: Pipeline, tmp_path: Path) -> None:
    name = "-we ird, $(touch pwned) 'q' \"d\" é.py"
    (tmp_path / name).write_text("print('ran', __import__('os').getcwd())")

    ran = pipeline("kernelRun inputs.name", workspace=str(tmp_path), inputs={"name": name}).succeeded()

    assert f"ran {tmp_path}" in ran.console
    assert ran.value["outputDir"] == "kernel-runs/-we ird_ __touch pwned_ _q_ _d_ _"
    assert ran.called("archiveArtifacts")[0]["artifacts"] == f"{ran.value['outputDir']}/**"
    assert not (tmp_path / "pwned").exists()


def test_a_green_run_returns_its_results_and_is_published(pipeline: Pipeline) -> None:
    code = (
        "print('::metric name=loss value=0.25')\nprint('::metric name=acc value=0.91')\nopen('m.bin', 'w').write('m')"
    )

    ran = pipeline(
        "kernelRun code: inputs.code, require: 'acc > 0.9', artifacts: ['m.bin'], timeout: '60', cellTimeout: 30.5",
        inputs={"code": code},
        description="by hand",
    ).succeeded()

    value = ran.value
    assert (value["status"], value["exitCode"], value["metrics"]) == ("succeeded", 0, {"loss": 0.25, "acc": 0.91})
    assert [one["path"] for one in value["artifacts"]] == ["m.bin"]
    assert value["reportUrl"] == "http://jenkins.example/job/train/12/artifact/kernel-runs/snippet/report/index.html"
    assert value["runId"]
    assert ran.description == f"by hand\nsnippet: succeeded · acc 0.91, loss 0.25 · {value['reportUrl']}"
    (archived,) = ran.called("archiveArtifacts")
    assert archived["fingerprint"]
    assert archived["allowEmptyArchive"]
    assert ran.called("junit")[0]["testResults"] == "kernel-runs/snippet/junit.xml"
    assert ran.called("junit")[0]["skipMarkingBuildUnstable"]
    assert ran.called("publishHTML")[0]["target"]["reportDir"] == "kernel-runs/snippet"
    assert ran.result is None


def test_a_missed_gate_makes_the_build_unstable_or_fails_it(pipeline: Pipeline) -> None:
    script = """
        def one = kernelRun code: inputs.code, require: 'acc > 0.95', name: 'one'
        try {
            kernelRun code: inputs.code, require: 'acc > 0.95', onGate: 'failure', name: 'two'
        } catch (IllegalStateException failed) {
            return [one, failed.message]
        }
    """

    ran = pipeline(script, inputs={"code": "print('::metric name=acc value=0.91')"}).succeeded()

    assert ran.called("unstable") == [{"message": "kernelRun one: a gate is not met: acc > 0.95 (it is 0.91)"}]
    assert (ran.value[0]["status"], ran.value[0]["exitCode"]) == ("unstable", 3)
    assert ran.value[1].startswith("kernelRun two: it failed (exit code 1)")
    assert "two: failed · acc 0.91" in (ran.description or "")


def test_a_failing_cell_fails_the_build_after_its_results_are_published(pipeline: Pipeline) -> None:
    ran = pipeline("kernelRun code: '1 / 0'")

    assert ran.message.startswith("kernelRun snippet: it failed (exit code 1): ")
    assert "ZeroDivisionError" in ran.message
    assert ran.names.index("archiveArtifacts") < ran.names.index("error")
    assert "snippet: failed" in (ran.description or "")


def test_a_retry_uses_the_same_folder_and_branches_get_their_own(pipeline: Pipeline, tmp_path: Path) -> None:
    code = "import os\nif not os.path.exists('tried'):\n    open('tried', 'w')\n    1 / 0"
    script = """
        def first = retry(2) { kernelRun code: inputs.code }
        def both = parallel(a: { kernelRun code: 'print(1)' }, b: { kernelRun code: 'print(1)' })
        def again = kernelRun code: 'print(1)'
        return [first, both.a, both.b, again]
    """

    ran = pipeline(script, workspace=str(tmp_path / "w"), inputs={"code": code}).succeeded()

    folders = [one["outputDir"] for one in ran.value]
    assert folders[0] == "kernel-runs/snippet"
    assert sorted(folders[1:3]) == ["kernel-runs/snippet-2", "kernel-runs/snippet-3"]
    assert folders[3] == "kernel-runs/snippet-2"
    assert "the name snippet is taken in this build, so this run is called snippet-2" in ran.console
    lines = (ran.description or "").split("\n")
    assert [line.partition(" ·")[0] for line in sorted(lines)] == [
        "snippet-2: succeeded",
        "snippet-3: succeeded",
        "snippet: succeeded",
    ]


def test_without_optional_plugins_the_step_says_once_what_is_missing(pipeline: Pipeline) -> None:
    script = "kernelRun(code: 'print(1)')\nkernelRun(code: 'print(1)', require: 'x > 1')"

    ran = pipeline(script, missing=["junit", "publishHTML", "unstable"]).succeeded()

    assert ran.console.count("with the plugin “JUnit”") == 1
    assert ran.console.count("with the plugin “HTML Publisher”") == 1
    assert ran.result == "UNSTABLE"
    assert len(ran.called("archiveArtifacts")) == 2


def test_secrets_come_from_credentials_and_stay_secret(pipeline: Pipeline, tmp_path: Path) -> None:
    code = "import os; print(os.environ['DB'][::-1], os.environ['DB'])"
    script, workspace = "kernelRun code: inputs.code, secrets: [DB: 'warehouse']", str(tmp_path / "w")

    ran = pipeline(
        script, workspace=workspace, inputs={"code": code}, credentials={"warehouse": "hunter2-value"}
    ).succeeded()

    assert ran.called("withCredentials") == [{"bindings": [{"credentialsId": "warehouse", "variable": "DB"}]}]
    assert "eulav-2retnuh ****" in ran.console
    told = json.dumps(ran.steps) + ran.console
    assert "hunter2-value" not in told
    for path in (tmp_path / "w").rglob("*"):
        assert path.is_dir() or b"hunter2-value" not in path.read_bytes()


def test_a_client_that_is_not_there_is_told(pipeline: Pipeline) -> None:
    ran = pipeline("kernelRun code: '1', client: 'no such $(touch pwned)'")

    assert "there is no command no such $(touch pwned) on this agent" in ran.console
    assert ran.message == "kernelRun snippet: there is no command to run it (exit code 127); the console says more."


def test_a_named_client_is_used(pipeline: Pipeline) -> None:
    client = str(Path(sys.executable).parent / "kernel-gateway")

    ran = pipeline(
        "kernelRun code: 'print(40 + 2)', client: inputs.client", inputs={"client": client}, env={"PATH": "/bin"}
    )

    assert "42\n" in ran.succeeded().console


def test_an_option_that_the_command_does_not_take_is_told(pipeline: Pipeline) -> None:
    ran = pipeline("kernelRun code: '1', artifacts: '../*'")

    assert ran.message == "kernelRun snippet: it can't be run as asked (exit code 2); the console says more."
    assert "../*" in ran.console


@pytest.mark.parametrize("seconds", [0, 30])
def test_sigterm_reaches_the_command_and_its_exit_code_the_step(tmp_path: Path, seconds: int) -> None:
    request = tmp_path / "request"
    request.mkdir()
    (request / "bootstrap.py").write_bytes(BOOTSTRAP.read_bytes())
    code = f"import time\nprint('::metric name=at value=1', flush=True)\ntime.sleep({seconds})\nraise SystemExit(1)"
    (request / "request.json").write_text(json.dumps({"code": code, "step": "snippet#1"}))
    environ = {**build_environ(tmp_path), "KERNEL_GATEWAY_REQUEST": str(request)}

    step = subprocess.Popen(["/bin/sh", str(SCRIPT)], cwd=tmp_path, env=environ)
    log = tmp_path / "kernel-runs/snippet/events.jsonl"
    if seconds:
        deadline = time.monotonic() + 30
        while not (log.exists() and '"metric"' in log.read_text()):
            assert step.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "kernel" in " ".join(psutil.Process(step.pid).cmdline())  # the shell has become the command
        step.terminate()

    assert step.wait(30) == (130 if seconds else 1)
    assert json.loads((request / "request.result.json").read_text())["exit_code"] == step.returncode


@pytest.mark.parametrize("given", ["work $x", "work $$x"], ids=["put in by Jenkins", "left as it is"])
def test_dollar_signs_in_paths_mean_themselves_whatever_jenkins_does_with_variables(tmp_path: Path, given: str) -> None:
    folder = tmp_path / "work $x"
    folder.mkdir()
    command = folder / "command"
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    command.chmod(0o755)
    environ = {**build_environ(tmp_path), "KERNEL_GATEWAY_REQUEST": str(tmp_path / given)}
    environ["KERNEL_GATEWAY_CLIENT"] = str(tmp_path / given / "command")

    ran = subprocess.run(["/bin/sh", str(SCRIPT)], env=environ, capture_output=True, text=True, check=False)

    assert ran.stdout.splitlines() == ["run", "--options", str(folder / "request.json")], ran.stderr


def test_the_script_names_its_shell_so_that_jenkins_traces_nothing() -> None:
    assert SCRIPT.read_text().startswith("#!/bin/sh\n")
    assert os.linesep == "\n"
