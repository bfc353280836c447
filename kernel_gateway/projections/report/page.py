"""The report's page: verdict, what went wrong, gates, metrics, the cells, where it all came from."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from ...events import encode_number
from ..bundles import IMAGE_SUFFIXES, METRICS_MIME, SCRAP_PREFIX, WIDGET_STATE, Blobs, restore, summary_line
from ..cells import CellState, RunState
from ..metrics import MetricTable
from ..outputs import Display, Failure, Output, Outputs, Remark, Stream
from ..text import clip, seconds_text, size_text, strip_ansi
from .figures import Figures
from .html import Html, el, facts, join, markdown, sanitised, table

MAX_CURVES = 60
"""Metrics that get a curve; a page with more is no longer looked at."""

VERDICTS = {
    "queued": "Queued",
    "starting": "Starting",
    "running": "Running",
    "succeeded": "Succeeded",
    "unstable": "Unstable: a gate was not met",
    "failed": "Failed",
    "timed_out": "Timed out",
    "kernel_died": "Kernel died",
    "cancelled": "Cancelled",
    "lost": "Lost: the runner vanished",
}


class Page:
    """Renders the page once, from the state of one run."""

    def __init__(
        self, state: RunState, outputs: Outputs, metrics: MetricTable, figures: Figures, blobs: Blobs, limit: int
    ) -> None:
        self._state = state
        self._outputs = outputs
        self._metrics = metrics
        self._figures = figures
        self._blobs = blobs
        self._limit = limit

    def render(self) -> str:
        """The page as text."""
        state = self._state
        head = el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("title", f"{state.name}: {VERDICTS.get(state.status, state.status)}"),
            el("link", rel="stylesheet", href="style.css"),
        )
        cells = self._cells()
        main = el(
            "main",
            self._verdict(),
            self._trouble(),
            self._gates(),
            self._metric_table(),
            self._artifacts(),
            cells,
            self._provenance(),
        )
        return "<!DOCTYPE html>\n" + el("html", head, el("body", main), lang="en") + "\n"

    def _verdict(self) -> Html:
        state = self._state
        finished = state.finished or {}
        ran = sum(1 for cell in state.cells if cell.number and cell.status in ("ok", "error"))
        parts = [f"{ran} of {state.code_cells} cells ran"]
        if "seconds" in finished:
            parts.append(seconds_text(finished["seconds"] or 0.0))
        if state.started:
            parts += [f"kernel {state.started.get('kernel')}", f"on {state.started.get('agent')}"]
        return el(
            "header",
            el("p", state.name, class_="name"),
            el("h1", VERDICTS.get(state.status, state.status)),
            el("p", state.reason) if state.reason else "",
            el("p", " · ".join(parts), class_="quiet"),
            class_=f"verdict {state.status}",
        )

    def _trouble(self) -> Html | str:
        cell = self._state.culprit
        errors = [str(log.get("message", "")) for log in self._state.logs if log.get("level") == "error"]
        if cell is None and not errors:
            return ""
        parts: list[object] = [el("h2", "What went wrong")]
        if cell is not None:
            link = el("a", f"Cell {cell.number or cell.index}: {cell.title}", href=f"#cell-{cell.index}")
            parts += [el("p", link), self._code(cell, is_open=True)]
            if cell.error:
                lines = [str(line) for line in cell.error.get("traceback") or []]
                text = "\n".join(lines) or f"{cell.error.get('ename')}: {cell.error.get('evalue')}"
                parts.append(self._pre(text, "error"))
        if errors:
            parts.append(self._pre("\n".join(errors), "error"))
        return el("section", *parts, class_="trouble")

    def _gates(self) -> Html | str:
        if not self._state.gates:
            return ""
        remarks = any(gate.get("message") for gate in self._state.gates)
        rows = [
            (
                el("code", gate["expression"]),
                _number(gate.get("value")),
                _number(gate.get("bound")),
                el("span", "passed", class_="ok") if gate.get("passed") else el("span", "not met", class_="bad"),
                *([gate.get("message") or ""] if remarks else []),
            )
            for gate in self._state.gates
        ]
        headings = ["Gate", "Value", "Bound", "Verdict", *(["Remark"] if remarks else [])]
        return el("section", el("h2", "Gates"), table(headings, rows))

    def _metric_table(self) -> Html | str:
        if not self._metrics.summaries:
            return ""
        rows: list[list[object]] = []
        curves: list[Html] = []
        for name, metric in self._metrics.summaries.items():
            values = (metric.last, metric.first, metric.min, metric.max, metric.mean)
            rows.append([name, *(_number(encode_number(value)) for value in values), metric.count])
            file = self._figures.curve(name, metric) if len(curves) < MAX_CURVES else None
            if file:
                alt = f"{name} over its steps: from {_number(metric.first)} to {_number(metric.last)}"
                curves.append(
                    el("figure", el("figcaption", name), el("img", src=file, alt=alt, width="360", height="120"))
                )
        headings = ("Metric", "Last", "First", "Min", "Max", "Mean", "Values")
        drawn = el("div", *curves, class_="curves") if curves else ""
        return el("section", el("h2", "Metrics"), table(headings, rows), drawn, class_="metrics")

    def _artifacts(self) -> Html | str:
        if not self._state.artifacts:
            return ""
        rows = [
            (
                el("a", path, href="../artifacts/" + quote(path)),
                size_text(artifact.get("size") or 0),
                artifact.get("media_type") or "",
                el("code", str(artifact.get("sha256") or "")[:12], title=str(artifact.get("sha256") or "")),
            )
            for path, artifact in self._state.artifacts.items()
        ]
        return el("section", el("h2", "Artifacts"), table(("File", "Size", "Type", "SHA-256"), rows))

    # Cells

    def _cells(self) -> Html:
        parts = [self._cell(cell) for cell in self._state.cells]
        return el("section", el("h2", "Notebook"), *parts, class_="notebook")

    def _cell(self, cell: CellState) -> Html:
        if cell.type == "markdown":
            return el("div", self._markdown_cell(cell), class_="prose")
        if cell.type != "code":
            return el("div", self._pre(cell.source, "raw"), class_="prose")
        status = cell.status or "not reached"
        facts_ = [status] + ([seconds_text(cell.seconds)] if cell.end and status != "skipped" else [])
        if cell.own_kernel:
            facts_.append(str(cell.kernel))
        label = f"{cell.number}. {cell.title}" if cell.number else cell.title
        return el(
            "article",
            el("h3", label, " ", el("span", " · ".join(facts_), class_="quiet")),
            self._code(cell),
            *(self._output(output) for output in self._outputs.of(cell.index)),
            id=f"cell-{cell.index}",
            class_=f"cell {(cell.status or 'unreached')}" + (" allowed" if cell.may_raise else ""),
        )

    def _markdown_cell(self, cell: CellState) -> Html:
        source = clip(cell.source, self._limit)
        for name, bundle in (cell.attachments or {}).items():
            mime = next((mime for mime in IMAGE_SUFFIXES if isinstance(bundle, dict) and mime in bundle), None)
            if mime:
                source = source.replace(f"attachment:{name}", self._figures.image(mime, bundle, {}))
        return markdown(source, self._figures.owns)

    def _code(self, cell: CellState, *, is_open: bool = False) -> Html:
        return el(
            "details",
            el("summary", "Code"),
            el("pre", el("code", clip(cell.source, self._limit)), tabindex="0"),
            **({"open": ""} if is_open else {}),
        )

    def _output(self, output: Output | Remark) -> Html:
        if isinstance(output, Stream):
            return self._pre(output.text, output.name)
        if isinstance(output, Remark):
            return self._pre(output.text, "stderr")
        if isinstance(output, Failure):
            return self._pre("\n".join(output.traceback) or f"{output.ename}: {output.evalue}", "error")
        return self._display(output)

    def _display(self, display: Display) -> Html:
        data, refs = display.data, display.blobs
        mimes = {*data, *refs}
        if WIDGET_STATE in mimes or METRICS_MIME in mimes or any(mime.startswith(SCRAP_PREFIX) for mime in mimes):
            return Html("")
        image = next((mime for mime in IMAGE_SUFFIXES if mime in mimes), None)
        if image:
            alt = data.get("text/plain")
            alt = strip_ansi(alt)[:200] if isinstance(alt, str) and alt else f"{image} output"
            return el("p", el("img", src=self._figures.image(image, data, refs), alt=alt), class_="picture")
        for mime, render in (("text/html", sanitised), ("text/markdown", markdown)):
            text = self._text(mime, data, refs)
            if text is None:
                continue
            html = render(text, self._figures.owns)
            if visible(html):
                return el("div", html, class_="scroll rich")
        text = self._text("text/plain", data, refs)
        if text is None:
            text = summary_line(data, refs)
        return self._pre(text, "result")

    def _text(self, mime: str, data: dict[str, Any], refs: dict[str, Any]) -> str | None:
        """The value where the bundle has it and it is not too long for a page."""
        if mime in data:
            value = data[mime]
        elif mime in refs and (refs[mime].get("size") or 0) <= self._limit:
            value = restore({}, {mime: refs[mime]}, self._blobs).get(mime)
        else:
            return None
        value = "".join(map(str, value)) if isinstance(value, list) else value
        return value if isinstance(value, str) else None

    def _pre(self, text: str, kind: str) -> Html:
        return el("pre", clip(strip_ansi(text), self._limit), class_=kind, tabindex="0") if text.strip() else Html("")

    # Provenance

    def _provenance(self) -> Html:
        state = self._state
        queued, started, finished = state.queued or {}, state.started or {}, state.finished or {}
        given = queued.get("provenance") or {}
        program = state.program
        rows: list[tuple[str, object]] = [
            ("Run", state.run_id),
            ("Started", queued.get("time")),
            ("Ended", finished.get("time")),
            ("Source", program.get("path") or program.get("name")),
            ("Digest", given.get("source_digest") or program.get("digest")),
            ("Parameters", _pairs(given.get("parameters"))),
            ("Git", _pairs(given.get("git"))),
            ("Build", _pairs(given.get("build"))),
            ("Secrets passed on", ", ".join(given.get("secrets") or [])),
            ("Resources", _pairs(queued.get("resources"))),
            ("Agent", started.get("agent")),
            ("Kernel", started.get("kernel")),
            ("Versions", _pairs(started.get("versions"))),
        ]
        packages = finished.get("packages") or {}
        listed: Html | str = ""
        if packages:
            rows_ = sorted((str(name), version) for name, version in packages.items())
            listed = el("details", el("summary", f"{len(packages)} packages"), facts(rows_))
        return el("section", el("h2", "Where this came from"), facts(rows), listed)


def visible(html: str) -> str:
    """Whether anything to see is left of sanitised HTML: its text, or its images."""
    return "img" if "<img" in html else re.sub(r"<[^>]*>", "", html).strip()


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _pairs(values: Any) -> Html | str:
    if not isinstance(values, dict):
        return "" if values is None else str(values)
    shown = [(name, value) for name, value in values.items() if value not in (None, "", {}, [])]
    return join(
        el("div", el("span", f"{name} ", class_="quiet"), value if isinstance(value, str) else json.dumps(value))
        for name, value in shown
    )
