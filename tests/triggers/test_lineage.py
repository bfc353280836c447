"""`kernel-gateway lineage` and `kernel-gateway runs promote`, with a real MLflow and real runs."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.tracking.catalogue import open_catalogue
from kernel_gateway.tracking.kernel_hook import used_tag
from kernel_gateway.tracking.lineage import trace
from tests.tracking.conftest import Done, Run, Server, run, start

from .conftest import Command

__all__ = ["run", "start"]

TRAIN = """\
# %%
import mlflow, mlflow.pyfunc
class Constant(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input
with mlflow.start_run():
    mlflow.log_metric("f1", {f1})
    mlflow.log_input(mlflow.data.from_numpy(__import__("numpy").arange(4.0), name="customers"), context="training")
    mlflow.pyfunc.log_model(name="net", python_model=Constant(), pip_requirements=[])
"""

SCORE = """\
# %%
import mlflow.pyfunc
model = mlflow.pyfunc.load_model("models:/{name}@champion")
again = mlflow.pyfunc.load_model("models:/{name}/1")
print(type(model).__name__)
"""


@pytest.fixture(scope="module")
def name() -> str:
    """A registered model's name that no other test uses."""
    return f"churn-{secrets.token_hex(4)}"


def train(run: Run, server: Server, name: str, f1: float) -> Done:
    done = run(
        TRAIN.replace("{f1}", str(f1)),
        *("--mlflow", server.uri, "--register", name, "--promote", "champion", "--require", "f1 > champion"),
        *("-p", "epochs", "3"),
        JOB_NAME="churn/retrain",
        BUILD_NUMBER="12",
        BUILD_URL="http://jenkins.example/job/churn/job/retrain/12/",
        GIT_COMMIT="0123456789abcdef0123456789abcdef01234567",
    )
    assert done.exit_code == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_lineage_leads_back_to_data_and_build_and_forward_to_users_of_the_model_and_promote_rolls_back(
    run: Run, server: Server, mlflow: Any, command: Command, name: str
) -> None:
    first = train(run, server, name, 0.8)
    scored = run(SCORE.replace("{name}", name), "--mlflow", server.uri, name="score")
    second = train(run, server, name, 0.9)

    told = command("lineage", f"models:/{name}/1", "--mlflow", server.uri, "--json")
    tree = command("lineage", f"models:/{name}@champion", "--mlflow", server.uri)
    user = command("lineage", str(scored.folder))
    by_id = command("lineage", first.record["id"], KERNEL_GATEWAY_MLFLOW=server.uri)
    back = command("runs", "promote", str(first.folder))
    again = command("runs", "promote", first.record["id"], "--mlflow", server.uri)
    after = mlflow.get_model_version_by_alias(name, "champion")

    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["model"] == {"name": name, "version": "1", "aliases": []}
    assert found["run"]["id"] == first.record["id"]
    assert found["build"] == {
        "job": "churn/retrain",
        "number": 12,
        "url": "http://jenkins.example/job/churn/job/retrain/12/",
        "commit": "0123456789abcdef0123456789abcdef01234567",
    }
    assert found["code"]["commit"] == "0123456789abcdef0123456789abcdef01234567"
    assert found["code"]["digest"] == first.record["source"]["digest"]
    assert found["parameters"]["epochs"] == 3
    assert {one["name"] for one in found["data"]} == {"customers"}
    assert found["environment"]["packages"]["mlflow"] == "3.17.2"
    assert [gate["expression"] for gate in found["gates"]] == ["f1 > champion"]
    (used,) = found["used_by"]  # loaded twice, under two names: one version, one run
    assert (used["id"], used["name"], used["as"]) == (scored.record["id"], "score", f"models:/{name}@champion")
    assert tree.returncode == 0, tree.stderr
    assert tree.stdout.startswith(f"model {name} version 2 @champion\n├─ trained by\n")
    assert second.record["id"] in tree.stdout
    assert "used by" not in tree.stdout
    assert f"{name} version 1 as models:/{name}@champion" in user.stdout, user.stdout + user.stderr
    assert f"{name} version 1" in by_id.stdout, by_id.stdout + by_id.stderr
    assert back.stdout == f"MLflow model '{name}': version 1 is 'champion' now; it was version 2.\n", back.stderr
    assert again.stdout == f"MLflow model '{name}': version 1 is 'champion' already.\n", again.stderr
    assert str(after.version) == "1"


def test_a_version_whose_run_is_gone_and_one_that_its_own_run_used_are_told(server: Server, mlflow: Any) -> None:
    name = f"gone-{secrets.token_hex(4)}"
    experiment = mlflow.create_experiment(name)
    mlflow.create_registered_model(name)
    use = json.dumps({"model": name, "version": "2", "uri": f"models:/{name}/2"})
    loop = mlflow.create_run(experiment, tags={used_tag(name, "2"): use}).info.run_id
    deleted = mlflow.create_run(experiment).info.run_id
    mlflow.delete_run(deleted)
    for run_id in ("0123456789abcdef0123456789abcdef", loop, deleted, None):
        mlflow.create_model_version(name, "s3://models/x", run_id=run_id)

    catalogue = open_catalogue(server.uri)
    gone, own, restorable, without = (trace(catalogue, f"models:/{name}/{version}") for version in (1, 2, 3, 4))

    assert gone.model == {"name": name, "version": "1", "aliases": []}
    assert "has no run 0123456789abcdef0123456789abcdef any more" in gone.remarks[0]
    assert [one["mlflow_run"] for one in own.used_by] == [loop]
    assert own.uses == [{"model": name, "version": "2", "uri": f"models:/{name}/2"}]
    assert "The MLflow run was deleted" in restorable.remarks[0]
    assert "registered without a run" in without.remarks[0]


def test_a_run_without_mlflow_tells_what_it_knows_itself_inputs_by_digest(
    run: Run, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.csv").write_text("1\n")
    done = run("# %%\nn = 0\nprint('::metric name=f1 value=0.5')\n", "-p", "n", "1", "--input", "raw")

    tree = command("lineage", str(done.folder))

    assert tree.returncode == 0, tree.stderr
    assert tree.stdout.startswith(f"{done.record['id']}\n├─ run\n")
    assert "n = 1" in tree.stdout
    digest = hashlib.sha256(b"1\n").hexdigest()
    assert f"raw/a.csv sha256 {digest}, 2 bytes" in tree.stdout
    assert "Without MLflow only what the run itself tells is known" in tree.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (["lineage", "models:/nobody@champion"], 6, "nobody"),
        (["lineage", "models:/nobody@a@b"], 2, "write models:/NAME@ALIAS"),
        (["lineage", "20261121-073012-9f3a1c2b"], 6, "has no run 20261121-073012-9f3a1c2b"),
        (["runs", "promote", "20261121-073012-9f3a1c2b"], 6, "has registered no model"),
    ],
)
def test_what_is_not_there_is_a_sentence(
    command: Command, server: Server, arguments: list[str], exit_code: int, told: str
) -> None:
    done = command(*arguments, KERNEL_GATEWAY_MLFLOW=server.uri)

    assert done.returncode == exit_code, done.stderr
    assert told in done.stderr


def test_without_an_mlflow_the_command_says_how_to_name_one(command: Command, tmp_path: Any) -> None:
    done = command("lineage", "models:/churn@champion", KERNEL_GATEWAY_DATA=str(tmp_path / "none"))

    assert done.returncode == 2
    assert "No MLflow is named: give --mlflow URI" in done.stderr
