"""The section that shows how the headline metrics went over the last builds of the same name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...events import Event, Status
from ..cells import RunState
from ..directions import gate_sign, has_fixed_bound
from ..history import EarlierRun, finite_values
from ..margins import finite, number_text
from ..metrics import MetricTable
from .charts import HEIGHT, WIDTH, Level, TrendPoint, trend_svg
from .figures import Figures
from .html import Html, el, join, table

MAX_TRENDS = 6
"""Metrics that get a trend: those that the gates name come first."""

_KINDS: dict[str, str] = {Status.SUCCEEDED: "ok", Status.UNSTABLE: "missed"}


def trend_section(state: RunState, metrics: MetricTable, figures: Figures, history: Sequence[EarlierRun]) -> Html | str:
    """Charts and a table of the earlier runs and this one; empty where no earlier run is known."""
    # What the gateway measured is among the earlier runs' metrics only if a gate is about it.
    now = {name: value for name, summary in metrics.summaries.items() if (value := finite(summary.last)) is not None}
    names = _headlines(state.gates, now, history)
    if not names:
        return ""
    runs = [*history, _this_run(state, now)]
    charts = [_chart(name, runs, state.gates, figures) for name in names]
    rows = [_row(run, names, is_this=run is runs[-1]) for run in reversed(runs)]
    headings = ["Run", "Ended as", *names]
    return el(
        "section",
        el("h2", "Trend", id="trend"),
        el("p", f"This run and the {len(history)} before it. ◆ missed a gate, ✗ did not end well.", class_="quiet"),
        el("div", *charts, class_="charts"),
        el("details", el("summary", "The numbers"), table(headings, rows, label="Metrics of the last runs")),
        class_="numbers",
    )


def _headlines(gates: Sequence[Event], now: Mapping[str, float], history: Sequence[EarlierRun]) -> list[str]:
    known = [name for name in now if any(name in run.metrics for run in history)]
    expressions = [str(gate.get("expression", "")) for gate in gates]
    known.sort(key=lambda name: not any(gate_sign(name, expression) for expression in expressions))
    return known[:MAX_TRENDS]


def _this_run(state: RunState, now: Mapping[str, float]) -> EarlierRun:
    queued = state.queued or {}
    build = (queued.get("provenance") or {}).get("build")
    number = build.get("number") if isinstance(build, Mapping) else None
    return EarlierRun(
        id=state.run_id,
        time=str(queued.get("time") or ""),
        status=state.status,
        number="" if number is None else str(number),
        url="",
        metrics=finite_values(now),
    )


def _chart(name: str, runs: Sequence[EarlierRun], gates: Sequence[Event], figures: Figures) -> Html:
    points = [TrendPoint(run.metrics.get(name), _KINDS.get(_status(run), "bad")) for run in runs]
    bounds = [
        bound
        for gate in gates
        if has_fixed_bound(name, str(gate.get("expression", ""))) and (bound := finite(gate.get("bound"))) is not None
    ]
    levels = [Level("gate", bound) for bound in bounds[:2]]
    values = [point.value for point in points if point.value is not None]
    missed = sum(1 for point in points if point.kind == "missed")
    alt = (
        f"{name} over {len(runs)} runs: {', '.join(map(number_text, values[-10:]))}; "
        f"{missed} of the runs missed a gate{f'; the gate is at {number_text(bounds[0])}' if bounds else ''}"
    )
    first, last = _label(runs[0]), "this run"
    picture = figures.chart(
        "trend", lambda palette: trend_svg(points, palette, first, last, levels), alt, (WIDTH, HEIGHT)
    )
    return el("figure", el("figcaption", name), picture)


def _status(run: EarlierRun) -> str:
    return run.status if run.status not in (Status.RUNNING, Status.QUEUED, Status.STARTING) else Status.SUCCEEDED


def _label(run: EarlierRun) -> str:
    return f"#{run.number}" if run.number else run.time[:10]


def _row(run: EarlierRun, names: Sequence[str], *, is_this: bool) -> list[object]:
    what = f"#{run.number} " if run.number else ""
    shown: object = f"{what}{run.time[:16].replace('T', ' ')}" if run.time else what or run.id
    if run.url:
        shown = el("a", shown, href=run.url)
    mark = {"ok": "", "missed": "◆ "}.get(_KINDS.get(_status(run), "bad"), "✗ ")
    return [
        join([shown, " (this run)"]) if is_this else shown,
        f"{mark}{run.status}",
        *(number_text(run.metrics.get(name)) for name in names),
    ]
