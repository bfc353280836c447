"""The ready-made gates, run by name as users do, on models and data of which the right answer is known."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest

from kernel_gateway.gates.ready_made import ready_made, ready_made_notebook
from tests.command.conftest import Finished
from tests.gates.conftest import LIBRARIES, Gate, need_library, need_module
from tests.service.conftest import Service

pytestmark = pytest.mark.timeout(240)  # numba compiles, MLflow makes its database: long on a busy machine

NAMES = sorted(LIBRARIES)


def notebook(name: str) -> Any:
    return json.loads(ready_made_notebook(f"gate:{name}")[0])


def code_cells(name: str) -> dict[str, str]:
    """The source of each code cell by its id."""
    return {cell["id"]: "".join(cell["source"]) for cell in notebook(name)["cells"] if cell["cell_type"] == "code"}


def verdict(finished: Finished) -> str:
    """The last text that the notebook shows."""
    shown = [event["data"]["text/markdown"] for event in finished.of("display") if "text/markdown" in event["data"]]
    return str(shown[-1]).replace("`", "").replace("**", "")


def assert_picture(finished: Finished, *words: str) -> None:
    """There is one plot, in the report too, and its alternative text holds some words."""
    (picture,) = [event for event in finished.of("display") if "image/png" in event["data"] or event["blobs"]]
    assert picture["metadata"]["image/png"]["alt"] == picture["data"]["text/plain"]
    assert all(word in picture["data"]["text/plain"] for word in words), picture["data"]["text/plain"]
    image = (finished.folder / "report" / "image-001.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    assert len(image) > 5000


def metrics(finished: Finished) -> dict[str, float]:
    assert finished.exit_code in (0, 3), finished.stdout[-3000:] + finished.stderr[-2000:]
    return {name: entry["last"] for name, entry in finished.record["metrics"].items()}


def load(name: str, until: str, place: Path, **parameters: Any) -> dict[str, Any]:
    """The names that a notebook's cells before one of them define."""
    names: dict[str, Any] = {"display": lambda *args, **options: None}
    with contextlib.chdir(place), contextlib.redirect_stdout(io.StringIO()):
        for id, source in code_cells(name).items():
            if id == until:
                break
            exec(source, names)
            if id == "parameters":
                names.update(parameters)
    return names


# -- the files themselves ----------------------------------------------------------------------------------


def test_there_are_four_and_each_says_how_it_is_run() -> None:
    assert ready_made() == NAMES
    for name in NAMES:
        assert f"kernel-gateway run gate:{name} " in "".join(notebook(name)["cells"][0]["source"])


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_valid_and_holds_no_outputs(name: str) -> None:
    document = notebook(name)

    nbformat.validate(document)
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    for before, cell in zip(document["cells"], document["cells"][1:], strict=False):
        if cell["cell_type"] == "code":
            assert before["cell_type"] == "markdown", f"{cell['id']} has no heading, its title in the test results"


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_has_its_type_and_meaning(name: str) -> None:
    lines = code_cells(name)["parameters"].splitlines()

    assert len(lines) > 5
    assert [
        line for line in lines if not re.fullmatch(r"\w+ = \S+  # [\w /]+: .{10,}|positive = None  # .+", line)
    ] == []


def test_what_the_notebooks_share_is_the_same_in_each() -> None:
    # They must run where this package is not installed, so each has a copy.
    for id in ("tools", "how-files-are-read", "how-models-are-read"):
        copies = {code_cells(name)[id].partition("\nEXTRA = ")[0] for name in NAMES if id in code_cells(name)}
        assert len(copies) == 1, id


# -- by name -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "fairnes", "../notebooks/drift", "drift.ipynb"])
def test_an_unknown_name_lists_what_there_is(gate: Gate, name: str) -> None:
    finished = gate(name)

    assert finished.exit_code == 2
    assert all(f"gate:{known}" in finished.stderr for known in NAMES)
    assert not finished.folder.exists()


