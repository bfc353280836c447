"""``/compare``: runs side by side; what they were given, what came out, and in what their surroundings differ."""

from __future__ import annotations

from typing import Any

import orjson
from flask import render_template, request

from ...errors import NotFoundError, UsageError
from ...projections.run import Run
from ...store.eventlog import read_events
from ...store.runs import RunRecord
from ..auth import scope
from ..service import Gateway, gateway
from . import embed
from .blueprint import pages
from .comparison import Compared, compare_runs

MOST = 8
"""Runs in one comparison; more are not read side by side."""


@pages.get("/compare")
@scope("read")
def compare() -> str:
    """The page. ``runs`` holds ids, with commas or repeated; the first is what the others are compared with."""
    ids = list(
        dict.fromkeys(id.strip() for text in request.args.getlist("runs") for id in text.split(",") if id.strip())
    )
    if len(ids) > MOST:
        raise UsageError(f"At most {MOST} runs are compared at a time. Choose fewer.", field="runs")
    service = gateway()
    records = {id: _record(service, id) for id in ids}
    if missing := [id for id, record in records.items() if record is None]:
        raise NotFoundError(f"There is no run {', '.join(missing)}. It may have been removed because of its age.")
    if len(ids) < 2:
        return render_template("pages/compare.html", comparison=None)
    compared = [_read(service, record) for record in records.values() if record is not None]
    return render_template("pages/compare.html", comparison=compare_runs(compared))


def _record(service: Gateway, id: str) -> RunRecord | None:
    try:
        return service.run(id)
    except NotFoundError:
        return None


def _read(service: Gateway, record: RunRecord) -> Compared:
    facts, report = _results(service, record)
    return Compared(record, facts, embed.figures(report))


def _results(service: Gateway, record: RunRecord) -> tuple[dict[str, Any], str]:
    """The run's record, as ``run.json`` has it, and its report as a page takes it; computed while it goes on."""
    folder = service.data.run(record.id)
    try:
        facts: dict[str, Any] = orjson.loads((folder / "run.json").read_bytes())
        page = (folder / "report" / "index.html").read_text("utf-8", "replace")
        return facts, embed.embedded(page, record.id)
    except (OSError, ValueError):
        pass
    try:
        log = service.log(record.id)
    except NotFoundError:
        return {}, ""
    projection = Run(service.settings, service.blob)
    for event in read_events(log):
        projection.feed(event)
    rendered = service.live.ask(record.id, log, lambda run: run.report())
    return orjson.loads(projection.result()), embed.embedded(rendered.page, record.id, rendered.versions)
