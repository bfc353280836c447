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
"""Most points of one metric that `MetricSummary.steps` gives; longer series keep the extremes of even stretches."""

MAX_NAMES = 10_000
"""Metric names of one run that are aggregated; further names stand in the event log only."""

FROM_GATEWAY = "gateway"
"""``source`` of metric events that the gateway measured itself."""

RESOURCE_METRICS = ("memory.peak", "cpu.seconds", "gpu.memory.peak", "gpu.utilization.mean", "gpu.hours")
"""Their names; `docs/gpu.md` says what each is."""

_Point = tuple[int, int, float]  # position in the series, step, value


@dataclass
class MetricSummary:
    """The aggregates of one metric. NaN values count and can be ``first`` or ``last``, but not ``min`` or ``max``;
    ``mean`` is NaN as soon as one value is. Gates evaluate these attributes. ``not_finite``: NaNs and infinities.
    """

    first: float = math.nan
    last: float = math.nan
    min: float = math.nan
    max: float = math.nan
    mean: float = math.nan
    count: int = 0
    last_step: int | None = None
    not_finite: int = 0
    _lows: list[_Point] = field(default_factory=list, repr=False)
    _highs: list[_Point] = field(default_factory=list, repr=False)
    _first_step: int = field(default=0, repr=False)
    _stride: int = field(default=1, repr=False)
    _sum: float = field(default=0.0, repr=False)

    def add(self, value: float, step: int | None = None) -> None:
        """Take the next value. Without a step, its position in the series counts as one."""
        value = float(value)
        count = self.count
        if count == 0:
            self.first, self._first_step = value, 0 if step is None else step
        if not math.isnan(value):
            self.min = value if math.isnan(self.min) else min(self.min, value)
            self.max = value if math.isnan(self.max) else max(self.max, value)
        if not math.isfinite(value):
            self.not_finite += 1
        self.last, self.last_step = value, step
        self._sum += value
        self._keep((count, count if step is None else step, value))
        self.count = count + 1
        self.mean = self._sum / self.count

    def _keep(self, point: _Point) -> None:
        """Into the lowest and highest point of the stretch that this one belongs to."""
        lows, highs = self._lows, self._highs
        if point[0] % self._stride == 0:
            if len(lows) == MAX_POINTS:
                self._lows, self._highs = lows, highs = _halved(lows, highs)
                self._stride *= 2
            if point[0] % self._stride == 0:
                lows.append(point)
                highs.append(point)
                return
        value = point[2]
        # A stretch that began with NaN takes the first number in its place.
        if value < lows[-1][2] or lows[-1][2] != lows[-1][2]:
            lows[-1] = point
        if value > highs[-1][2] or highs[-1][2] != highs[-1][2]:
            highs[-1] = point

    def steps(self) -> list[tuple[int, float]]:
        """At most `MAX_POINTS` points (step, value) in the order of the series, the first and last always among them.

        Up to `MAX_POINTS` values are all there; of more, the lowest and the highest of each stretch.
        """
        if not self.count:
            return []
        lows, highs = self._lows, self._highs
        while self._stride > 1 and 2 * len(lows) > MAX_POINTS - 2:
            lows, highs = _halved(lows, highs)
        last = self.count - 1
        kept = {point[0]: point[1:] for point in (*lows, *highs)}
        kept[0] = (self._first_step, self.first)
        kept[last] = (last if self.last_step is None else self.last_step, self.last)
        return [kept[position] for position in sorted(kept)]

    def to_dict(self) -> dict[str, Any]:
        """The aggregates as ``run.json`` carries them, without the steps."""
        values = {name: encode_number(getattr(self, name)) for name in ("first", "last", "min", "max", "mean")}
        return {"count": self.count, **values}


def _halved(lows: list[_Point], highs: list[_Point]) -> tuple[list[_Point], list[_Point]]:
    """Every two stretches made one. A NaN gives way to any number."""

    def best(points: list[_Point], sign: int) -> list[_Point]:
        return [
            min(points[start : start + 2], key=lambda point: (point[2] != point[2], sign * point[2]))
            for start in range(0, len(points), 2)
        ]

    return best(lows, 1), best(highs, -1)


class MetricTable:
    """All metrics of a run by name, in order of first appearance. Gates and the projections feed one each.

    ``measured`` are the names of those that the gateway measured and the program does not report itself.
    """

    def __init__(self) -> None:
        self.summaries: dict[str, MetricSummary] = {}
        self.measured: set[str] = set()

    @property
    def reported(self) -> dict[str, MetricSummary]:
        """The metrics of the program itself: what says how good the run was, not what it took."""
        return {name: summary for name, summary in self.summaries.items() if name not in self.measured}

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
            if event.get("source") == FROM_GATEWAY:
                self.measured.add(event["name"])
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
