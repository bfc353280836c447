"""Metrics from displays of type ``application/vnd.kernel-gateway.metrics+json``.

The value is an object name → number, or a list of objects with ``name``, ``value`` and perhaps ``step``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ...events import Event
from .findings import Finding, Metric, Remark, Unreadable, read_name, read_number, read_step, shorten

MIME = "application/vnd.kernel-gateway.metrics+json"


MAX_REMARKS = 10
"""Remarks about displays that one run's log gets."""


class DisplaySource:
    """Reads displays, results and updates of displays."""

    def __init__(self) -> None:
        self._remarks = 0

    def feed(self, event: Event) -> list[Finding]:
        """The metrics of an event that has the MIME type among its data."""
        value = mime_value(event, MIME)
        if value is None:
            return []
        cell = event.get("cell")
        if not isinstance(value, dict | list):
            found: list[Finding] = [_remark(f"{shorten(value)} is neither an object nor a list")]
        else:
            found = [_read(name, number, step, cell) for name, number, step in _entries(value)]
        return [finding for finding in found if isinstance(finding, Metric) or self._may_remark()]

    def _may_remark(self) -> bool:
        self._remarks += 1
        return self._remarks <= MAX_REMARKS


def mime_value(event: Event, mime: str) -> Any:
    """The JSON value of one MIME type of an event, or None. Kernels send it as such or as text."""
    data = event.get("data")
    value = data.get(mime) if isinstance(data, dict) else None
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _entries(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield item.get("name"), item.get("value"), item.get("step")
            else:
                yield item, None, None
    elif isinstance(value, dict) and isinstance(value.get("name"), str) and "value" in value:
        yield value["name"], value["value"], value.get("step")
    elif isinstance(value, dict):
        for name, number in value.items():
            yield name, number, None


def _read(name: Any, value: Any, step: Any, cell: int | None) -> Finding:
    number = read_number(value)
    try:
        name = read_name(name)
        if number is None:
            raise Unreadable(f"the value {shorten(value)} of {shorten(name)} is not a number")
        return Metric(name, number, read_step(step), cell)
    except Unreadable as error:
        return _remark(str(error))


def _remark(reason: str) -> Remark:
    return Remark(f"Part of a display of type {MIME} is not read as a metric: {reason}.")
