"""Sources that look into data and models: drift, streams, trends, MLflow's aliases and metrics."""

from __future__ import annotations

import ast
import importlib
import json
import secrets
import time
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.jenkins.triggers.sources.metric import trend
from tests.tracking.conftest import Server

from .conftest import Bench, need, words
from .test_sources import commit, git

TRIES = 20


@pytest.fixture
def np() -> Any:
    need("numpy", "pandas", "scipy")
    return importlib.import_module("numpy")


def customers(seed: int, rows: int = 500, shift: float = 0.0, young: float = 0.3) -> Any:
    """Rows of eight columns; ``shift`` moves one by so many standard deviations, ``young`` is a share of another."""
    np: Any = importlib.import_module("numpy")
    pd: Any = importlib.import_module("pandas")
    random = np.random.default_rng(seed)
    table = pd.DataFrame(random.normal(size=(rows, 6)), columns=list("abcdef"))
    table["a"] += shift
    table["age"] = random.choice(["young", "old"], rows, p=[young, 1 - young])
    table.loc[random.random(rows) < 0.1, "b"] = np.nan
    table["minutes"] = random.exponential(100, rows)
    return table


@pytest.fixture
def drifting(bench: Bench, np: Any) -> Bench:
    """A trigger on the drift of today.csv from reference.csv."""
    customers(0).to_csv(bench.folder / "reference.csv", index=False)
    bench.write("- drift: today.csv\n  reference: reference.csv", minimal_interval=0, max_per_day=1000)
    return bench


def test_no_batch_without_drift_triggers_in_twenty_tries(drifting: Bench) -> None:
    # By design one of 20 tries rings falsely with a probability of at most 20 × 0.0005 = 1%, whatever the seeds are.
    for seed in range(1, TRIES + 1):
        customers(seed).to_csv(drifting.folder / "today.csv", index=False)

        outcome = drifting.check()

        assert not outcome.started, outcome.decision.reason
        assert "no: the largest PSI is" in words(outcome)


@pytest.mark.parametrize("change", [{"shift": 0.8}, {"young": 0.6}], ids=["a number", "a category"])
def test_each_drifted_batch_triggers_once(drifting: Bench, change: dict[str, Any]) -> None:
    for seed in range(1, TRIES + 1):
        customers(seed, **change).to_csv(drifting.folder / "today.csv", index=False)

        assert drifting.check().started
        assert not drifting.check().started

    reason = drifting.jenkins.builds("retrain")[0]["REASON"]
    assert f"yes: drifted: {'a' if 'shift' in change else 'age'} (PSI" in reason


def test_too_few_rows_are_no_drift(drifting: Bench) -> None:
    customers(1, rows=40, shift=3).to_csv(drifting.folder / "today.csv", index=False)

    assert "40 rows are too few to compare, at least 100" in words(drifting.check())


def test_a_column_to_ignore_that_is_misspelt_starts_nothing(drifting: Bench) -> None:
    customers(1, shift=3).to_csv(drifting.folder / "today.csv", index=False)
    drifting.write("- drift: today.csv\n  reference: reference.csv\n  ignore: [aa]")

    assert "the new data has no column 'aa'; it has 'a', 'b'" in words(drifting.check())
    assert drifting.started == 0


def test_the_notebook_for_drift_compares_as_triggers_do() -> None:
    content = resources.files("kernel_gateway.gates").joinpath("notebooks", "drift.ipynb").read_text("utf-8")
    code = "\n".join("".join(cell["source"]) for cell in json.loads(content)["cells"] if cell["cell_type"] == "code")
    module = resources.files("kernel_gateway.gates").joinpath("drift.py").read_text("utf-8")

    def functions(source: str) -> dict[str, str]:
        found = {}
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef):
                text = "\n".join(ast.unparse(line) for line in node.body[1:])  # without the docstring
                found[node.name] = text.replace("new[name], bins)", "new[name])").replace("[name], bins)", "[name])")
        return found

    ours, its = functions(module), functions(code)

    assert len(ours) == 7
    assert ours == {name: its[name] for name in ours}


