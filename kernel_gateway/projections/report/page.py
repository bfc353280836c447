"""The report's page: verdict, what went wrong, gates, metrics, trend, resources, artifacts, notebook, origin."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ..bundles import Blobs
from ..cells import RunState
from ..history import EarlierRun
from ..metrics import MetricTable
from ..outputs import Failure, Outputs
from ..text import seconds_text, size_text
from .cells import Cells, label_of
from .figures import Figures
from .html import Html, el, table
from .judgement import MetricSection, gates_section
from .origin import provenance_section
from .resources import resources_section
from .styles import Styles
from .trend import trend_section

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

SIGNS = {"succeeded": "✓", "unstable": "◆", "queued": "…", "starting": "…", "running": "…"}
"""A sign beside each verdict's colour; ✗ for all bad ends."""

RESULT_FILES = ("executed.ipynb", "console.log", "metrics.json", "run.json", "junit.xml", "events.jsonl")


class Page:
    """Renders the page once, from the state of one run. ``styles`` holds its notebook's own styles afterwards."""

    def __init__(
        self,
        state: RunState,
        outputs: Outputs,
        metrics: MetricTable,
        figures: Figures,
        blobs: Blobs,
        limit: int,
        history: list[EarlierRun] | None = None,
    ) -> None:
        self._state = state
        self._metrics = metrics
        self._figures = figures
        self._history = history or []
        self.styles = Styles()
        self._cells = Cells(state, outputs, figures, self.styles, blobs, limit)

    def render(self) -> str:
        """The page as text."""
        state = self._state
        main = el(
            "main",
            self._trouble(),
            gates_section(state),
            MetricSection(state, self._metrics, self._figures, self._history).render(),
            trend_section(state, self._metrics, self._figures, self._history),
            resources_section(state),
            self._artifacts(),
            self._cells.section(),
            provenance_section(state),
        )
        head = el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("title", f"{state.name}: {VERDICTS.get(state.status, state.status)}"),
            el("link", rel="stylesheet", href="style.css"),
            el("link", rel="stylesheet", href="notebook.css") if self.styles.text else "",
        )
        body = el("body", self._verdict(), _contents(main), main, _footer())
        return "<!DOCTYPE html>\n" + el("html", head, body, lang="en") + "\n"

    def _verdict(self) -> Html:
        state = self._state
        finished = state.finished or {}
        ran = sum(1 for cell in state.cells if cell.number and cell.status in ("ok", "error"))
        parts = [f"{ran} of {state.code_cells} cells ran"]
        if "seconds" in finished:
            parts.append(seconds_text(finished["seconds"] or 0.0))
        if state.queued:
            parts.append(str(state.queued.get("time") or "")[:16].replace("T", " ") + " UTC")
        if state.started:
            parts += [f"kernel {state.started.get('kernel')}", f"on {state.started.get('agent')}"]
        sign = el("span", SIGNS.get(state.status, "✗"), class_="sign", aria_hidden="true")
        return el(
            "header",
            el("p", state.name, class_="name"),
            el("h1", sign, " ", VERDICTS.get(state.status, state.status)),
            el("p", state.reason) if state.reason else "",
            el("p", " · ".join(parts), class_="quiet"),
            class_=f"verdict {state.status}",
        )

    def _trouble(self) -> Html | str:
        cell = self._state.culprit
        errors = [str(log.get("message", "")) for log in self._state.logs if log.get("level") == "error"]
        if cell is None and not errors:
            return ""
        parts: list[object] = [el("h2", "What went wrong", id="trouble")]
        if cell is not None:
            where = el("a", f"Cell {label_of(cell)}", href=f"#cell-{cell.index}")
            if cell.error:
                error: dict[str, Any] = cell.error
                parts.append(el("p", where, ": ", el("strong", f"{error.get('ename')}: {error.get('evalue')}"[:1000])))
                lines = [str(line) for line in error.get("traceback") or []]
                name, text = str(error.get("ename")), str(error.get("evalue"))
                parts.append(self._cells.failure(Failure(name, text, lines)))
            else:
                parts.append(el("p", where))
            parts.append(self._cells.code(cell, is_open=True))
        if errors:
            parts.append(self._cells.pre("\n".join(errors), "error"))
        return el("section", *parts, class_="trouble")

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
        listed = table(("File", "Size", "Type", "SHA-256"), rows, label="Artifacts")
        # Seen in Chromium: a page in a sandbox without allow-downloads shows files, but saves none.
        hint = "Where a link does nothing, Jenkins lets this page save no files; the build's artifacts have them."
        return el("section", el("h2", "Artifacts", id="artifacts"), listed, el("p", hint, class_="quiet"))


_SECTIONS = {
    "trouble": "What went wrong",
    "gates": "Gates",
    "metrics": "Metrics",
    "trend": "Trend",
    "resources": "Resources",
    "artifacts": "Artifacts",
    "notebook": "Notebook",
    "origin": "Where this came from",
}


def _contents(main: str) -> Html:
    """Links to the sections that are there."""
    links = [
        el("li", el("a", title, href=f"#{name}")) for name, title in _SECTIONS.items() if f'<h2 id="{name}">' in main
    ]
    return el("nav", el("ul", *links), aria_label="Contents")


def _footer() -> Html:
    links: list[object] = []
    for name in RESULT_FILES:
        links += [" · " if links else "", el("a", name, href=f"../{name}")]
    return el("footer", el("p", "All results: ", *links, class_="quiet"))
