"""The notebooks of the jobs: clean, and together they train, register and judge a model."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "examples" / "jobs").glob("*.ipynb"))


def run(name: str, folder: Path, *options: str) -> dict[str, Any]:
    """The run.json of a run of one of them, with an MLflow of its own."""
    command = [
        str(Path(sysconfig.get_path("scripts"), "kernel-gateway")),
        "run",
        str(ROOT / "examples" / "jobs" / name),
    ]
    command += ["--mlflow", f"sqlite:///{folder}/mlflow.db", "--output-dir", str(folder / name), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert (folder / name / "run.json").is_file(), done.stdout + done.stderr
    record: dict[str, Any] = json.loads((folder / name / "run.json").read_text(encoding="utf-8"))
    return record


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_of_the_jobs_is_valid_and_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)

    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), f"clear the outputs of cell {cell.id}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_training_promotes_the_first_model_and_evaluation_judges_it(tmp_path: Path) -> None:
    better = ["--register", "tumours", "--promote", "champion", "--require", "accuracy > champion"]

    trained = run("train.ipynb", tmp_path, *better)
    judged = run(
        "evaluate.ipynb", tmp_path, "--baseline", "models:/tumours@champion", "--require", "accuracy >= baseline * 0.98"
    )

    assert (trained["status"], judged["status"]) == ("succeeded", "succeeded")
    assert judged["gates"][0]["bound"] == pytest.approx(trained["metrics"]["accuracy"]["last"] * 0.98)