# -- fairness ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fairness_finds_a_model_that_chooses_by_sex(gate: Gate, place: Path) -> None:
    need_library("fairness")
    pd: Any = importlib.import_module("pandas")
    joblib: Any = importlib.import_module("joblib")

    finished = gate(
        "fairness",
        "--require=fairness.difference <= fairness.limit",
        "--require=fairness.accuracy > 0.5",
        "--artifact=rates.csv",
        model="biased.joblib",
        data="people.csv",
        target="hired",
        group="sex",
        table="rates.csv",
    )

    finished.assert_results("unstable", 3)
    people = pd.read_csv(place / "people.csv")
    chosen = joblib.load(place / "biased.joblib").predict(people[["sex", "skill", "luck"]])
    rates = pd.Series(chosen).groupby(people["sex"]).mean()
    found = metrics(finished)
    assert found["fairness.difference"] == pytest.approx(rates["M"] - rates["F"])
    assert found["fairness.difference"] > 0.3
    assert found["fairness.difference.low"] < found["fairness.difference"] < found["fairness.difference.high"]
    assert found["fairness.ratio"] == pytest.approx(rates["F"] / rates["M"])
    assert f"between sex=F ({rates['F']:.2f}) and sex=M ({rates['M']:.2f}). That is more than 0.1." in verdict(finished)
    assert_picture(finished, f"sex=F {rates['F']:.2f}", "sex=M")
    table = (finished.folder / "artifacts" / "rates.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["group", "sex=F", "sex=M"]
    gates = ElementTree.parse(finished.folder / "junit.xml").findall("testsuite")[1]
    assert [case.find("failure") is None for case in gates] == [False, True]


@pytest.mark.slow
def test_fairness_passes_a_model_that_chooses_by_skill(gate: Gate) -> None:
    need_library("fairness")

    finished = gate(
        "fairness",
        "--require=fairness.difference <= 0.1",
        model="fair.joblib",
        data="people.parquet",
        target="hired",
        group="sex",
        features="[skill, luck]",
    )

    finished.assert_results("succeeded", 0)
    assert "That is not more than 0.1." in verdict(finished)


@pytest.mark.slow
def test_a_gate_runs_on_a_gateway_with_the_files_that_are_sent_along(gate: Gate, tmp_path: Path) -> None:
    need_library("fairness")
    service = Service(tmp_path / "data")
    service.start()
    try:
        finished = gate(
            "fairness",
            "--require=fairness.difference <= 0.1",
            "--gate-fails",
            "--input=*.csv",
            "--input=*.joblib",
            env={"KERNEL_GATEWAY_URL": service.url, "KERNEL_GATEWAY_TOKEN": service.token},
            model="biased.joblib",
            data="people.csv",
            target="hired",
            group="sex",
        )
    finally:
        service.stop()

    finished.assert_results("failed", 1)
    assert "between sex=F" in verdict(finished)
    assert "A gate was not met: fairness.difference <= 0.1." in finished.record["reason"]


@pytest.mark.slow
def test_a_model_comes_from_the_registry_of_mlflow(gate: Gate, place: Path, tmp_path: Path) -> None:
    need_library("fairness")
    need_module("mlflow", "`pip install mlflow-skinny` brings the client of MLflow")
    mlflow: Any = importlib.import_module("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    script = (
        "import joblib, mlflow, mlflow.sklearn; "
        f"mlflow.create_experiment('x', artifact_location='file://{tmp_path}/artifacts'); mlflow.set_experiment('x'); "
        f"model = joblib.load('{place}/biased.joblib'); mlflow.start_run(); "
        "mlflow.sklearn.log_model(model, name='m', registered_model_name='hiring', serialization_format='pickle'); "
        "mlflow.MlflowClient().set_registered_model_alias('hiring', 'champion', 1)"
    )
    environ = {"MLFLOW_TRACKING_URI": uri}
    assert mlflow is not None
    run_python(script, environ)

    finished = gate(
        "fairness", env=environ, model="models:/hiring@champion", data="people.csv", target="hired", group="sex"
    )

    finished.assert_results("succeeded", 0)
    assert metrics(finished)["fairness.difference"] > 0.3


def run_python(script: str, environ: dict[str, str]) -> None:
    import os
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", script], env={**os.environ, **environ}, capture_output=True, check=True)


# -- robustness --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_robustness_breaks_a_model_whose_rows_are_all_near_an_edge(gate: Gate) -> None:
    need_library("robustness")

    finished = gate(
        "robustness",
        "--require=robustness.drop <= 0.2",
        model="bands.joblib",
        data="bands.csv",
        target="band",
        epsilon="0.2",
        rows="8",
    )

    finished.assert_results("unstable", 3)
    found = metrics(finished)
    # Half a band is 0.05 / 0.29 = 0.17 standard deviations: nothing is farther from an edge.
    assert (found["robustness.accuracy"], found["robustness.rows"]) == (1.0, 8.0)
    assert found["robustness.accuracy.attack"] < 0.2
    assert found["robustness.accuracy.attack"] < found["robustness.accuracy.noise"] < 1
    assert "That is more than 0.2." in verdict(finished)
    assert "Shifted were x." in verdict(finished)
    assert_picture(finished, "at 0.2")


@pytest.mark.slow
def test_robustness_of_a_linear_model_is_near_what_geometry_says(gate: Gate, place: Path) -> None:
    need_library("robustness")
    np: Any = importlib.import_module("numpy")
    pd: Any = importlib.import_module("pandas")
    joblib: Any = importlib.import_module("joblib")

    finished = gate(
        "robustness",
        "--require=robustness.drop <= 0.2",
        model="fair.joblib",
        data="people.csv",
        target="hired",
        features="[skill, luck]",
        epsilon="0.05",
        rows="8",
    )

    finished.assert_results("succeeded", 0)
    people, model = pd.read_csv(place / "people.csv")[["skill", "luck"]], joblib.load(place / "fair.joblib")
    picked = np.sort(np.random.default_rng(0).choice(len(people), 8, replace=False))
    margin = np.abs(model.decision_function(people.iloc[picked].to_numpy()))
    exact = margin / np.abs(model.coef_[0] * people.std(ddof=0).to_numpy()).sum()
    assert np.median(exact) <= metrics(finished)["robustness.distance"] <= 1.3 * np.median(exact)
    assert "Shifted were skill, luck." in verdict(finished)


# -- explanation -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_explanation_finds_the_sensitive_column_that_a_black_box_uses(gate: Gate) -> None:
    need_library("explanation")

    finished = gate(
        "explanation",
        "--require=explanation.sensitive.share <= 0.05",
        model="biased.joblib",
        data="people.csv",
        target="hired",
        sensitive="[sex, age]",
        rows="20",
    )

    finished.assert_results("unstable", 3)
    found = metrics(finished)
    assert found["explanation.sensitive.share"] == found["explanation.share.sex"] > 0.2
    assert sum(value for name, value in found.items() if name.startswith("explanation.share.")) == pytest.approx(1)
    assert found["explanation.share.luck"] < 0.1
    assert re.search(r"rest most on skill \(\d\d%\), sex \(\d\d%\)", verdict(finished))
    assert re.search(r"What should not matter, sex, has \d\d%. That is more than 5%.", verdict(finished))
    assert "The model doesn't take age" in verdict(finished)
    assert_picture(finished, "skill", "sex", "luck")


@pytest.mark.slow
def test_explanation_says_that_one_column_decides_alone(gate: Gate) -> None:
    need_library("explanation")

    finished = gate(
        "explanation",
        "--require=explanation.sensitive.share <= 0.05",
        model="trees.joblib",
        data="people.csv",
        target="hired",
        sensitive="sex",
    )

    finished.assert_results("succeeded", 0)
    assert metrics(finished)["explanation.top.share"] > 0.8
    assert "skill decides nearly alone" in verdict(finished)
    assert "TreeExplainer is not" not in finished.text()


# -- drift -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_drift_names_the_columns_that_have_changed_and_no_other(gate: Gate) -> None:
    need_library("drift")

    finished = gate(
        "drift", "--require=drift.columns.drifted == 0", reference="people.csv", data="others.csv", ignore="one"
    )

    finished.assert_results("unstable", 3)
    found = metrics(finished)
    assert (found["drift.columns"], found["drift.columns.drifted"], found["drift.share"]) == (6, 3, 0.5)
    said = verdict(finished)
    assert said.startswith("3 of 6 columns have drifted: ")
    assert re.search(r"skill \(mean -?0\.\d+ before, 0\.[78]\d* now\)", said)
    assert re.search(r"sex \([FM] in \d\d% before, in \d\d% now\)", said)
    assert re.search(r"luck \(missing in 0% before, in (29|3\d)% now\)", said)
    assert "age" not in said
    assert_picture(finished, "skill (PSI")


@pytest.mark.slow
def test_drift_passes_rows_drawn_as_before(gate: Gate) -> None:
    need_library("drift")

    finished = gate("drift", "--require=drift.columns.drifted == 0", reference="people.csv", data="again.csv")

    finished.assert_results("succeeded", 0)
    assert verdict(finished).startswith("None of 7 columns has drifted.")


@pytest.mark.parametrize("rows", [150, 2000])
def test_drift_raises_at_most_one_false_alarm_in_twenty(rows: int, place: Path) -> None:
    need_library("drift")
    np: Any = importlib.import_module("numpy")
    pd: Any = importlib.import_module("pandas")
    compare = load("drift", "comparison", place, reference="people.csv", data="again.csv")["compare"]

    def draw(random: Any, shift: float) -> Any:
        columns = {f"n{number}": random.normal(size=rows) for number in range(6)}
        texts = random.choice(["a", "b", "c", "d", "e"], rows, p=[0.4, 0.3, 0.2, 0.08, 0.02])
        holes = np.where(random.random(rows) < 0.1, np.nan, random.normal(size=rows))
        return pd.DataFrame({**columns, "n0": columns["n0"] + shift, "text": texts, "holes": holes})

    def alarms(shift: float) -> list[bool]:
        pairs = ((draw(random, 0.0), draw(random, shift)) for random in map(np.random.default_rng, range(20)))
        return [bool(compare(old, new, list(old))["drifted"].any()) for old, new in pairs]

    assert sum(alarms(0.0)) <= 1
    assert all(alarms(1.0))
