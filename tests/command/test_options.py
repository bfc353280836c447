"""Sources and options of `kernel-gateway run`, with real kernels."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from tests.command.conftest import Finished, Run, Start

pytestmark = pytest.mark.slow


def test_code_from_stdin(start: Start) -> None:
    running = start("-", stdin=subprocess.PIPE)
    assert running.process.stdin is not None
    running.process.stdin.write("print(6 * 7)")
    running.process.stdin.close()
    running.process.stdin = None
    assert running.finish().text() == "42\n"


def test_results_go_below_kernel_runs_by_default(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "job.py").write_text("import os; print(os.getcwd())")
    running = start("sub/job.py", "--output-dir", str(Path("kernel-runs") / "job"))
    running.folder = tmp_path / "kernel-runs" / "job"
    finished = running.finish()
    finished.assert_results("succeeded", 0)
    assert finished.text().strip() == str(tmp_path / "sub")


def test_parameters_are_typed_injected_and_recorded(run: Run, notebook: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("rate: 1e-3\nname: 'it''s \"quoted\"'\n")
    name = notebook(
        ("epochs = 1\nrate = 0.1\nname = ''\nflag = False", {"tags": ["parameters"]}),
        "print(type(epochs).__name__, epochs, rate, name, flag)",
    )
    finished = run(name, "-p", "epochs", "20", "--params", "p.yaml", "-p", "flag", "true")
    assert finished.text() == 'int 20 0.001 it\'s "quoted" True\n'
    assert finished.record["parameters"]["epochs"] == 20
    executed = nbformat.read(finished.folder / "executed.ipynb", as_version=4)
    assert executed.cells[1].metadata.tags == ["injected-parameters"]


def test_an_unknown_parameter_lists_the_known_ones(run: Run, notebook: Callable[..., str]) -> None:
    finished = run(notebook(("epochs = 1", {"tags": ["parameters"]})), "-p", "epoch", "3")
    finished.assert_results("failed", 2)
    assert "epochs" in finished.stdout


def test_a_broken_notebook_is_named_and_still_leaves_results(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.ipynb").write_text('{"cells": [}')
    finished = run("broken.ipynb")
    finished.assert_results("failed", 2)
    assert "JSON" in finished.stdout


def test_a_source_that_is_not_there_is_bad_usage(run: Run) -> None:
    finished = run("no-such.ipynb")
    assert finished.exit_code == 2
    assert "no-such.ipynb" in finished.stderr


def test_one_source_must_be_named(run: Run) -> None:
    assert run().exit_code == 2
    assert run("x.py", "-c", "1").exit_code == 2


def test_a_program_may_use_several_kernels(
    run: Run, notebook: Callable[..., str], require_kernel: Callable[..., str]
) -> None:
    require_kernel("bash")
    require_kernel("ir")
    name = notebook(
        "print('python')",
        ("echo from bash", {"kernel": "bash"}),
        "%%kernel ir\ncat('from R\\n')",
        "print('python again')",
    )
    finished = run(name)
    finished.assert_results("succeeded", 0)
    assert finished.text().split() == ["python", "from", "bash", "from", "R", "python", "again"]
    assert finished.record["kernels"] == ["python3", "bash", "ir"]
    assert {"R", "python"} <= set(finished.of("run_finished")[0]["versions"])


def test_an_unknown_kernel_in_a_late_cell_is_told_before_anything_runs(run: Run, notebook: Callable[..., str]) -> None:
    finished = run(notebook("print('ran')", ("x", {"kernel": "fortran"})))
    finished.assert_results("failed", 2)
    assert finished.text() == ""


def test_a_kernelspec_of_another_machine_falls_back_to_its_language(run: Run, notebook: Callable[..., str]) -> None:
    spec = {"name": "conda-env-alice-py", "display_name": "Python [alice]", "language": "python"}
    finished = run(notebook("print('ran')", kernelspec=spec))
    finished.assert_results("succeeded", 0)
    assert any("conda-env-alice-py" in event["message"] for event in finished.of("log"))


def test_tags_skip_cells_and_expect_exceptions(run: Run, notebook: Callable[..., str]) -> None:
    finished = run(
        notebook(
            ("print('skipped')", {"tags": ["skip-execution"]}),
            ("1 / 0", {"tags": ["raises-exception"]}),
            "print('reached')",
        )
    )
    finished.assert_results("succeeded", 0)
    assert finished.text() == "reached\n"
    assert [cell["status"] for cell in finished.record["cells"]] == ["skipped", "error", "ok"]


@pytest.mark.parametrize(("code", "exit_code"), [("exit()", 0), ("exit(3)", 1), ("import sys; sys.exit(0)", 0)])
def test_a_program_may_end_itself(run: Run, notebook: Callable[..., str], code: str, exit_code: int) -> None:
    finished = run(notebook(code, "print('not reached')"))
    assert finished.exit_code == exit_code
    assert finished.text() == ""


def test_artifacts_are_copied_with_their_digests(run: Run, tmp_path: Path) -> None:
    code = (
        "import os, pathlib\nos.makedirs('model/deep')\npathlib.Path('model/m.bin').write_bytes(b'abc')\n"
        "pathlib.Path('model/deep/n.txt').write_text('n')\npathlib.Path('plot.svg').write_text('<svg/>')\n"
        "os.symlink('/etc/passwd', 'model/out')"
    )
    finished = run("-c", code, "--artifact", "model", "--artifact", "*.svg", "--artifact", "no/such/*")
    finished.assert_results("succeeded", 0)
    assert {event["path"] for event in finished.of("artifact")} == {"model/m.bin", "model/deep/n.txt", "plot.svg"}
    assert (finished.folder / "artifacts" / "model" / "m.bin").read_bytes() == b"abc"
    assert any("no/such/*" in event["message"] for event in finished.of("log"))


def test_an_artifact_glob_that_leaves_the_folder_is_bad_usage(run: Run) -> None:
    assert run("-c", "1", "--artifact", "../*").exit_code == 2


def test_a_gate_compares_with_the_last_successful_run_of_the_folder(run: Run) -> None:
    def train(loss: float) -> Finished:
        return run("-c", f"print('::metric name=loss value={loss}')", "--require", "loss <= baseline * 1.05")

    assert train(1.0).exit_code == 0  # the first has nothing to compare with
    missed = train(2.0)
    assert missed.exit_code == 3
    assert "gate      loss <= baseline * 1.05: NOT MET (value 2, bound 1.05)" in missed.stdout
    assert train(1.04).exit_code == 0  # still against 1.0: the missed one is no baseline


def test_a_gate_that_does_not_parse_is_bad_usage_before_anything_runs(run: Run) -> None:
    finished = run("-c", "print('ran')", "--require", "accuracy >=")
    finished.assert_results("failed", 2)
    assert finished.text() == ""


def test_more_gpus_than_there_are_is_refused(run: Run) -> None:
    finished = run("-c", "1", "--gpus", "3", env={"CUDA_VISIBLE_DEVICES": "0,1"})
    finished.assert_results("failed", 2)
    assert "2 are visible" in finished.record["reason"]


def test_a_run_sees_the_gpus_it_asked_for(run: Run) -> None:
    finished = run(
        "-c",
        "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])",
        "--gpus",
        "1",
        env={"CUDA_VISIBLE_DEVICES": "GPU-b,GPU-a"},
    )
    assert finished.text() == "GPU-b\n"


def test_a_label_must_be_one_of_the_machines(run: Run) -> None:
    assert run("-c", "1", "--label", "a100").exit_code == 2
    assert run("-c", "1", "--label", "a100", env={"KERNEL_GATEWAY_LABELS": "linux, a100"}).exit_code == 0


def test_a_setting_of_the_wrong_type_is_bad_usage(run: Run) -> None:
    finished = run("-c", "1", env={"KERNEL_GATEWAY_START_TIMEOUT": "soon"})
    assert finished.exit_code == 2
    assert "KERNEL_GATEWAY_START_TIMEOUT" in finished.stderr


def test_an_environment_is_built_for_the_run_and_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six==1.16.0\n")
    cache = {"KERNEL_GATEWAY_ENV_CACHE": str(tmp_path / "cache")}
    finished = run("-c", "import six; print(six.__version__)", "--env", "requirements.txt", env=cache)
    finished.assert_results("succeeded", 0)
    assert finished.text() == "1.16.0\n"
    assert finished.record["packages"]["six"] == "1.16.0"


def test_an_environment_that_cannot_be_had_fails_with_the_resolvers_words(run: Run, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six==99.99\n")
    cache = {"KERNEL_GATEWAY_ENV_CACHE": str(tmp_path / "cache")}
    finished = run("-c", "1", "--env", "requirements.txt", env=cache)
    finished.assert_results("failed", 1)
    assert "99.99" in finished.record["reason"]


def test_two_runs_do_not_share_an_output_folder(start: Start) -> None:
    first = start("-c", "import time; print('begun', flush=True); time.sleep(3)")
    first.wait_for('"begun')
    second = start("-c", "1").finish()
    assert second.exit_code == 2
    assert "another run" in second.stderr
    first.finish().assert_results("succeeded", 0)


def test_provenance_says_what_ran(run: Run, notebook: Callable[..., str], tmp_path: Path) -> None:
    commands = (
        ["init", "-q"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "x"],
    )
    for command in commands:
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=tmp_path, text=True).strip()
    jenkins = {"JOB_NAME": "train", "BUILD_NUMBER": "7", "BUILD_URL": "http://localhost/job/train/7/"}
    finished = run(notebook("1"), env=jenkins)
    assert finished.record["git"]["commit"] == commit
    assert finished.record["build"]["number"] == "7" or "7" in json.dumps(finished.record["build"])
    assert finished.record["source"]["digest"].startswith("sha256:")
    assert "ipykernel" in finished.record["packages"]
    assert finished.record["versions"]["python"]


def test_the_service_s_word_for_no_mlflow_means_the_same_here(run: Run) -> None:
    finished = run("-c", "print(1)", env={"KERNEL_GATEWAY_MLFLOW": "off"})
    finished.assert_results("succeeded", 0)
    assert "mlflow" not in finished.stderr.lower()
