"""`--baseline`: the metrics of an MLflow run or of a registered model, as gates compare with them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..events import encode_number
from .mlflow_client import Missing, MlflowClient
from .record import Point

RUN_ID = re.compile(r"[0-9a-f]{32}")
_MODEL = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))")

FIRST = "A first model has none to beat: name it with --register, or leave --baseline out."


@dataclass(frozen=True)
class Comparison:
    """What was found. ``metrics``: name → first, last, min, max, mean, count, as ``run.json`` has them; None if
    there is no such model yet. ``title``: what it is, for people.
    """

    title: str
    metrics: dict[str, dict[str, Any]] | None


def is_mlflow(reference: str) -> bool:
    """Whether `--baseline` names something in MLflow: ``runs:/…``, ``models:/…`` or the id of an MLflow run."""
    return reference.startswith(("runs:/", "models:/")) or RUN_ID.fullmatch(reference) is not None


def is_well_formed(reference: str) -> bool:
    """Whether a reference can be followed: ``models:/NAME@ALIAS``, ``models:/NAME/3``, ``runs:/ID``, an id."""
    if reference.startswith("models:/"):
        return _MODEL.fullmatch(reference) is not None
    return RUN_ID.fullmatch(reference.removeprefix("runs:/")) is not None


def compare(client: MlflowClient, reference: str, registers: str | None = None, alias: str | None = None) -> Comparison:
    """The metrics behind a reference.

    ``registers``, ``alias``: the registered model that the run itself adds a version to, and the alias that this is to
    get. As long as that model has none, or none but others that are not asked for, the first one wins. Anything else
    that isn't there is a mistake: raises `Missing` with what was probably meant, else as the client does.
    """
    match = _MODEL.fullmatch(reference)
    if match is None:
        run_id = reference.removeprefix("runs:/")
        return Comparison(f"MLflow run {run_id}", _summaries(client, run_id))
    try:
        found = client.model_version(match["name"], match["version"] or "", match["alias"] or "")
    except Missing:
        aliases = _aliases(client, match["name"])
        if match["alias"] and match["name"] == registers and (not aliases or match["alias"] == alias):
            return Comparison(reference, None)
        raise Missing(_absent(client, match, aliases)) from None
    title = f"{reference} (version {found.version})"
    return Comparison(title, _summaries(client, found.run_id) if found.run_id else {})


def _aliases(client: MlflowClient, name: str) -> dict[str, str] | None:
    """As the client tells them; None where there is no such model."""
    try:
        return client.aliases(name)
    except Missing:
        return None


def _absent(client: MlflowClient, match: re.Match[str], aliases: dict[str, str] | None) -> str:
    name, version, alias = match["name"], match["version"], match["alias"]
    if aliases is None:
        told = f"MLflow has no registered model {name!r}{_near(name, client.models())}"
    elif version:
        return f"MLflow's model {name!r} has no version {version}."
    else:
        told = f"MLflow's model {name!r} has no alias {alias!r}{_near(alias, aliases)}"
    return f"{told} {FIRST}"


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def _summaries(client: MlflowClient, run_id: str) -> dict[str, dict[str, Any]]:
    return {latest.name: summary(client.history(run_id, latest.name)) for latest in client.latest(run_id)}


def summary(points: list[Point]) -> dict[str, Any]:
    """The aggregates of a metric's values, by step and time; NaN counts, but is no minimum or maximum."""
    values = [point.value for point in sorted(points, key=lambda point: (point.step, point.timestamp))]
    numbers = [value for value in values if not math.isnan(value)] or [math.nan]
    aggregates = {
        "first": values[0],
        "last": values[-1],
        "min": min(numbers),
        "max": max(numbers),
        "mean": sum(values) / len(values),
    }
    return {"count": len(values), **{name: encode_number(value) for name, value in aggregates.items()}}
