"""`--register`, `--promote`, `--baseline` and the gate word ``champion``."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from kernel_gateway import tracking
from kernel_gateway.cli.tracker import check
from kernel_gateway.errors import UsageError
from kernel_gateway.settings import RunOptions, Settings

from .conftest import Done, Run, Server

MODEL = """\
# %%
import mlflow, mlflow.pyfunc
class Constant(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input
with mlflow.start_run():
    mlflow.log_metric("f1", {f1})
    for name in {names!r}:
        mlflow.pyfunc.log_model(name=name, python_model=Constant(), pip_requirements=[])
"""


def model(f1: float, *names: str) -> str:
    return MODEL.replace("{f1}", str(f1)).replace("{names!r}", repr(names))


@pytest.fixture
def name() -> str:
    """A registered model's name that no other test uses."""
    return f"iris-{secrets.token_hex(4)}"


def test_a_better_model_takes_the_champion_s_place_and_a_worse_one_does_not(
    run: Run, server: Server, mlflow: Any, name: str
) -> None:
    options = ("--mlflow", server.uri, "--register", name, "--promote", "champion", "--require", "f1 > champion")

    first = run(model(0.8, "net"), *options)
    worse = run(model(0.7, "net"), *options)
    better = run(model(0.9, "net"), *options)

    assert first.exit_code == 0, first.stdout + first.stderr
    assert "the first model wins" in first.remarks
    assert worse.exit_code == 3, worse.stdout + worse.stderr
    assert "version 2 is registered" in worse.remarks
    assert "It is not 'champion'" in worse.remarks
    assert better.exit_code == 0, better.stdout + better.stderr
    assert f"Gates compare with models:/{name}@champion (version 1)" in better.remarks
    version = mlflow.get_model_version_by_alias(name, "champion")
    assert (version.version, version.run_id) in ((3, better.note["run_id"]), ("3", better.note["run_id"]))
    assert version.tags["kernel_gateway.run"] == better.record["id"]


def test_a_program_that_logs_no_model_or_several_fails_to_register(
    run: Run, server: Server, mlflow: Any, name: str
) -> None:
    none = run("# %%\nprint(1)\n", "--mlflow", server.uri, "--register", name)
    several = run(model(1, "a", "b"), "--mlflow", server.uri, "--register", name)
    named = run(model(1, "a", name), "--mlflow", server.uri, "--register", name)

    assert none.exit_code == several.exit_code == 1, none.stdout + several.stdout
    assert "the program logged no MLflow model" in none.record["reason"]
    assert "several MLflow models (a, b)" in several.record["reason"]
    assert named.exit_code == 0, named.stdout + named.stderr
    (version,) = mlflow.search_model_versions(f"name = '{name}'")
    assert version.run_id == named.note["run_id"]


def test_a_failed_program_registers_nothing(run: Run, server: Server, mlflow: Any, name: str) -> None:
    done = run(model(1, "net") + "# %%\n1 / 0\n", "--mlflow", server.uri, "--register", name)

    assert done.exit_code == 1
    assert mlflow.search_model_versions(f"name = '{name}'") == []


def test_the_baseline_may_be_an_mlflow_run_or_a_results_folder(run: Run, server: Server) -> None:
    code = "# %%\nfor v in (3, 1, 2):\n    print(f'::metric name=loss value={v}')\n"
    first = run(code, "--mlflow", server.uri)

    by_run = run(
        code.replace("3, 1, 2", "2,"),
        *("--mlflow", server.uri, "--baseline", first.note["run_id"]),
        *(
            "--require",
            "loss == baseline",
            "--require",
            "loss == min(baseline.loss) + 1",
            "--require",
            "loss < baseline",
        ),
    )
    by_folder = run(
        code, "--baseline", str(first.folder), "--require", "loss >= baseline", "--require", "loss > baseline"
    )

    assert [event["passed"] for event in by_run.events if event["type"] == "gate"] == [True, True, False]
    assert [event["passed"] for event in by_folder.events if event["type"] == "gate"] == [True, False]


def test_a_named_baseline_that_mlflow_does_not_have_is_bad_usage_unless_the_run_makes_it(
    run: Run, server: Server, mlflow: Any, name: str
) -> None:
    mlflow.create_registered_model(name)
    mlflow.create_model_version(name, "s3://models/x")
    code = "# %%\nprint('::metric name=f1 value=0.5')\n"

    def against(baseline: str, *more: str) -> Done:
        return run(code, "--mlflow", server.uri, "--baseline", baseline, "--require", "f1 >= baseline", *more)

    model = against(f"models:/{name}x@champion")
    mlflow.set_registered_model_alias(name, "champion", "1")
    alias = against(f"models:/{name}@chmapion", "--register", name, "--promote", "champion")
    version = against(f"models:/{name}/9")
    first = against("models:/new-one@champion", "--register", "new-one", "--promote", "champion")

    assert [done.record["status"] for done in (model, alias, version)] == ["failed"] * 3
    assert [done.exit_code for done in (model, alias, version)] == [2, 2, 2]
    assert f"no registered model '{name}x'; did you mean '{name}'?" in model.record["reason"]
    assert "no alias 'chmapion'; did you mean 'champion'?" in alias.record["reason"]
    assert f"MLflow's model '{name}' has no version 9." in version.record["reason"]
    assert "the first model wins" in first.remarks


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--promote", "champion"], "--promote needs --register"),
        (["--register", "m"], "--register needs MLflow"),
        (["--mlflow", "http://h", "--register", "team/m"], "--register 'team/m': a model's name has no / and no :"),
        (["--mlflow", "http://h", "--register", "m", "--promote", "latest"], "take another, e.g. champion"),
        (["--mlflow", "http://h", "--register", "m", "--promote", "in use"], "--promote 'in use': an alias has"),
        (["--baseline", "nothing-here"], "there is no such results folder"),
        (["--baseline", "runs:/0123456789abcdef0123456789abcdef"], "--baseline needs MLflow"),
        (["--mlflow", "http://h", "--baseline", "models:/a"], "write models:/NAME@ALIAS"),
        (["--mlflow", "somewhere"], "is no tracking URI"),
        (["--mlflow", "http://me:secret@host"], "a password does not belong in the URI"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_can_t_work_is_said_before_anything_runs(options: list[str], told: str, run: Run) -> None:
    done = run("# %%\nprint(1)\n", *options)

    assert done.exit_code == 2, done.stdout + done.stderr
    assert told in done.stderr
    assert not (done.folder / "run.json").exists()


def test_without_mlflow_installed_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)

    with pytest.raises(UsageError, match=r'pip install "kernel-gateway\[mlflow\]"'):
        check(RunOptions(name="n", mlflow="http://h:5000"), Settings())