def test_a_stream_triggers_when_its_mean_changes_and_not_before(bench: Bench, np: Any) -> None:
    need("river")
    file = bench.folder / "latency.csv"
    random = np.random.default_rng(3)
    bench.write("- stream: latency.csv\n  column: ms", minimal_interval=0, max_per_day=1000)

    def add(mean: float, rows: int) -> bool:
        with file.open("a") as out:
            out.writelines(f"{value}\n" for value in random.normal(mean, 1, rows))
        bench.later(3600)
        return bench.check().started

    file.write_text("ms\n")
    before = [add(10, 2000), *(add(10, 300) for _ in range(TRIES))]
    changed = add(14, 300)
    after = [add(14, 300) for _ in range(TRIES)]

    assert not any(before)
    assert changed
    assert not any(after)
    assert "the mean has changed by row" in bench.jenkins.builds("retrain")[0]["REASON"]


def test_the_trend_test_tells_a_fall_from_noise(np: Any) -> None:
    random = np.random.default_rng(1)

    assert trend([9, 8, 7, 6, 5, 4], falling=True) < 0.01
    assert trend([9, 8, 7, 6, 5, 4], falling=False) > 0.9
    assert trend([1, 1, 1, 1, 1], falling=True) == 1.0
    # Under noise p-values are as frequent as they say.
    p = [trend(list(random.normal(size=10)), falling=True) for _ in range(400)]
    assert 0.02 < np.mean([value < 0.05 for value in p]) < 0.09


# -- MLflow ----------------------------------------------------------------------------------------------


@pytest.fixture
def monitored(bench: Bench, server: Server, mlflow: Any) -> Any:
    """Logs a run with a value of f1 in an experiment of its own, named by the variable in the bench's text."""
    bench.mlflow = server.uri
    name = f"monitor-{secrets.token_hex(4)}"
    experiment = mlflow.create_experiment(name)
    stamp = [int(time.time() * 1000)]

    def log(value: float, **tags: str) -> str:
        stamp[0] += 1000
        run = mlflow.create_run(experiment, start_time=stamp[0], tags=tags)
        mlflow.log_metric(run.info.run_id, "f1", value)
        mlflow.set_terminated(run.info.run_id, end_time=stamp[0])
        return str(run.info.run_id)

    log.experiment = name  # type: ignore[attr-defined]
    return log


def test_a_metric_below_its_bound_triggers_once_for_each_run(bench: Bench, monitored: Any) -> None:
    bench.write(f"- metric: f1\n  experiment: {monitored.experiment}\n  below: 0.8", minimal_interval=0)

    begun = []
    for value in (0.9, 0.7, None, 0.75, 0.85):
        if value is not None:
            monitored(value)
        begun.append(bench.check().started)

    assert begun == [False, True, False, True, False]
    assert "yes: the bound is 0.8" in bench.jenkins.builds("retrain")[0]["REASON"]


def test_a_falling_metric_triggers_and_a_noisy_one_does_not(bench: Bench, monitored: Any) -> None:
    bench.write(f"- metric: f1\n  experiment: {monitored.experiment}\n  falling: 6", minimal_interval=0)

    begun = []
    for value in (0.90, 0.88, 0.91, 0.89, 0.90, 0.88, 0.91, 0.87, 0.86, 0.85, 0.84, 0.83, 0.82):
        monitored(value)
        begun.append(bench.check().started)

    assert not any(begun[:10])
    assert any(begun[10:])


def test_an_experiment_or_metric_that_is_not_there_is_named(bench: Bench, monitored: Any) -> None:
    bench.write(f"- metric: f2\n  experiment: {monitored.experiment}\n  below: 1")
    monitored(0.5)
    metric = words(bench.check())
    bench.write("- metric: f1\n  experiment: nobody\n  below: 1")
    experiment = words(bench.check())

    assert "has a metric 'f2'" in metric
    assert "MLflow has no experiment 'nobody'" in experiment
    assert bench.started == 0


