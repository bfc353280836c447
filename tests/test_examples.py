"""The examples: their files are clean, `examples/README.md` names each, and the commands it shows do what they say."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SOURCES = sorted(path for path in EXAMPLES.iterdir() if path.is_file() and path.name != "README.md")
NOTEBOOKS = [path for path in SOURCES if path.suffix == ".ipynb"]
COMMANDS = {
    name: shlex.split(command)
    for name, command in re.findall(
        r"^\| `([^`]+)` \|.*\| `(kernel-gateway run [^`]+)` \|$", (EXAMPLES / "README.md").read_text(), re.M
    )
}
NEEDS = {"polyglot.ipynb": ("python3", "bash", "ir"), "report.R": ("ir",)}
RESULT_FILES = (
    "run.json",
    "events.jsonl",
    "executed.ipynb",
    "console.log",
    "metrics.json",
    "junit.xml",
    "report/index.html",
)


def file_name(path: Path) -> str:
    return path.name


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a copy of the examples and nothing else, as a user's clone has them."""
    shutil.copytree(
        EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("out", "model", ".ipynb_checkpoints")
    )
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a `kernel-gateway …` command in a folder with the command of this environment."""
    program = Path(sysconfig.get_path("scripts"), command[0])
    return subprocess.run(
        [str(program), *command[1:]], cwd=folder, capture_output=True, text=True, timeout=110, check=False
    )


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=file_name)
def test_an_example_notebook_is_valid_and_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)

    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), f"clear the outputs of cell {cell.id}"


def test_the_readme_shows_a_command_for_every_example() -> None:
    assert sorted(COMMANDS) == [path.name for path in SOURCES]
    for name, command in COMMANDS.items():
        assert f"examples/{name}" in command


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_examples_command_succeeds_and_writes_every_result(
    name: str, checkout: Path, require_kernel: Callable[[str], str]
) -> None:
    for kernel in NEEDS.get(name, ("python3",)):
        require_kernel(kernel)

    done = run(COMMANDS[name], checkout)

    assert done.returncode == 0, done.stdout + done.stderr
    results = checkout / "kernel-runs" / Path(name).stem
    assert [file for file in RESULT_FILES if not (results / file).is_file()] == []
    assert read_json(results / "run.json")["status"] == "succeeded"
    if "--artifact" in COMMANDS[name]:
        assert any(path.is_file() for path in (results / "artifacts").rglob("*"))


@pytest.mark.slow
def test_training_keeps_its_curves_its_metrics_and_its_model(
    checkout: Path, require_kernel: Callable[[str], str]
) -> None:
    require_kernel("python3")

    done = run([*COMMANDS["train.ipynb"], "-p", "epochs", "12", "--output-dir", "results"], checkout)

    assert done.returncode == 0, done.stdout + done.stderr
    metrics = read_json(checkout / "results" / "metrics.json")
    assert metrics["accuracy"] > 0.9
    assert metrics["accuracy"] >= metrics["worst_recall"]
    events = [json.loads(line) for line in (checkout / "results" / "events.jsonl").read_text().splitlines()]
    curve = [event["step"] for event in events if event["type"] == "metric" and event["name"] == "train_loss"]
    assert curve == list(range(1, 13))
    plots = [event for event in events if event["type"] == "display" and "image/png" in event["data"] | event["blobs"]]
    assert len(plots) == 3
    card = read_json(checkout / "results" / "artifacts" / "model" / "card.json")
    assert card["parameters"]["epochs"] == 12
    assert card["metrics"]["accuracy"] == metrics["accuracy"]
    assert (checkout / "results" / "artifacts" / "model" / "digits.joblib").stat().st_size > 10_000


@pytest.mark.slow
def test_a_badly_trained_model_does_not_pass_the_gate(checkout: Path, require_kernel: Callable[[str], str]) -> None:
    require_kernel("python3")

    done = run([*COMMANDS["train.ipynb"], "-p", "epochs", "1", "-p", "learning_rate", "0.00001"], checkout)

    assert done.returncode == 3, done.stdout + done.stderr
    record = read_json(checkout / "kernel-runs" / "train" / "run.json")
    assert record["status"] == "unstable"
    assert read_json(checkout / "kernel-runs" / "train" / "metrics.json")["accuracy"] < 0.9


@pytest.mark.slow
def test_training_twice_with_one_seed_gives_the_same_model(
    checkout: Path, require_kernel: Callable[[str], str]
) -> None:
    require_kernel("python3")
    digests = []

    for output in ("first", "second"):
        done = run(
            [*COMMANDS["train.ipynb"], "-p", "epochs", "3", "--require", "accuracy > 0.5", "--output-dir", output],
            checkout,
        )
        assert done.returncode in (0, 3), done.stdout + done.stderr
        events = [json.loads(line) for line in (checkout / output / "events.jsonl").read_text().splitlines()]
        digests.append({event["path"]: event["sha256"] for event in events if event["type"] == "artifact"})

    assert digests[0] == digests[1]
    assert "model/digits.joblib" in digests[0]
