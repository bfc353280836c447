"""Metrics of a run: running aggregates that never grow, and ``metrics.json`` as DVC reads it.

``metrics.json`` is flat, name → last value, so that ``dvc metrics show`` and ``diff`` take it as it is. The
history (first, min, max, mean, thinned steps) stands in ``run.json``. NaN and the infinities are strings, as
in the event log, since JSON has no such numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..events import Event, EventType, decode_number, encode_number
from ..settings import Settings
from .bundles import Blobs

MAX_POINTS = 1000
"""Steps of one metric that are kept for curves; longer series are thinned evenly."""

MAX_NAMES = 10_000
"""Metric names of one run that are aggregated; further names stand in the event log only."""


@dataclass
class MetricSummary:
    """The aggregates of one metric. NaN values count and can be ``first`` or ``last``, but not ``min`` or ``max``;
    ``mean`` is NaN as soon as one value is. Gates evaluate these attributes.
    """

    first: float = math.nan
    last: float = math.nan
    min: float = math.nan
    max: float = math.nan
    mean: float = math.nan
    count: int = 0
    last_step: int | None = None
    points: list[tuple[int, float]] = field(default_factory=list, repr=False)
    _stride: int = field(default=1, repr=False)
    _sum: float = field(default=0.0, repr=False)

    def add(self, value: float, step: int | None = None) -> None:
        """Take the next value. Without a step, its position in the series counts as one."""
        value = float(value)
        if self.count == 0:
            self.first = value
        if not math.isnan(value):
            self.min = value if math.isnan(self.min) else min(self.min, value)
            self.max = value if math.isnan(self.max) else max(self.max, value)
        self.last, self.last_step = value, step
        self._sum += value
        if self.count % self._stride == 0:
            self.points.append((self.count if step is None else step, value))
            if len(self.points) >= 2 * MAX_POINTS:
                self.points = self.points[::2]
                self._stride *= 2
        self.count += 1
        self.mean = self._sum / self.count

    def steps(self) -> list[tuple[int, float]]:
        """At most `MAX_POINTS` points (step, value), evenly spread, the last value always among them."""
        points = self.points
        last = (self.count - 1 if self.last_step is None else self.last_step, self.last)
        if self.count and ((self.count - 1) % self._stride):
            points = [*points, last]
        if len(points) <= MAX_POINTS:
            return points
        spread = (len(points) - 1) / (MAX_POINTS - 1)
        return [points[round(index * spread)] for index in range(MAX_POINTS)]

    def to_dict(self) -> dict[str, Any]:
        """The aggregates as ``run.json`` carries them, without the steps."""
        values = {name: encode_number(getattr(self, name)) for name in ("first", "last", "min", "max", "mean")}
        return {"count": self.count, **values}


class MetricTable:
    """All metrics of a run by name, in order of first appearance. Gates and the projections feed one each."""

    def __init__(self) -> None:
        self.summaries: dict[str, MetricSummary] = {}

    def feed(self, event: Event) -> None:
        """Take an event; all but ``metric`` are ignored, and so are values that are no numbers."""
        if event["type"] != EventType.METRIC:
            return
        try:
            value = decode_number(event["value"])
        except (TypeError, ValueError):
            return
        summary = self.summaries.get(event["name"])
        if summary is None:
            if len(self.summaries) >= MAX_NAMES:
                return
            summary = self.summaries[event["name"]] = MetricSummary()
        summary.add(value, event.get("step"))

    def summary(self) -> Mapping[str, MetricSummary]:
        """Name → aggregates so far, as gates take them."""
        return self.summaries


class Metrics:
    """The projection behind ``metrics.json``."""

    def __init__(self, settings: Settings, blobs: Blobs) -> None:
        self._table = MetricTable()

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self._table.feed(event)

    def result(self) -> str:
        """Name → last value, as a JSON text."""
        values = {name: encode_number(summary.last) for name, summary in self._table.summaries.items()}
        return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