def test_an_alias_that_moves_triggers(bench: Bench, monitored: Any, mlflow: Any) -> None:
    name = f"churn-{secrets.token_hex(4)}"
    mlflow.create_registered_model(name)
    for _ in range(2):
        mlflow.create_model_version(name, "s3://models/x", run_id=monitored(0.5))
    bench.write(f"- alias: models:/{name}@champion")
    absent = bench.check()
    mlflow.set_registered_model_alias(name, "champion", "1")
    first = bench.check()
    mlflow.set_registered_model_alias(name, "champion", "2")
    moved = bench.check()

    assert "can't be read" in words(absent)
    assert not first.started
    assert moved.started
    assert (moved.decision.judgements[0].old, moved.decision.judgements[0].new) == ("version 1", "version 2")


def test_drift_is_measured_from_the_data_kept_with_the_model(
    bench: Bench, monitored: Any, mlflow: Any, np: Any, tmp_path: Path
) -> None:
    name, run_id = f"churn-{secrets.token_hex(4)}", monitored(0.5)
    customers(0).to_csv(tmp_path / "reference.csv", index=False)
    mlflow.log_artifact(run_id, str(tmp_path / "reference.csv"), "artifacts")
    mlflow.create_registered_model(name)
    mlflow.create_model_version(name, "s3://models/x", run_id=run_id)
    mlflow.set_registered_model_alias(name, "champion", "1")
    bench.write(f"- drift: today.csv\n  reference: models:/{name}@champion")

    customers(1).to_csv(tmp_path / "today.csv", index=False)
    same = bench.check()
    customers(2, shift=1).to_csv(tmp_path / "today.csv", index=False)
    drifted = bench.check()
    mlflow.create_model_version(name, "s3://models/x", run_id=monitored(0.6))
    mlflow.set_registered_model_alias(name, "champion", "2")
    without = bench.check()

    assert not same.started
    assert drifted.started
    assert "has no artifact 'artifacts/reference.csv'" in words(without)


def test_an_mlflow_that_is_away_is_no_change(bench: Bench) -> None:
    bench.mlflow = "http://127.0.0.1:9"
    bench.write("- alias: models:/churn@champion", fire_on_first=True)

    assert "can't be read: MLflow: Connection refused" in words(bench.check())
    assert bench.started == 0


def test_age_may_be_that_of_an_experiment_s_last_good_run(bench: Bench, monitored: Any) -> None:
    bench.write(f"- age: 7d\n  experiment: {monitored.experiment}", minimal_interval=0)
    bench.now = time.time() + 3 * 86400
    monitored(0.9)
    young = bench.check()
    bench.later(5 * 86400)
    monitored(0.9, **{"kernel_gateway.status": "unstable"})
    old = bench.check()

    assert not young.started
    assert old.started


def test_code_may_be_compared_with_the_commit_that_the_model_was_trained_from(
    bench: Bench, monitored: Any, mlflow: Any
) -> None:
    folder = bench.folder / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "train.ipynb").write_text("1")
    commit(folder)
    name = f"churn-{secrets.token_hex(4)}"
    mlflow.create_registered_model(name)
    run_id = monitored(0.9, **{"mlflow.source.git.commit": git(folder, "rev-parse", "HEAD")})
    mlflow.create_model_version(name, "s3://models/x", run_id=run_id)
    bench.write(f"- code: train.ipynb\n  repo: repository\n  since: models:/{name}/1", minimal_interval=0)

    same = bench.check()
    (folder / "train.ipynb").write_text("2")
    commit(folder)
    changed = bench.check()
    again = bench.check()

    assert not same.started
    assert changed.started
    assert "changed: train.ipynb" in words(changed)
    assert not again.started
