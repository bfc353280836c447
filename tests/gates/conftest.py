"""Models and data for the ready-made gates, and the command that runs them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command.conftest import Finished
from tests.conftest import REQUIRE_KERNELS

Gate = Callable[..., Finished]

LIBRARIES = {"fairness": "fairlearn", "robustness": "art", "explanation": "shap", "drift": "scipy"}
"""What each ready-made gate stands on; extras of the same name install it."""


def need_library(gate: str) -> None:
    """Skip where a gate's library is not installed; where all must be there, fail."""
    name = LIBRARIES[gate]
    need_module(name, f'gate:{gate} needs {name}; `pip install "kernel-gateway[{gate}]"` installs it')


def need_module(name: str, reason: str) -> None:
    """Skip where a module is not installed; where all must be there, fail."""
    if importlib.util.find_spec(name) is not None:
        return
    if os.environ.get(REQUIRE_KERNELS):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with people.csv and models that judge them: one by skill, one by sex too, some that are no good."""
    folder = tmp_path_factory.mktemp("place")
    np: Any = importlib.import_module("numpy")
    pd: Any = importlib.import_module("pandas")
    joblib: Any = importlib.import_module("joblib")
    linear: Any = importlib.import_module("sklearn.linear_model")
    tree: Any = importlib.import_module("sklearn.tree")
    pipeline: Any = importlib.import_module("sklearn.pipeline")
    random = np.random.default_rng(7)
    people = pd.DataFrame(
        {
            "sex": random.choice(["F", "M"], 800),
            "skill": random.normal(size=800),
            "luck": random.normal(size=800),
            "age": random.integers(18, 70, 800),
        }
    )
    people["hired"] = (people["skill"] > 0).astype(int)
    people["all"] = 1
    people["one"] = ["x"] + ["y"] * 799
    people.to_csv(folder / "people.csv", index=False)
    people.to_parquet(folder / "people.parquet")
    people.head(5).to_csv(folder / "few.csv", index=False)
    (folder / "broken.parquet").write_bytes(b"no parquet")
    inputs, past = people[["sex", "skill", "luck"]], (people["skill"] + 1.2 * (people["sex"] == "M") > 0.6).astype(int)
    fair = linear.LogisticRegression().fit(people[["skill", "luck"]].to_numpy(), people["hired"])
    biased = pipeline.make_pipeline(_encoder(), linear.LogisticRegression()).fit(inputs, past)
    number = linear.LinearRegression().fit(people[["skill", "luck"]], people["age"])
    forest: Any = importlib.import_module("sklearn.ensemble")
    trees = forest.RandomForestClassifier(10, random_state=0).fit(people[["skill", "age"]], people["hired"])
    for name, model in {"fair": fair, "biased": biased, "number": number, "trees": trees, "text": {"a": 1}}.items():
        joblib.dump(model, folder / f"{name}.joblib")
    # Bands a third of a standard deviation wide, of alternating class: every row is near an edge.
    bands = pd.DataFrame({"x": random.uniform(0, 1, 400)})
    bands["band"] = (bands["x"] * 10).astype(int) % 2
    bands.to_csv(folder / "bands.csv", index=False)
    joblib.dump(tree.DecisionTreeClassifier().fit(bands[["x"]], bands["band"]), folder / "bands.joblib")
    # As many people, drawn as before; and such that differ in skill, sex and in how much is known of their luck.
    again = people.assign(
        skill=random.normal(size=800), luck=random.normal(size=800), sex=random.choice(["F", "M"], 800)
    )
    again.to_csv(folder / "again.csv", index=False)
    again["skill"] += 0.8
    again["sex"] = random.choice(["F", "M"], 800, p=[0.2, 0.8])
    again.loc[random.random(800) < 0.3, "luck"] = np.nan
    again.to_csv(folder / "others.csv", index=False)
    return folder


def _encoder() -> Any:
    compose: Any = importlib.import_module("sklearn.compose")
    preprocessing: Any = importlib.import_module("sklearn.preprocessing")
    return compose.make_column_transformer((preprocessing.OneHotEncoder(), ["sex"]), remainder="passthrough")


@pytest.fixture
def gate(place: Path, tmp_path: Path) -> Gate:
    """Runs `kernel-gateway run gate:NAME` to its end, in the folder of the models."""

    def gate(name: str, *args: str, env: dict[str, str] | None = None, **parameters: str) -> Finished:
        pairs = [word for pair in parameters.items() for word in ("-p", *pair)]
        folder = tmp_path / "out"
        inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "kernel_gateway", "run", f"gate:{name}", *pairs, *args, "--output-dir", str(folder)],
            cwd=place,
            env={**inherited, "KERNEL_GATEWAY_URL": "", **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - started, folder)

    return gate
