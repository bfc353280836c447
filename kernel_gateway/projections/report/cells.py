"""The notebook in the report: its cells in order, with text, figures, tables, errors."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ..bundles import IMAGE_SUFFIXES, METRICS_MIME, SCRAP_PREFIX, WIDGET_STATE, Blobs, restore, summary_line
from ..cells import CellState, RunState
from ..outputs import Display, Failure, Output, Outputs, Remark, Stream
from ..text import clip, seconds_text, strip_ansi
from .figures import Figures
from .html import Html, el, join
from .rich import Headings, Rich, is_active
from .styles import Styles

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_ACTIVE_MIMES = (
    WIDGET_VIEW,
    "application/vnd.plotly",
    "application/vnd.vega",
    "application/vnd.bokeh",
    "text/javascript",
)

_MARKS = {"ok": "✓", "error": "✗", "aborted": "✗", "skipped": "–", "running": "…"}


class Cells:
    """Renders cells. One for a page, since figures, styles and headings go on from cell to cell."""

    def __init__(
        self, state: RunState, outputs: Outputs, figures: Figures, styles: Styles, blobs: Blobs, limit: int
    ) -> None:
        self._state = state
        self._outputs = outputs
        self._figures = figures
        self._headings = Headings()
        self._rich = Rich(figures, styles, self._headings)
        self._blobs = blobs
        self._limit = limit

    def section(self) -> Html:
        """The whole notebook."""
        parts = [self._cell(cell) for cell in self._state.cells]
        return el("section", el("h2", "Notebook", id="notebook"), *parts, class_="notebook")

    def _cell(self, cell: CellState) -> Html:
        if cell.type == "markdown":
            return el("div", self._markdown_cell(cell), class_="prose")
        if cell.type != "code":
            return el("div", self.pre(cell.source, "raw"), class_="prose")
        status = cell.status or "not reached"
        facts_ = [f"{_MARKS.get(status, '○')} {status}"]
        facts_ += [seconds_text(cell.seconds)] if cell.end and status != "skipped" else []
        if cell.own_kernel:
            facts_.append(str(cell.kernel))
        level = self._headings.level(3)
        return el(
            "article",
            el(f"h{level}", label_of(cell), " ", el("span", " · ".join(facts_), class_="quiet")),
            self.code(cell),
            *(self._output(output, cell) for output in self._outputs.of(cell.index)),
            id=f"cell-{cell.index}",
            class_=f"cell {(cell.status or 'unreached')}" + (" allowed" if cell.may_raise else ""),
        )

    def _markdown_cell(self, cell: CellState) -> Html:
        bundles = cell.attachments or {}
        written: dict[str, str | None] = {}

        def attached(name: str) -> str | None:
            key = next((key for key in bundles if name in (key, quote(key))), None)
            bundle = bundles.get(key) if key is not None else None
            mime = next((mime for mime in IMAGE_SUFFIXES if isinstance(bundle, dict) and mime in bundle), None)
            if key is None or mime is None or not isinstance(bundle, dict):
                return None
            if key not in written:
                written[key] = self._figures.image(mime, bundle, {})
            return written[key]

        return self._rich.markdown(clip(cell.source, self._limit), attached=attached)

    def code(self, cell: CellState, *, is_open: bool = False) -> Html:
        """A cell's source, folded away unless `is_open`."""
        return el(
            "details",
            el("summary", "Code"),
            el("pre", el("code", clip(cell.source, self._limit)), tabindex="0"),
            **({"open": ""} if is_open else {}),
        )

    def failure(self, failure: Failure) -> Html:
        """An error with its traceback."""
        return self.pre("\n".join(failure.traceback) or f"{failure.ename}: {failure.evalue}", "error")

    def pre(self, text: str, kind: str) -> Html:
        """Plain text as a terminal shows it; nothing for blanks."""
        return el("pre", clip(strip_ansi(text), self._limit), class_=kind, tabindex="0") if text.strip() else Html("")

    def _output(self, output: Output | Remark, cell: CellState) -> Html:
        if isinstance(output, Stream):
            return self.pre(output.text, output.name)
        if isinstance(output, Remark):
            return self.pre(output.text, "stderr")
        if isinstance(output, Failure):
            return self.failure(output)
        return self._display(output, cell)

    def _display(self, display: Display, cell: CellState) -> Html:
        data, refs = display.data, display.blobs
        mimes = {*data, *refs}
        if WIDGET_STATE in mimes or METRICS_MIME in mimes or any(mime.startswith(SCRAP_PREFIX) for mime in mimes):
            return Html("")
        html = self._text("text/html", data, refs)
        active = any(mime.startswith(_ACTIVE_MIMES) for mime in mimes) or (html is not None and is_active(html))
        shown = self._picture(display, cell) or self._rich_text(html, data, refs)
        if shown is None and not (active and "text/plain" not in mimes):
            shown = self._plain(data, refs)
        return join([shown or "", _ACTIVE_REMARK]) if active else shown or Html("")

    def _picture(self, display: Display, cell: CellState) -> Html | None:
        for mime in IMAGE_SUFFIXES:
            if mime not in display.data and mime not in display.blobs:
                continue
            name = self._figures.image(mime, display.data, display.blobs, display.metadata.get(mime))
            if name:
                return el("p", self._figures.element(name, self._alt(display, cell)), class_="picture")
        return None

    def _alt(self, display: Display, cell: CellState) -> str:
        """The author's own words where there are some; a figure's ``<Figure size …>`` says nothing."""
        given = display.metadata.get("alt")
        text = given if isinstance(given, str) and given else display.data.get("text/plain")
        if isinstance(text, str) and text.strip() and not text.startswith("<"):
            return strip_ansi(text)[:300]
        return f"Figure of cell {label_of(cell)}"

    def _rich_text(self, html: str | None, data: dict[str, Any], refs: dict[str, Any]) -> Html | None:
        if html is not None:
            shown = self._rich.html(html)
            if shown:
                return shown
        text = self._text("text/markdown", data, refs)
        return (self._rich.markdown(text, below=3) or None) if text is not None else None

    def _plain(self, data: dict[str, Any], refs: dict[str, Any]) -> Html:
        text = self._text("text/plain", data, refs)
        formula = self._text("text/latex", data, refs)
        # IPython's Math and Latex have no text but `<IPython.core.display.Math object>`.
        if formula is not None and (text is None or text.startswith("<")):
            return self.pre(formula, "latex")
        return self.pre(summary_line(data, refs) if text is None else text, "result")

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


_ACTIVE_REMARK = el(
    "p", "This output is interactive; open ", el("a", "the notebook", href="../executed.ipynb"), " to use it.",
    class_="quiet",
)  # fmt: skip


def label_of(cell: CellState) -> str:
    """A code cell's number and title."""
    return f"{cell.number}. {cell.title}" if cell.number else cell.title or "empty cell"
