"""Names and values as MLflow takes them, checked against MLflow's own rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_gateway.errors import UsageError
from kernel_gateway.tracking import names, uris
from kernel_gateway.tracking.mlflow_client import plain


@settings(deadline=None)
@given(st.text(max_size=400).filter(lambda name: not name.endswith("\n")))  # which MLflow's own pattern overlooks
def test_mlflow_takes_every_name_and_those_it_takes_stay(name: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_metric

    def takes(candidate: str) -> bool:
        try:
            _validate_metric(candidate, 1.0, 0, 0)  # type: ignore[no-untyped-call]
        except MlflowException:
            return False
        return True

    mapped = names.Names()[name]

    assert takes(mapped)
    assert (mapped == name) == takes(name)


def test_different_names_stay_different() -> None:
    known = names.Names()

    assert len({known[name] for name in ("a%", "a&", "a_", "a", "/a", "a/", "a//b", "a/b")}) == 8


@settings(deadline=None)
@given(
    st.text(max_size=260).filter(lambda name: not name.endswith("\n"))  # which MLflow's own pattern overlooks
    | st.sampled_from(["latest", "LATEST", "v1", "V23", "v", "a/b", "a:b", "..", ".", "a//b", "champion", "", " "])
)
def test_models_and_aliases_are_refused_as_mlflow_refuses_them(name: str) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.utils import validation

    def takes(*checks: Callable[[str], None]) -> bool:
        try:
            for check in checks:
                check(name)
        except MlflowException:
            return False
        return True

    reserved = validation._validate_model_alias_name_reserved
    assert bool(names.alias_problem(name)) != takes(validation._validate_model_alias_name, reserved)
    if len(name) <= names.MAX_MODEL:  # the database's limit, which comes later
        assert bool(names.model_problem(name)) != takes(validation._validate_model_name)


@pytest.mark.parametrize("value", [math.inf, -math.inf, 0.0, -1.5])
def test_infinities_survive_mlflow_s_databases(value: float) -> None:
    assert names.infinite(names.finite(value)) == value


def test_local_is_a_database_below_the_users_data_folder(tmp_path: Path) -> None:
    uri = uris.tracking_uri("local", {"XDG_DATA_HOME": str(tmp_path)})

    assert uri == f"sqlite:///{tmp_path}/kernel-gateway/mlflow/mlflow.db"
    assert (tmp_path / "kernel-gateway" / "mlflow").is_dir()
    assert uris.artifact_folder(uri, "e") != uris.artifact_folder(uri, "f")


def test_a_relative_database_is_the_users_whoever_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert uris.tracking_uri("sqlite:///runs.db", {}) == f"sqlite:///{tmp_path}/runs.db"
    assert uris.tracking_uri("sqlite:////var/runs.db", {}) == "sqlite:////var/runs.db"


@pytest.mark.parametrize("text", ["", "mlruns", "file:///tmp/mlruns", "http://", "ftp://h"])
def test_what_is_no_tracking_uri_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        uris.tracking_uri(text, {})


def test_no_password_is_shown() -> None:
    assert uris.shown("postgresql://me:hunter2@db/mlflow") == "postgresql://db/mlflow"
    assert uris.shown("http://h:5000") == "http://h:5000"


def test_the_reason_of_an_error_is_told_without_its_layers() -> None:
    text = "API request to http://h failed (Caused by NewConnectionError('…: [Errno 111] Connection refused'))"

    assert plain(text) == "Connection refused"
    assert plain("x" * 1000).endswith("…")
