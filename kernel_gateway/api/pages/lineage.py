"""``/lineage``: where a registered model or a run came from, and which runs have used the model since."""

from __future__ import annotations

from typing import Any

import orjson
from flask import render_template, request

from ...errors import NotFoundError, UsageError
from ...tracking.client import TrackerClient
from ...tracking.comparison import is_mlflow, is_well_formed
from ...tracking.lineage import of_record
from ..auth import scope
from ..service import Gateway, gateway
from .blueprint import pages

ANSWER_SECONDS = 15.0
"""How long MLflow may take for all that the page asks of it."""

LONGEST = 500
MOST_SHOWN = 200
"""Parameters, files, metrics and runs of each sort that the page shows."""


@pages.get("/lineage")
@scope("read")
def lineage() -> str:
    """The page. ``of`` is a run's id, ``models:/NAME@ALIAS``, ``models:/NAME/3`` or ``runs:/ID``."""
    reference = request.args.get("of", "").strip()
    if not reference:
        return render_template("pages/lineage.html", reference="", found=None)
    if len(reference) > LONGEST or (is_mlflow(reference) and not is_well_formed(reference)):
        raise UsageError(f"That is no model or run: {reference[:80]!r}. Write models:/NAME@ALIAS, or a run's id.")
    service = gateway()
    found = _of_model(service, reference) if is_mlflow(reference) else _of_run(service, reference)
    known = _known(service, [found["run"], *found["used_by"]])
    return render_template("pages/lineage.html", reference=reference, found=found, known=known, most=MOST_SHOWN)


def _of_model(service: Gateway, reference: str) -> dict[str, Any]:
    if not service.settings.mlflow:
        raise NotFoundError("This gateway sends its runs to no MLflow, so it knows of no models.")
    answer = _ask(service, reference, None)
    if "lineage" not in answer:
        raise NotFoundError(f"MLflow does not tell of {reference}: {answer['error']}")
    return dict(answer["lineage"])


def _of_run(service: Gateway, id: str) -> dict[str, Any]:
    """By the run's own record, which is here, and what MLflow knows besides."""
    folder = service.folder(id)
    try:
        record = orjson.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        raise NotFoundError(f"The run {id} has no record yet; it is written when the run ends.") from None
    alone = of_record(record, id).to_dict()
    if not service.settings.mlflow:
        return alone
    answer = _ask(service, id, record)
    if "lineage" in answer:
        return dict(answer["lineage"])
    alone["remarks"].append(f"MLflow does not tell which models belong to it: {answer['error']}")
    return alone


def _ask(service: Gateway, reference: str, record: dict[str, Any] | None) -> dict[str, Any]:
    """The tracker's answer: ``lineage``, or ``error`` in words."""
    client = TrackerClient(service.data.tracker_socket)
    try:
        answer = client.answer(client.ask("lineage", reference=reference, record=record), ANSWER_SECONDS)
    finally:
        client.close()
    return answer if answer is not None else {"error": f"it took more than {ANSWER_SECONDS:g} s."}


def _known(service: Gateway, runs: list[dict[str, Any]]) -> set[str]:
    """The ids among these runs that this gateway has."""
    found = set()
    for run in runs[: MOST_SHOWN + 1]:
        try:
            found.add(service.run(str(run.get("id"))).id)
        except NotFoundError:
            continue
    return found
