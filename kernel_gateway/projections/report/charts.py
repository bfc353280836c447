"""Charts as SVG text: the curve of a metric over its steps, the trend of a metric over runs.

Presentation attributes only: an SVG file that is shown under the policy may have no style of its own.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 360, 140
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 14, 26
_COLUMNS = WIDTH - _LEFT - _RIGHT


@dataclass(frozen=True)
class Palette:
    """Colours of a chart. ``text`` and ``mark`` and the like have the contrast of text on ``paper``."""

    paper: str
    text: str
    axis: str
    line: str
    mark: str
    missed: str
    bad: str


LIGHT = Palette(
    paper="#ffffff", text="#4a5460", axis="#8a929b", line="#1668b8", mark="#6b4fa0", missed="#8a5a00", bad="#b42318"
)
DARK = Palette(
    paper="#14181d", text="#b4bfca", axis="#5c6874", line="#6fb1f2", mark="#c3a6f5", missed="#e6b450", bad="#ff8f84"
)

Point = tuple[float, float]


@dataclass(frozen=True)
class Level:
    """A horizontal line across a chart: a baseline's value, a gate's bound."""

    label: str
    value: float


class _Frame:
    """Axes and scales of one chart."""

    def __init__(self, points: Sequence[Point], levels: Sequence[Level], palette: Palette) -> None:
        xs = [x for x, _ in points]
        ys = [y for _, y in points] + [level.value for level in levels]
        self.left, self.right, self.low, self.high = min(xs), max(xs), min(ys), max(ys)
        self._palette = palette
        # Halved before subtracting: the span of two huge values of opposite sign would overflow.
        self._wide, self._tall = (self.right / 2 - self.left / 2) or 0.5, (self.high / 2 - self.low / 2) or 0.5

    def x(self, value: float) -> float:
        return _LEFT + (value / 2 - self.left / 2) / self._wide * _COLUMNS

    def y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (value / 2 - self.low / 2) / self._tall * (HEIGHT - _TOP - _BOTTOM)

    def draw(self, parts: Sequence[str], levels: Sequence[Level], first: str, last: str) -> str:
        colours = self._palette
        floor = HEIGHT - _BOTTOM
        high = f'<text x="{_LEFT - 6}" y="{_TOP + 4}" text-anchor="end">{self.high:.4g}</text>'
        low = f'<text x="{_LEFT - 6}" y="{floor + 4}" text-anchor="end">{self.low:.4g}</text>'
        low = low if self.low < self.high else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}"><rect width="{WIDTH}" height="{HEIGHT}" fill="{colours.paper}"/>'
            f'<path d="M{_LEFT} {_TOP}V{floor}H{WIDTH - _RIGHT}" fill="none" stroke="{colours.axis}"/>'
            f'<g font-family="sans-serif" font-size="12" fill="{colours.text}">{high}{low}'
            f'<text x="{_LEFT}" y="{HEIGHT - 8}">{html.escape(first)}</text>'
            f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{html.escape(last)}</text></g>'
            f"{''.join(self._level(level) for level in levels)}{''.join(parts)}</svg>"
        )

    def _level(self, level: Level) -> str:
        y, colour = self.y(level.value), self._palette.mark
        # The label stands where there is room for it: below a line at the top, else above.
        beside = y + 13 if y < _TOP + 14 else y - 4
        return (
            f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}" stroke="{colour}" stroke-dasharray="5 4" fill="none"/>'
            f'<text x="{WIDTH - _RIGHT}" y="{beside:.1f}" text-anchor="end" font-family="sans-serif" font-size="12" '
            f'fill="{colour}">{html.escape(level.label)}</text>'
        )


def curve_svg(points: Sequence[tuple[int, float]], palette: Palette = LIGHT, levels: Sequence[Level] = ()) -> str:
    """A metric over its steps. The line breaks where a value is not finite and where steps start again."""
    finite = [point for point in points if math.isfinite(point[1])]
    frame = _Frame(finite, levels, palette)
    drawn: list[str] = []
    single = len(finite) <= 30
    for part in _unbroken(points):
        thin = thinned(part, _COLUMNS)
        path = " ".join(f"{frame.x(step):.1f},{frame.y(value):.1f}" for step, value in thin)
        drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{palette.line}" stroke-width="2" stroke-linejoin="round"/>'
        )
        if single or len(part) == 1:
            drawn += [_dot(frame.x(step), frame.y(value), palette.line, 2.5) for step, value in thin]
    return frame.draw(drawn, levels, f"step {frame.left}", str(frame.right))


def _unbroken(points: Sequence[tuple[int, float]]) -> list[list[tuple[int, float]]]:
    parts: list[list[tuple[int, float]]] = [[]]
    for step, value in points:
        if not math.isfinite(value):
            parts.append([])
            continue
        if parts[-1] and step < parts[-1][-1][0]:
            parts.append([])
        parts[-1].append((step, value))
    return [part for part in parts if part]


def thinned(points: Sequence[tuple[int, float]], columns: int) -> list[tuple[int, float]]:
    """At most two points a column, its lowest and its highest in order, and the first and last of all."""
    if len(points) <= 2 * columns:
        return list(points)
    kept = [points[0]]
    for column in range(columns):
        bucket = points[column * len(points) // columns : (column + 1) * len(points) // columns]
        low = min(range(len(bucket)), key=lambda index: bucket[index][1])
        high = max(range(len(bucket)), key=lambda index: bucket[index][1])
        kept += [bucket[index] for index in sorted({low, high})]
    return [*kept, points[-1]]


@dataclass(frozen=True)
class TrendPoint:
    """A metric's value in one run; ``value`` is None where it had none. ``kind``: ``ok``, ``missed`` or ``bad``."""

    value: float | None
    kind: str


def trend_svg(
    points: Sequence[TrendPoint], palette: Palette, first: str, last: str, levels: Sequence[Level] = ()
) -> str:
    """A metric over runs, oldest first. Runs that missed a gate are diamonds, runs that did not end well crosses."""
    known = [(float(index), point.value) for index, point in enumerate(points) if point.value is not None]
    frame = _Frame([(0.0, known[0][1]), (float(len(points) - 1), known[0][1]), *known], levels, palette)
    path = " ".join(f"{frame.x(index):.1f},{frame.y(value):.1f}" for index, value in known)
    drawn = [f'<polyline points="{path}" fill="none" stroke="{palette.line}" stroke-width="1.5"/>']
    for index, point in enumerate(points):
        if point.value is None:
            drawn.append(_cross(frame.x(index), HEIGHT - _BOTTOM - 5, palette.bad))
            continue
        x, y = frame.x(index), frame.y(point.value)
        if index == len(points) - 1:
            drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="none" stroke="{palette.axis}"/>')
        mark = {"missed": _diamond, "bad": _cross}.get(point.kind)
        colour = {"missed": palette.missed, "bad": palette.bad}.get(point.kind, palette.line)
        drawn.append(mark(x, y, colour) if mark else _dot(x, y, colour, 3))
    return frame.draw(drawn, levels, first, last)


def _dot(x: float, y: float, colour: str, radius: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'


def _diamond(x: float, y: float, colour: str) -> str:
    return f'<path d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z" fill="{colour}"/>'


def _cross(x: float, y: float, colour: str) -> str:
    return f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" stroke="{colour}" stroke-width="2" fill="none"/>'
