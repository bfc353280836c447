"""The report's files beside its page: images of displays and attachments, curves of metrics, the style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from ..bundles import IMAGE_SUFFIXES, Blobs, image_bytes
from ..metrics import MetricSummary

WIDTH, HEIGHT = 360, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 24


def stylesheet() -> bytes:
    """The page's style sheet, which is part of this package."""
    from importlib import resources

    return resources.files(__package__).joinpath("style.css").read_bytes()


class Figures:
    """Names the images as the page meets them; their bytes are read when the files are written."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._waiting: dict[str, Callable[[], bytes | None]] = {}
        self._images = 0
        self._curves = 0

    def owns(self, name: str) -> bool:
        """Whether this is one of the report's own images."""
        return name in self._waiting

    def image(self, mime: str, data: dict[str, Any], refs: dict[str, Any]) -> str:
        """The file name under which this image of a MIME bundle will be written."""
        self._images += 1
        name = f"image-{self._images:03d}.{IMAGE_SUFFIXES[mime]}"
        self._waiting[name] = lambda: image_bytes(mime, data, refs, self._blobs)
        return name

    def curve(self, name: str, summary: MetricSummary) -> str | None:
        """The file name of a metric's curve; None where there is nothing to draw."""
        points = [(step, value) for step, value in summary.steps() if math.isfinite(value)]
        if len(points) < 2:
            return None
        self._curves += 1
        file = f"curve-{self._curves:03d}.svg"
        self._waiting[file] = lambda: curve_svg(points).encode()
        return file

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of every image that can be read."""
        for name, load in self._waiting.items():
            content = load()
            if content is not None:
                yield name, content


def curve_svg(points: list[tuple[int, float]]) -> str:
    """A line chart. Presentation attributes only, in colours that are readable on light and dark pages."""
    steps, values = [step for step, _ in points], [value for _, value in points]
    left, right, low, high = min(steps), max(steps), min(values), max(values)
    # Halved before subtracting: the span of two huge values of opposite sign would overflow.
    wide, tall = (right - left) or 1, (high / 2 - low / 2) or 1.0

    def at(step: int, value: float) -> str:
        x = _LEFT + (step - left) / wide * (WIDTH - _LEFT - _RIGHT)
        y = HEIGHT - _BOTTOM - (value / 2 - low / 2) / tall * (HEIGHT - _TOP - _BOTTOM)
        return f"{x:.1f},{y:.1f}"

    path = " ".join(at(step, value) for step, value in points)
    floor = HEIGHT - _BOTTOM
    dots = "".join(_dot(at(step, value)) for step, value in points) if len(points) <= 30 else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
        f'<path d="M{_LEFT} {_TOP}V{floor}H{WIDTH - _RIGHT}" fill="none" stroke="#8a929b"/>'
        f'<g font-family="sans-serif" font-size="10" fill="#76808a">'
        f'<text x="{_LEFT - 6}" y="{_TOP + 8}" text-anchor="end">{high:.4g}</text>'
        f'<text x="{_LEFT - 6}" y="{floor}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{_LEFT}" y="{HEIGHT - 8}">{left}</text>'
        f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{right}</text></g>'
        f'<polyline points="{path}" fill="none" stroke="#3584c7" stroke-width="2" stroke-linejoin="round"/>{dots}</svg>'
    )


def _dot(place: str) -> str:
    x, y = place.split(",")
    return f'<circle cx="{x}" cy="{y}" r="2.5" fill="#3584c7"/>'
