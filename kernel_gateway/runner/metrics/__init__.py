"""Where metrics come from, whatever the language. To add a source, write a file like `lines` and name it here."""

from __future__ import annotations

from ...events import Event, EventType
from .displays import DisplaySource
from .files import file_metrics
from .findings import Finding, Metric, Remark, Source
from .lines import LineSource
from .scraps import ScrapSource

SOURCES: tuple[type[Source], ...] = (
    LineSource,  # ::metric name=accuracy value=0.93 step=4
    DisplaySource,  # application/vnd.kernel-gateway.metrics+json
    ScrapSource,  # scrapbook's glue, papermill's record
)
"""Sources that read events. `file_metrics` reads the file that a run leaves."""

_READ = frozenset(
    {EventType.STREAM, EventType.DISPLAY, EventType.RESULT, EventType.DISPLAY_UPDATE, EventType.CELL_FINISHED}
)


class MetricReader:
    """All sources together, for one run. The runner feeds it with outputs before they are written."""

    def __init__(self) -> None:
        self._sources = [source() for source in SOURCES]

    def feed(self, event: Event) -> list[Finding]:
        """Metrics and remarks that an event (``type`` and fields) brings; ``cell_finished`` ends the last line.

        Only events of a few types are looked at. Raises nothing, whatever the program printed.
        """
        if event["type"] not in _READ:
            return []
        return [finding for source in self._sources for finding in source.feed(event)]


__all__ = ["SOURCES", "Finding", "Metric", "MetricReader", "Remark", "Source", "file_metrics"]
