"""``report/``: a static page that explains a run on Jenkins' build page.

It works under Jenkins' default content security policy (``sandbox; default-src 'none'; img-src 'self';
style-src 'self'``): no script, no inline style, no data: URIs. Styles and images are files beside the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...events import Event
from ...settings import Settings
from ..bundles import Blobs
from ..cells import RunState
from ..history import read_history
from ..metrics import MetricTable
from ..outputs import Outputs
from .figures import Figures, stylesheet
from .page import Page

TEXT_LIMIT = 1024 * 1024
"""Most characters of one cell's text in the page, where ``Settings.notebook_limit`` allows more: browsers choke."""


class Report:
    """Computes the report's files from a run's events.

    ``history``: earlier runs of the same name, oldest first, for the trend, as `projections.history` describes them;
    without it the run's own ``provenance.history`` counts.
    """

    def __init__(self, settings: Settings, blobs: Blobs, history: Sequence[dict[str, Any]] | None = None) -> None:
        self._limit = min(settings.notebook_limit, TEXT_LIMIT)
        self._blobs = blobs
        self._history = history
        self._state = RunState()
        self._outputs = Outputs(self._limit)
        self._metrics = MetricTable()

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self._state.feed(event)
        self._outputs.feed(event)
        self._metrics.feed(event)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Path below ``report/`` and content of each file. Images are read one at a time, after the page."""
        figures = Figures(self._blobs)
        provenance = (self._state.queued or {}).get("provenance") or {}
        history = read_history(provenance.get("history") if self._history is None else self._history)
        page = Page(self._state, self._outputs, self._metrics, figures, self._blobs, self._limit, history)
        yield "index.html", page.render().encode("utf-8", "replace")
        yield "style.css", stylesheet()
        if page.styles.text:
            yield "notebook.css", page.styles.text.encode("utf-8", "replace")
        yield from figures.files()
