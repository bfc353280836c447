"""Giving an alias back to the model version that an earlier run registered: the rollback."""

from __future__ import annotations

from dataclasses import dataclass

from .catalogue import Catalogue
from .comparison import RUN_ID
from .mlflow_client import Missing, Refused


@dataclass(frozen=True)
class Promoted:
    """What was done. ``before``: the version that had the alias, None if there was none."""

    name: str
    version: str
    alias: str
    before: str | None

    @property
    def sentence(self) -> str:
        """For people."""
        if self.before == self.version:
            return f"MLflow model {self.name!r}: version {self.version} is {self.alias!r} already."
        was = f"; it was version {self.before}" if self.before else ""
        return f"MLflow model {self.name!r}: version {self.version} is {self.alias!r} now{was}."


def promote(catalogue: Catalogue, run: str, alias: str, model: str | None = None) -> Promoted:
    """Have an alias mean the version that a run, by our id or MLflow's, has registered.

    `model` chooses where a run has registered several. Raises `Missing` if it has registered none, `Refused` if it is
    not clear which is meant, else as the catalogue does.
    """
    versions = catalogue.versions_of_mlflow_run(run) if RUN_ID.fullmatch(run) else catalogue.versions_of_run(run)
    chosen = [version for version in versions if model is None or version.name == model]
    if not chosen:
        what = f"no version of {model!r}" if model and versions else "no model"
        raise Missing(f"The run {run} has registered {what} in {catalogue.uri}.")
    if len({version.name for version in chosen}) > 1:
        names = ", ".join(sorted({version.name for version in chosen}))
        raise Refused(f"The run {run} has registered several models ({names}). Choose one with --model.")
    version = max(chosen, key=lambda one: int(one.version))
    before = catalogue.aliases(version.name).get(alias)
    if before != version.version:
        catalogue.set_alias(version.name, alias, version.version)
    return Promoted(version.name, version.version, alias, before)
