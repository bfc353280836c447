"""A run and its MLflow run: what arrives there, and what cells log themselves."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run, Server

TAGS_OF_A_RUN = ("run", "source_digest", "kernel", "agent", "environment", "status")


def run_of(mlflow: Any, done: Any) -> Any:
    """The MLflow run, when all of it is there."""
    assert done.note["complete"], done.stderr
    return mlflow.get_run(done.note["run_id"])


def children_of(mlflow: Any, run: Any) -> list[Any]:
    found = mlflow.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    return sorted(found, key=lambda child: child.info.start_time)


def paths(mlflow: Any, run_id: str, folder: str | None = None) -> set[str]:
    return {file.path for file in mlflow.list_artifacts(run_id, folder)}


def test_a_run_is_an_mlflow_run_with_all_that_belongs_to_it(run: Run, server: Server, mlflow: Any) -> None:
    done = run(
        '# %% tags=["parameters"]\nepochs = 1\n# %%\n'
        "for step in range(3):\n    print(f'::metric name=loss value={1 / (step + 1)} step={step}')\n"
        "print('::metric name=accuracy value=0.93')\nopen('model.txt', 'w').write('weights')\n",
        *("--mlflow", server.uri, "-p", "epochs", "20", "--artifact", "model.txt"),
        *("--require", "accuracy > 0.9", "--require", "loss < 0.1"),
        JOB_NAME="team/train",
        BUILD_NUMBER="17",
        BUILD_URL="https://jenkins.example/job/train/17/",
        GIT_COMMIT="c0ffee",
        GIT_BRANCH="main",
    )

    assert done.exit_code == 3, done.stdout + done.stderr
    found = run_of(mlflow, done)
    assert mlflow.get_experiment(found.info.experiment_id).name == "team/train"
    assert (found.info.run_name, found.info.status) == ("train", "FINISHED")
    assert found.data.params == {"epochs": "20"}
    assert [(m.value, m.step) for m in mlflow.get_metric_history(found.info.run_id, "loss")] == [
        (1.0, 0),
        (0.5, 1),
        (1 / 3, 2),
    ]
    assert found.data.metrics["accuracy"] == 0.93
    tags = found.data.tags
    assert {tags[f"kernel_gateway.{name}"] for name in TAGS_OF_A_RUN} >= {"python3", "unstable", done.record["id"]}
    assert tags["jenkins.build_url"] == "https://jenkins.example/job/train/17/"
    assert (tags["jenkins.build_number"], tags["jenkins.job"]) == ("17", "team/train")
    assert (tags["mlflow.source.git.commit"], tags["mlflow.source.git.branch"]) == ("c0ffee", "main")
    assert "| loss < 0.1 |" in tags["mlflow.note.content"]
    assert "**no**" in tags["mlflow.note.content"]
    assert paths(mlflow, found.info.run_id) >= {"executed.ipynb", "report", "artifacts", "run.json", "junit.xml"}
    assert "report/index.html" in paths(mlflow, found.info.run_id, "report")
    assert paths(mlflow, found.info.run_id, "artifacts") == {"artifacts/model.txt"}
    assert found.info.run_id in done.stdout


PLAIN_NOTEBOOK = """\
# %%
import mlflow
import mlflow.sklearn
from sklearn.linear_model import LinearRegression
mlflow.set_experiment("a notebook's own experiment")
# %%
with mlflow.start_run(run_name="first try") as active:
    mlflow.log_param("alpha", 0.5)
    for step in range(4):
        mlflow.log_metric("rmse", 4.0 - step, step=step)
    mlflow.log_text("hello", "notes/hello.txt")
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    mlflow.sklearn.log_model(model, name="line")
    with mlflow.start_run(nested=True, run_name="fold 1"):
        mlflow.log_metric("fold_rmse", 9.0)
