"""The sections that say how good the run was: gates, metrics against the baseline, curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...events import Event, encode_number
from ..cells import RunState
from ..directions import better_direction
from ..history import EarlierRun, finite_values
from ..margins import finite, judged, margin_text, number_text
from ..metrics import MetricSummary, MetricTable
from .changes import change_text
from .charts import HEIGHT, WIDTH, Level, curve_svg
from .figures import Figures
from .html import Html, el, join, table

MAX_CURVES = 60
"""Metrics that get a curve; a page with more is no longer looked at."""

MAX_ROWS = 500
"""Metrics in the table; `metrics.json` has them all."""


def verdict_mark(passed: bool) -> Html:
    """Met or not, by sign and word as well as by colour."""
    return el("span", "✓ met", class_="ok") if passed else el("span", "✗ not met", class_="bad")


def gates_section(state: RunState) -> Html | str:
    """The gates with value, bound and by how much; empty if there are none."""
    gates: list[Event] = [*state.gates, *({"expression": gate, "passed": True} for gate in state.gates_left)]
    if not gates:
        return ""
    remarks = any(gate.get("message") for gate in gates)
    rows = [_gate_row(gate, remarks) for gate in gates]
    headings = ["Gate", "Verdict", "Value", "Bound", "Margin", *(["Remark"] if remarks else [])]
    met = sum(1 for gate in gates if judged(gate) and gate.get("passed"))
    return el(
        "section",
        el("h2", "Gates", id="gates"),
        el("p", f"{met} of {len(gates)} met.", class_="quiet"),
        table(headings, rows, label="Gates"),
        class_="numbers",
    )


def _gate_row(gate: Event, remarks: bool) -> list[object]:
    verdict = verdict_mark(bool(gate.get("passed"))) if judged(gate) else el("span", "– not judged", class_="quiet")
    return [
        el("code", gate["expression"]),
        verdict,
        number_text(gate.get("value")),
        number_text(gate.get("bound")),
        margin_text(gate) or "–",
        *([el("span", gate.get("message") or "", class_="remark")] if remarks else []),
    ]


class MetricSection:
    """The metrics' table and curves. ``baseline`` is what ``provenance.baseline`` holds: a run's id and metrics."""

    def __init__(self, state: RunState, metrics: MetricTable, figures: Figures, history: list[EarlierRun]) -> None:
        self._gates = state.gates
        self._summaries = metrics.reported
        self._figures = figures
        provenance = (state.queued or {}).get("provenance") or {}
        baseline = provenance.get("baseline")
        self._baseline: Mapping[str, Any] = baseline if isinstance(baseline, Mapping) else {}
        self._before = finite_values(self._baseline.get("metrics"))
        self._history = history

    def render(self) -> Html | str:
        """The section; empty without metrics."""
        if not self._summaries:
            return ""
        left = len(self._summaries) - MAX_ROWS
        return el(
            "section",
            el("h2", "Metrics", id="metrics"),
            self._compared_with(),
            self._table(),
            el("p", f"{left:,} more are in ", el("a", "metrics.json", href="../metrics.json"), ".") if left > 0 else "",
            self._curves(),
            class_="numbers",
        )

    def _compared_with(self) -> Html | str:
        run = str(self._baseline.get("run") or "")
        if not run:
            return ""
        earlier = next((earlier for earlier in self._history if earlier.id == run), None)
        url = self._baseline.get("url") or (earlier.url if earlier else "")
        shown: Html | str = el("code", run)
        if isinstance(url, str) and url.startswith(("https://", "http://")):
            shown = el("a", shown, href=url)
        build = f" (build {earlier.number})" if earlier and earlier.number else ""
        alias = f", {self._baseline['alias']}" if isinstance(self._baseline.get("alias"), str) else ""
        return el("p", "Compared with the baseline, run ", shown, f"{alias}{build}.", class_="quiet")

    def _table(self) -> Html:
        shown = list(self._summaries.items())[:MAX_ROWS]
        compared, series = bool(self._before), any(metric.count > 1 for _, metric in shown)
        headings = ["Metric", "Value", *(["Baseline", "Change"] if compared else [])]
        headings += ["First", "Min", "Max", "Mean", "Values"] if series else []
        rows = [self._row(name, metric, compared)[: len(headings)] for name, metric in shown]
        return table(headings, rows, label="Metrics")

    def _row(self, name: str, metric: MetricSummary, compared: bool) -> list[object]:
        row: list[object] = [name, el("strong", _shown(metric.last))]
        if compared:
            before, value = self._before.get(name), finite(metric.last)
            change: object = "–"
            if before is not None and value is not None:
                expressions = [str(gate.get("expression", "")) for gate in self._gates]
                change = change_text(value, before, better_direction(name, expressions))
            row += [number_text(before), change]
        if metric.count == 1:
            return [*row, "", "", "", "", "1"]
        return [*row, *(_shown(v) for v in (metric.first, metric.min, metric.max, metric.mean)), f"{metric.count:,}"]

    def _curves(self) -> Html | str:
        drawn: list[Html] = []
        for name, metric in self._summaries.items():
            if len(drawn) >= MAX_CURVES:
                break
            if sum(1 for _, value in metric.steps() if finite(value) is not None) >= 2:
                drawn.append(self._curve(name, metric))
        if not drawn:
            return ""
        return join([el("h3", "Over their steps"), el("div", *drawn, class_="charts")])

    def _curve(self, name: str, metric: MetricSummary) -> Html:
        before = self._before.get(name)
        levels = [Level("baseline", before)] if before is not None else []
        points = metric.steps()
        alt = (
            f"{name} over {metric.count:,} values: from {_shown(metric.first)} to {_shown(metric.last)}, "
            f"lowest {_shown(metric.min)}, highest {_shown(metric.max)}"
        )
        if before is not None:
            alt += f"; baseline {number_text(before)}"
        lost = metric.not_finite
        remark = el("span", f" · {lost:,} not finite", class_="quiet") if lost else ""
        picture = self._figures.chart("curve", lambda palette: curve_svg(points, palette, levels), alt, (WIDTH, HEIGHT))
        return el("figure", el("figcaption", name, remark), picture)


def _shown(value: float) -> str:
    return number_text(encode_number(value))
