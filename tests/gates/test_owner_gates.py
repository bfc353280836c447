"""The bar that the owner of a source sets: gates in its metadata or beside it add to those of the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

from tests.command.conftest import Finished

pytestmark = pytest.mark.slow

Run = Callable[..., Finished]
MEASURE = "print('::metric name=accuracy value=0.8')"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the command in an empty folder."""

    def run(*args: str) -> Finished:
        inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "kernel_gateway", "run", *args, "--output-dir", "out"],
            cwd=tmp_path,
            env={**inherited, "KERNEL_GATEWAY_URL": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - started, tmp_path / "out")

    return run


def write(path: Path, *gates: object) -> str:
    """A notebook that measures an accuracy of 0.8 and asks for gates."""
    document = nbformat.v4.new_notebook(metadata={"kernel_gateway": {"gates": list(gates)}} if gates else {})
    document.cells.append(nbformat.v4.new_code_cell(MEASURE))
    nbformat.write(document, path)
    return path.name


def test_all_gates_must_be_met_wherever_they_come_from(run: Run, tmp_path: Path) -> None:
    name = write(tmp_path / "train.ipynb", "accuracy >= 0.9", {"require": "accuracy > 0.1"}, "accuracy > 0.5")
    (tmp_path / "gates.yaml").write_text("- accuracy < 0.95\n- {require: accuracy > 2, source: other.ipynb}\n")

    finished = run(name, "--require", "accuracy > 0.5")

    finished.assert_results("unstable", 3)
    assert [(gate["expression"], gate["passed"]) for gate in finished.of("gate")] == [
        ("accuracy > 0.5", True),
        ("accuracy < 0.95", True),
        ("accuracy >= 0.9", False),
        ("accuracy > 0.1", True),
    ]
    assert finished.of("run_queued")[0]["gates"] == [
        {"expression": "accuracy > 0.5", "origin": "request"},
        {"expression": "accuracy < 0.95", "origin": "request"},
        {"expression": "accuracy >= 0.9", "origin": "source"},
        {"expression": "accuracy > 0.1", "origin": "source"},
    ]


def test_an_executed_notebook_is_held_to_the_same_bar_when_it_is_run_again(run: Run, tmp_path: Path) -> None:
    run(write(tmp_path / "train.ipynb", {"require": "accuracy >= 0.9"}))
    (tmp_path / "again.ipynb").write_bytes((tmp_path / "out" / "executed.ipynb").read_bytes())

    finished = run("again.ipynb")

    finished.assert_results("unstable", 3)
    assert [gate["expression"] for gate in finished.of("gate")] == ["accuracy >= 0.9"]


def test_gates_beside_a_source_are_not_for_code_without_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").write_text("- accuracy > 0.9\n")

    finished = run("-c", MEASURE)

    finished.assert_results("succeeded", 0)
    assert finished.of("gate") == []


def test_gates_are_looked_for_beside_the_source_not_in_the_current_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").write_text("- accuracy > 2\n")
    (tmp_path / "models").mkdir()
    write(tmp_path / "models" / "train.ipynb")
    (tmp_path / "models" / "gates.yaml").write_text("gates: [accuracy > 0.7]\n")

    finished = run("models/train.ipynb")

    finished.assert_results("succeeded", 0)
    assert [gate["expression"] for gate in finished.of("gate")] == ["accuracy > 0.7"]


def test_a_wrong_gate_in_the_metadata_is_told_before_anything_runs(run: Run, tmp_path: Path) -> None:
    finished = run(write(tmp_path / "train.ipynb", "accuracy > 0.1", "accuracy => 0.9"))

    finished.assert_results("failed", 2)
    assert finished.text() == ""
    assert "metadata.kernel_gateway.gates[1] of the source: The gate can't be read at column 10." in finished.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- accuracy > 0.1\n- accuracy => 0.9\n", "gates.yaml, line 2, column 3: The gate can't be read at column 10."),
        ("gates: {}\n", "gates.yaml, line 1, column 8: Here a list of gates is expected"),
    ],
)
def test_a_wrong_gate_in_the_file_is_told_with_its_line(run: Run, tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "gates.yaml").write_text(content)

    finished = run(write(tmp_path / "train.ipynb"))

    assert finished.exit_code == 2
    assert said in finished.stderr
    assert not finished.folder.exists()


def test_a_gates_file_that_cannot_be_read_is_not_passed_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").mkdir()

    finished = run(write(tmp_path / "train.ipynb"))

    assert finished.exit_code == 2
    assert "gates.yaml, the gates beside the source, can't be read: Is a directory." in finished.stderr


def test_with_gate_fails_a_missed_gate_fails_the_run(run: Run, tmp_path: Path) -> None:
    name = write(tmp_path / "train.ipynb")

    finished = run(name, "--require", "accuracy > 0.9", "--gate-fails")

    finished.assert_results("failed", 1)
    assert finished.record["reason"] == "A gate was not met: accuracy > 0.9."
    assert [cell["status"] for cell in finished.record["cells"]] == ["ok"]
    suites = ElementTree.parse(finished.folder / "junit.xml").findall("testsuite")
    assert [case.find("failure") is None for case in suites[1]] == [False]


def test_with_gate_fails_a_run_that_meets_its_gates_succeeds(run: Run, tmp_path: Path) -> None:
    run(write(tmp_path / "train.ipynb"), "--require", "accuracy > 0.5", "--gate-fails").assert_results("succeeded", 0)


def test_a_metric_that_is_missing_misses_the_gate_and_near_names_are_listed(run: Run, tmp_path: Path) -> None:
    finished = run(write(tmp_path / "train.ipynb", "acuracy >= 0.9"))

    finished.assert_results("unstable", 3)
    (gate,) = finished.of("gate")
    assert gate["message"] == "The run has no metric 'acuracy'; did you mean 'accuracy'?"


def test_a_gate_with_a_secret_in_it_is_masked_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setenv("KEY", "hunter2hunter2")

    finished = run(write(tmp_path / "train.ipynb", "hunter2hunter2 > 1"), "--secret", "KEY")

    assert finished.exit_code == 3
    assert "hunter2hunter2" not in json.dumps(finished.events)