print(active.info.run_id)
# %%
assert "MLFLOW" not in " ".join(name for name in dir() if not name.startswith("_"))
"""


def test_a_notebook_for_plain_mlflow_lands_in_the_same_run(run: Run, server: Server, mlflow: Any) -> None:
    done = run(PLAIN_NOTEBOOK, "--mlflow", server.uri, "--require", "rmse <= 1", "--require", "first(rmse) == 4")

    assert done.exit_code == 0, done.stdout + done.stderr
    found = run_of(mlflow, done)
    assert found.info.run_id in done.stdout
    assert mlflow.get_experiment(found.info.experiment_id).name == "train"
    assert found.info.status == "FINISHED"
    assert found.data.params == {"alpha": "0.5"}
    assert len(mlflow.get_metric_history(found.info.run_id, "rmse")) == 4
    assert "notes/hello.txt" in paths(mlflow, found.info.run_id, "notes")
    assert [output.model_id for output in found.outputs.model_outputs]
    (fold,) = children_of(mlflow, found)
    assert (fold.info.run_name, fold.data.metrics) == ("fold 1", {"fold_rmse": 9.0})
    assert done.metrics("rmse") == [(4.0, 0), (3.0, 1), (2.0, 2), (1.0, 3)]
    assert done.metrics("fold_rmse") == []  # a nested run's are its own
    assert done.record["metrics"]["rmse"]["last"] == 1.0


def test_each_later_start_run_is_a_child_and_its_metrics_count(run: Run, server: Server, mlflow: Any) -> None:
    done = run(
        "# %%\nimport mlflow\n"
        "for alpha in (0.1, 0.2, 0.3):\n    with mlflow.start_run():\n"
        "        mlflow.log_param('alpha', alpha)\n        mlflow.log_metric('rmse', 1 - alpha)\n",
        *("--mlflow", server.uri, "--require", "min(rmse) < 0.75", "--require", "rmse == 0.7"),
    )

    assert done.exit_code == 0, done.stdout + done.stderr
    found = run_of(mlflow, done)
    children = children_of(mlflow, found)
    assert found.data.params == {"alpha": "0.1"}
    assert [child.data.params["alpha"] for child in children] == ["0.2", "0.3"]
    assert [value for value, _ in done.metrics("rmse")] == [0.9, 0.8, 0.7]


def test_calls_without_start_run_and_autolog_attach_too(run: Run, server: Server, mlflow: Any) -> None:
    done = run(
        "# %%\nimport mlflow\nfrom sklearn.linear_model import LinearRegression\nmlflow.log_metric('before', 1.0)\n"
        "mlflow.sklearn.autolog(log_models=False)\nLinearRegression().fit([[0.0], [1.0], [2.0]], [0.0, 2.0, 4.0])\n",
        *("--mlflow", server.uri, "--require", "before == 1", "--require", "training_r2_score > 0.9"),
    )

    assert done.exit_code == 0, done.stdout + done.stderr
    found = run_of(mlflow, done)
    assert found.data.metrics["before"] == 1.0
    assert found.data.params["fit_intercept"] == "True"


def test_nothing_that_was_sent_comes_back_as_a_metric(run: Run, server: Server, mlflow: Any) -> None:
    done = run(
        "# %%\nimport mlflow\nprint('::metric name=loss value=0.5 step=1')\n"
        "# %%\nimport time; time.sleep(2.5)\n"
        "# %%\nmlflow.log_metric('loss', 0.25, step=2)\nmlflow.log_metric('other', 7)\n",
        *("--mlflow", server.uri),
    )

    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.metrics("loss") == [(0.5, 1), (0.25, 2)]
    assert done.metrics("other") == [(7.0, 0)]
    found = run_of(mlflow, done)
    assert len(mlflow.get_metric_history(found.info.run_id, "loss")) == 2
    assert len(mlflow.get_metric_history(found.info.run_id, "other")) == 1


def test_a_failed_cell_is_a_failed_mlflow_run_although_the_program_ended_it(
    run: Run, server: Server, mlflow: Any
) -> None:
    done = run(
        "# %%\nimport mlflow\nwith mlflow.start_run():\n    mlflow.log_metric('m', 1)\n# %%\nraise ValueError('no')\n",
        *("--mlflow", server.uri),
    )

    assert done.exit_code == 1
    found = run_of(mlflow, done)
    assert found.info.status == "FAILED"
    assert "ValueError" in found.data.tags["kernel_gateway.reason"]


def test_nan_and_infinity_and_odd_names_arrive(run: Run, server: Server, mlflow: Any) -> None:
    done = run(
        "# %%\nfor name, value in (('nan', 'nan'), ('up', 'inf'), ('down', '-inf'), ('\"top-5 (%)\"', '0.5')):\n"
        "    print(f'::metric name={name} value={value}')\n"
        "import mlflow\nmlflow.log_metric('own', float('inf'))\n",
        *("--mlflow", server.uri),
    )

    assert done.exit_code == 0, done.stdout + done.stderr
    metrics = run_of(mlflow, done).data.metrics
    assert math.isnan(metrics["nan"])
    assert metrics["up"] == -metrics["down"] == 1.7976931348623157e308  # as MLflow's databases keep them
    (mapped,) = [name for name in metrics if name.startswith("top-5 _")]
    assert metrics[mapped] == 0.5
    assert f"'top-5 (%)'; it is {mapped!r} there" in done.remarks + done.stderr
    assert done.metrics("own") == [("Infinity", 0)]


def test_a_secret_is_nowhere_in_mlflow(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mlflow"
    done = run(
        "# %% tags=[\"parameters\"]\nkey = ''\n# %%\nimport os\nprint(os.environ['API_KEY'])\n"
        "print('::metric name=x value=1')\nraise ValueError(os.environ['API_KEY'])\n",
        *("--mlflow", f"sqlite:///{folder}/mlflow.db", "--secret", "API_KEY", "-p", "key", "hunter2-hunter2"),
        API_KEY="hunter2-hunter2",
    )

    assert done.exit_code == 1
    assert done.note["complete"], done.stderr
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"mlflow.db", "executed.ipynb", "index.html"} <= {path.name for path in files}
    assert [path for path in files if b"hunter2-hunter2" in path.read_bytes()] == []


@pytest.mark.slow
def test_100_000_points_arrive(run: Run, tmp_path: Path) -> None:
    done = run(
        "# %%\nprint('\\n'.join(f'::metric name=loss value={i / 7} step={i}' for i in range(100_000)))\n",
        *("--mlflow", "sqlite:///mlflow.db"),
        KERNEL_GATEWAY_MLFLOW_SEND_SECONDS="90",
    )

    assert done.exit_code == 0, done.stdout[-2000:] + done.stderr
    assert done.note["complete"], done.stderr
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        (counted,) = database.execute("select count(*), count(distinct step), max(step) from metrics")
    assert counted == (100_000, 100_000, 99_999)


@pytest.mark.parametrize(
    ("kernel", "code"),
    [
        ("bash", 'echo "run=$MLFLOW_RUN_ID"'),
        ("ir", 'cat(paste0("run=", Sys.getenv("MLFLOW_RUN_ID")))'),
        ("octave", 'printf ("run=%s\\n", getenv ("MLFLOW_RUN_ID"))'),
        ("deno", 'console.log("run=" + Deno.env.get("MLFLOW_RUN_ID"))'),
    ],
)
def test_other_languages_know_the_run_by_their_environment(
    kernel: str, code: str, run: Run, server: Server, require_kernel: Callable[[str], str]
) -> None:
    done = run(code, *("--mlflow", server.uri, "--kernel", require_kernel(kernel)), KERNEL_GATEWAY_MLFLOW_PATIENCE="30")

    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.note["complete"], done.stderr
    assert f"run={done.note['run_id']}" in done.stdout
