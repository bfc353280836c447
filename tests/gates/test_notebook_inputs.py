"""What the ready-made gates say about models, data and parameters that they can't use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gates.conftest import LIBRARIES, Gate, need_library

pytestmark = pytest.mark.slow

MODEL = {"model": "fair.joblib", "data": "people.csv", "target": "hired", "features": "[skill, luck]"}
FAIRNESS = {**MODEL, "group": "sex"}

WRONG: list[tuple[str, dict[str, str], str]] = [
    ("fairness", {}, "The parameter data is missing. Give it, for example -p data test.csv"),
    ("fairness", {**FAIRNESS, "data": "no.csv"}, "Parameter data: there is no file no.csv in "),
    ("fairness", {**FAIRNESS, "data": "broken.parquet"}, "broken.parquet can't be read as CSV or Parquet: "),
    ("fairness", {**FAIRNESS, "group": "gender"}, "Parameter group: the data has no column 'gender'. It has 'sex', "),
    ("fairness", {**FAIRNESS, "group": "one"}, "Group one=x has 1 row, too few to tell a rate."),
    ("fairness", {**FAIRNESS, "group": "all"}, "There is one group only, all=1."),
    ("fairness", {**FAIRNESS, "positive": "yes"}, "Parameter positive: 'yes' is none of the classes 0, 1."),
    ("fairness", {**FAIRNESS, "features": "[skill]"}, "The model can't predict from this data: ValueError: "),
    ("fairness", {**FAIRNESS, "model": "text.joblib"}, "text.joblib holds a dict, which has no predict()."),
    ("fairness", {**FAIRNESS, "model": "people.csv"}, "people.csv can't be read as a model saved by joblib or pickle"),
    ("robustness", {**MODEL, "model": "number.joblib"}, "not classes. This gate is for models that choose a class"),
    ("robustness", {**MODEL, "attacked": "luk"}, "Parameter attacked: the data has no column 'luk'."),
    ("explanation", {"model": "trees.joblib", "data": "few.csv", "sensitive": "sx"}, "the data has no column 'sx'."),
    ("drift", {"reference": "people.csv", "data": "few.csv"}, "5 rows are too few to compare; at least 30 are needed"),
    ("drift", {"reference": "people.csv", "data": "again.csv", "columns": "[wage]"}, "the data has no column 'wage'."),
]


@pytest.mark.parametrize(("name", "parameters", "sentence"), WRONG, ids=lambda value: str(value)[:50])
def test_a_wrong_input_fails_with_one_sentence_that_says_what_is_wrong(
    gate: Gate, name: str, parameters: dict[str, str], sentence: str
) -> None:
    need_library(name)

    finished = gate(name, **parameters)

    finished.assert_results("failed", 1)
    (error,) = finished.of("error")
    assert error["ename"] == "BadInput"
    assert sentence in error["evalue"]
    assert error["traceback"] == [f"BadInput: {error['evalue']}"]
    assert sentence in finished.record["reason"]


@pytest.mark.parametrize("name", sorted(LIBRARIES))
def test_a_library_that_is_missing_is_named_with_its_extra(gate: Gate, name: str, tmp_path: Path) -> None:
    # The kernel's Python loads this before anything else, and finds the library no more.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Lacks:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {LIBRARIES[name]!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Lacks())\n"
    )

    finished = gate(name, env={"PYTHONPATH": str(tmp_path)})

    finished.assert_results("failed", 1)
    (error,) = finished.of("error")
    assert error["evalue"].startswith(f"The library {LIBRARIES[name]} is not installed")
    assert error["evalue"].endswith(f'pip install "kernel-gateway[{name}]"')
