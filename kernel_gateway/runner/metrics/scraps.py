"""Metrics from what notebooks record with scrapbook's ``glue`` and, before it, papermill's ``record``.

Scrapbook's schema is ``{"name", "data", "encoder", "version"}``; papermill's record is an object name → value. Both may
hold anything: what isn't a number is no metric, and no mistake either.
"""

from __future__ import annotations

from typing import Any

from ...events import Event
from .displays import mime_value
from .findings import Finding, Metric, Unreadable, read_name, read_number

SCRAP = "application/scrapbook.scrap.json+json"
RECORD = "application/papermill.record+json"


class ScrapSource:
    """Reads scraps and records off displays."""

    def feed(self, event: Event) -> list[Finding]:
        """The numbers among an event's scraps."""
        found: list[Finding] = []
        scrap = mime_value(event, SCRAP)
        if isinstance(scrap, dict):
            found += _metric(scrap.get("name"), scrap.get("data"), event)
        record = mime_value(event, RECORD)
        if isinstance(record, dict):
            for name, value in record.items():
                found += _metric(name, value, event)
        return found


def _metric(name: Any, value: Any, event: Event) -> list[Finding]:
    number = read_number(value)
    try:
        return [] if number is None else [Metric(read_name(name), number, None, event.get("cell"))]
    except Unreadable:
        return []
