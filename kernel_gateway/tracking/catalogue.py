"""Looking things up in MLflow: versions of models, runs of an experiment, files of a run. Changes nothing but aliases.

For commands and the tracker; see `mlflow_client` for what calls cost and raise.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .comparison import RUN_ID
from .mlflow_client import Missing, MlflowClient, ModelVersion, Refused, Unavailable, plain, prepare
from .names import is_valid
from .record import PREFIX

PAGE = 100
MOST_RUNS = 5000

_MODEL = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))")

RUN_TAG = f"{PREFIX}run"
STATUS_TAG = f"{PREFIX}status"
COMMIT_TAG = "mlflow.source.git.commit"


class Catalogue(MlflowClient):
    """MLflow at one tracking URI. All methods raise `Unavailable`, `Refused` or `Missing`."""

    def version(self, reference: str) -> ModelVersion:
        """The version behind ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``."""
        match = _MODEL.fullmatch(reference)
        if match is None:
            raise Refused(f"{reference!r} is no model; write models:/NAME@ALIAS or models:/NAME/VERSION.")
        return self.model_version(match["name"], match["version"] or "", match["alias"] or "")

    def mlflow_run_of(self, reference: str) -> str:
        """The id of the MLflow run behind a model, ``runs:/ID``, an id of MLflow's or an id of ours."""
        if reference.startswith("models:/"):
            version = self.version(reference)
            if not version.run_id:
                raise Missing(f"{reference} was registered without a run")
            return version.run_id
        id = reference.removeprefix("runs:/")
        if RUN_ID.fullmatch(id):
            return id
        for run in self.runs(f"tags.`{RUN_TAG}` = {_quoted(id)}", most=10):
            if f"{PREFIX}block" not in run.data.tags:
                return str(run.info.run_id)
        raise Missing(f"MLflow at {self.uri} has no run {id}")

    def run(self, run_id: str) -> Any:
        """MLflow's own object of a run."""
        return self._call("get_run", run_id)

    def commit_of(self, reference: str) -> str | None:
        """The git commit that the run behind a reference was started from."""
        found = self.run(self.mlflow_run_of(reference)).data.tags.get(COMMIT_TAG)
        return str(found) if found else None

    def runs(self, condition: str, *, experiments: list[str] | None = None, most: int = MOST_RUNS) -> Iterator[Any]:
        """Runs, the latest first; of all experiments unless ids of some are given."""
        if experiments is None:
            experiments = [str(one.experiment_id) for one in self._all("search_experiments")]
        token, seen = None, 0
        while seen < most and experiments:
            page = self._call(
                "search_runs",
                experiments,
                condition,
                max_results=min(PAGE, most - seen),
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            yield from page
            seen += len(page)
            token = page.token
            if not token:
                return

    def _all(self, method: str, *arguments: Any) -> Iterator[Any]:
        token = None
        while True:
            page = self._call(method, *arguments, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def experiment_id(self, name: str) -> str:
        """The id of an experiment that is there."""
        found = self._call("get_experiment_by_name", name)
        if found is None:
            raise Missing(f"MLflow has no experiment {name!r}")
        return str(found.experiment_id)

    def last_values(self, experiment: str, metric: str, count: int, condition: str = "") -> list[tuple[str, float]]:
        """Run id and last value of a metric in the last `count` runs that have it; the earliest of them first."""
        if not is_valid(metric):
            raise Refused(f"MLflow takes no metric named {metric!r}")
        # A run that still goes on has no last value yet.
        conditions = " and ".join(["attributes.status != 'RUNNING'", *([condition] if condition else [])])
        found: list[tuple[str, float]] = []
        for run in self.runs(conditions, experiments=[self.experiment_id(experiment)]):
            value = run.data.metrics.get(metric)
            if value is not None and value == value:
                found.append((str(run.info.run_id), float(value)))
                if len(found) == count:
                    break
        return found[::-1]

    def last_success(self, experiment: str) -> float | None:
        """When the last run ended that MLflow calls finished, and that met its gates if it had some; since 1970."""
        for run in self.runs("attributes.status = 'FINISHED'", experiments=[self.experiment_id(experiment)]):
            if run.data.tags.get(STATUS_TAG, "succeeded") == "succeeded" and run.info.end_time:
                return float(run.info.end_time) / 1000
        return None

    def download(self, reference: str, artifact: str, folder: Path) -> Path:
        """One artifact of the run behind a reference, as a file in a folder."""
        import mlflow

        run_id = self.mlflow_run_of(reference)
        above = posixpath.dirname(artifact) or None
        if artifact not in [one.path for one in self._call("list_artifacts", run_id, above)]:
            raise Missing(f"the run {run_id} of {reference} has no artifact {artifact!r}")
        try:
            found = mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=artifact, dst_path=str(folder), tracking_uri=self.uri
            )
        except Exception as error:
            raise Unavailable(f"the artifact {artifact!r} of {reference}: {plain(str(error))}") from error
        return Path(found)

    # -- registered models ---------------------------------------------------------------------------

    def versions_of_run(self, run: str) -> list[ModelVersion]:
        """The versions that a run of ours, by our id, has registered."""
        condition = f"tags.`{RUN_TAG}` = {_quoted(run)}"
        return [_version(one) for one in self._all("search_model_versions", condition)]

    def versions_of_mlflow_run(self, run_id: str) -> list[ModelVersion]:
        """The versions that came from an MLflow run."""
        return [_version(one) for one in self._all("search_model_versions", f"run_id = {_quoted(run_id)}")]


def open_catalogue(uri: str, timeout: int = 20) -> Catalogue:
    """A catalogue in this process: imports MLflow, which takes a second or two."""
    prepare(os.environ, timeout)  # type: ignore[arg-type]
    return Catalogue(uri)


def _version(found: Any) -> ModelVersion:
    return ModelVersion(str(found.name), str(found.version), found.run_id or None)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
