"""All calls to MLflow, in one place. Used in the tracker's process only: importing MLflow takes a second."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import names, uris
from .record import PREFIX, Point

METRICS_PER_BATCH = 1000
TAGS_PER_BATCH = 100

BLOCK = f"{PREFIX}block"
"""Tag of runs that a program's second, third … ``start_run()`` made; see `kernel_hook`."""

PAGE = 20_000
"""Points of one metric that are read at once."""

REFUSALS = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE"})
DENIALS = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})


class Unavailable(Exception):
    """MLflow did not answer, or not sensibly: try again later."""


class Denied(Unavailable):
    """MLflow answers, but not to this user or password, or not without one."""


class Refused(Exception):
    """MLflow answered that it won't do this, now or later."""


class Missing(Refused):
    """MLflow knows no such run, experiment, model or alias."""


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model. ``run_id``: the MLflow run it came from, if any."""

    name: str
    version: str
    run_id: str | None


def prepare(environ: dict[str, str], timeout: int) -> None:
    """Set how MLflow's client behaves here; before it is imported. `timeout`: seconds for one answer.

    Its own repeats take minutes, in which nobody learns that something is wrong; the tracker repeats itself.
    """
    environ.pop("MLFLOW_RUN_ID", None)
    environ.pop("MLFLOW_EXPERIMENT_ID", None)
    environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(timeout)
    environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    environ["MLFLOW_LOGGING_LEVEL"] = environ.get("MLFLOW_LOGGING_LEVEL", "WARNING")
    environ["GIT_PYTHON_REFRESH"] = "quiet"


class MlflowClient:
    """What the tracker asks of MLflow at one tracking URI. All methods raise `Unavailable`, `Refused` or `Missing`.

    Used from several threads.
    """

    def __init__(self, uri: str) -> None:
        import mlflow

        mlflow.set_tracking_uri(uri)
        self.uri = uri
        self._client: Any = None
        self._opening = threading.Lock()

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of MLflow's own client, and sort what goes wrong."""
        from mlflow.exceptions import MlflowException

        try:
            if self._client is None:
                self._open()
            return getattr(self._client, method)(*arguments, **named)
        except MlflowException as error:
            text = plain(str(error)).replace(self.uri, uris.shown(self.uri))
            if error.error_code in MISSING or ("alias" in text and "not found" in text):
                raise Missing(text) from error
            if error.error_code in DENIALS:
                raise Denied(
                    "it lets nobody in with what MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
                    f"MLFLOW_TRACKING_TOKEN, say: {text}"
                ) from error
            raise (Refused if error.error_code in REFUSALS else Unavailable)(text) from error
        except Exception as error:
            raise Unavailable(f"{type(error).__name__}: {plain(str(error))}") from error

    def _open(self) -> None:
        import mlflow

        with self._opening, uris.making(self.uri):
            if self._client is None:
                self._client = mlflow.MlflowClient(self.uri)  # opens a database, and makes its tables

    # -- a run ---------------------------------------------------------------------------------------

    def experiment(self, name: str) -> str:
        """The id of the experiment of that name, made if need be."""
        found = self._call("get_experiment_by_name", name)
        if found is None:
            try:
                return str(self._call("create_experiment", name, uris.artifact_folder(self.uri, name)))
            except Refused:
                found = self._call("get_experiment_by_name", name)  # somebody was faster
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise Refused(f"Experiment {name!r} was deleted in MLflow. Restore it, or choose another name.")
        return str(found.experiment_id)

    def find_run(self, experiment_id: str, run: str) -> str | None:
        """The MLflow run that carries the id of a run of ours: made earlier, though the answer may have been lost."""
        escaped = run.replace("'", "")
        found = self._call("search_runs", [experiment_id], f"tags.`{PREFIX}run` = '{escaped}'", max_results=10)
        plain = [other for other in found if BLOCK not in other.data.tags]
        return str(plain[0].info.run_id) if plain else None

    def create_run(self, experiment_id: str, name: str, tags: Mapping[str, str], started_at: int) -> str:
        """Make a run; returns its id. `started_at`: milliseconds since 1970."""
        made = self._call("create_run", experiment_id, started_at or None, dict(tags), name)
        return str(made.info.run_id)

    def log_points(self, run_id: str, points: list[Point]) -> None:
        """Send at most `METRICS_PER_BATCH` values of metrics."""
        from mlflow.entities import Metric

        metrics = [Metric(point.name, point.value, point.timestamp, point.step) for point in points]
        self._call("log_batch", run_id, metrics=metrics)

    def log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        for part in _parts(list(tags.items()), TAGS_PER_BATCH):
            self._call("log_batch", run_id, tags=[RunTag(key, value) for key, value in part])

    def log_parameters(self, run_id: str, parameters: Mapping[str, str]) -> None:
        """Set parameters, all but those that a cell has set: MLflow lets nobody change one."""
        from mlflow.entities import Param

        there = self._call("get_run", run_id).data.params
        new = [(key, value) for key, value in parameters.items() if key not in there]
        for part in _parts(new, TAGS_PER_BATCH):
            self._call("log_batch", run_id, params=[Param(key, value) for key, value in part])

    def log_file(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Send one file as an artifact, below `folder` if given."""
        self._call("log_artifact", run_id, str(path), folder)

    def log_folder(self, run_id: str, path: Path, folder: str) -> None:
        """Send all files below a folder as artifacts."""
        self._call("log_artifacts", run_id, str(path), folder)

    def end_run(self, run_id: str, status: str, ended_at: int) -> None:
        """Set the final status, whatever a program's own ``end_run`` said. `ended_at`: milliseconds since 1970."""
        self._call("set_terminated", run_id, status, ended_at or None)

    # -- what cells logged -----------------------------------------------------------------------------

    def latest(self, run_id: str) -> list[Point]:
        """The latest value of each metric of a run."""
        found = self._call("get_run", run_id)
        return [_point(metric) for metric in found.data._metric_objs]

    def history(self, run_id: str, name: str) -> list[Point]:
        """All values of a metric."""
        return [_point(metric) for metric in self._call("get_metric_history", run_id, name)]

    def blocks(self, experiment_id: str, run_id: str) -> list[str]:
        """The runs that later ``start_run()`` calls of the same program made, in order."""
        found = self._call(
            "search_runs",
            [experiment_id],
            f"tags.mlflow.parentRunId = '{run_id}'",
            order_by=["attributes.start_time ASC"],
            max_results=1000,
        )
        return [str(run.info.run_id) for run in found if BLOCK in run.data.tags]

    # -- models --------------------------------------------------------------------------------------

    def logged_models(self, run_ids: Iterable[str]) -> list[tuple[str, str, str]]:
        """Models that cells logged in some runs: id, name, run id."""
        models = []
        for run_id in run_ids:
            outputs = self._call("get_run", run_id).outputs
            for output in outputs.model_outputs if outputs else []:
                model = self._call("get_logged_model", output.model_id)
                models.append((str(model.model_id), str(model.name), run_id))
        return list(dict.fromkeys(models))

    def register(self, name: str, model_id: str, run_id: str, run: str) -> ModelVersion:
        """Register a logged model as a new version, once: a repeat finds the version that is there."""
        try:
            self._call("create_registered_model", name)
        except Refused:
            self._call("get_registered_model", name)
        model = self._call("get_logged_model", model_id)
        for known in self._call("search_model_versions", f"name = {_quoted(name)} and run_id = '{run_id}'"):
            # A server tells the place only, not the id.
            if known.source in (model.artifact_location, f"models:/{model_id}") or known.model_id == model_id:
                return ModelVersion(name, str(known.version), run_id)
        made = self._call(
            "create_model_version",
            name,
            model.artifact_location,
            run_id,
            tags={f"{PREFIX}run": run},
            model_id=model_id,
        )
        return ModelVersion(name, str(made.version), run_id)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Have an alias mean a version."""
        self._call("set_registered_model_alias", name, alias, version)

    def model_version(self, name: str, version: str = "", alias: str = "") -> ModelVersion:
        """A version by its number or its alias."""
        found = (
            self._call("get_model_version_by_alias", name, alias)
            if alias
            else self._call("get_model_version", name, version)
        )
        return ModelVersion(name, str(found.version), found.run_id or None)

    def aliases(self, name: str) -> dict[str, str]:
        """Alias → version of a registered model."""
        return {str(k): str(v) for k, v in dict(self._call("get_registered_model", name).aliases).items()}

    def models(self) -> list[str]:
        """Names of registered models, a hundred at most."""
        return [str(model.name) for model in self._call("search_registered_models", max_results=100)]


def plain(text: str) -> str:
    """The reason in an error of MLflow's, without the layers of exceptions around it."""
    text = " ".join(text.split())
    if reason := re.search(r"\[Errno -?\d+\] ([^'\")]+)|(Read timed out|Name or service not known)", text):
        return reason[1] or reason[2]
    return text if len(text) <= 300 else text[:299] + "…"


def set_up(uri: str, timeout: int) -> MlflowClient:
    """Import MLflow and make a client. Takes a second or two."""
    prepare(os.environ, timeout)  # type: ignore[arg-type]
    return MlflowClient(uri)


def _point(metric: Any) -> Point:
    return Point(metric.key, names.infinite(float(metric.value)), int(metric.timestamp), int(metric.step))


def _parts(items: list[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _quoted(text: str) -> str:
    """Text for a filter of MLflow's, which takes off quotes of either kind but knows none doubled inside."""
    return f'"{text}"' if "'" in text else f"'{text}'"
