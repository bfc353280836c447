"""The results as a picture that can be read on a light page and on a dark one."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from .samples import delays, percentile, values

INK = "#767d86"
"""Of words and axes: at least 4 to 1 against white and against a dark page's background."""

OURS, THEIRS = "#2f8fd0", "#a78b5f"


def plot(result: dict[str, Any], path: Path) -> None:
    """Seconds by workload and contestant, one small chart each: a bar is the median, a dot a round, blue is ours; SVG.

    Where the time of single lines is what counts, milliseconds: the bar is the median, the dot the 99th percentile.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "benchmarks",
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )
    from matplotlib import pyplot

    shown = [chart for workload in result["workloads"].values() if (chart := _chart(workload, result))]
    if not shown:
        shown = [("nothing was measured", "", [])]
    rows = (len(shown) + 1) // 2
    heights = [max(len(chart[2]) for chart in shown[2 * row : 2 * row + 2]) + 1.5 for row in range(rows)]
    figure, axes = pyplot.subplots(
        rows, 2, figsize=(10, 0.26 * sum(heights) + 0.4), squeeze=False, height_ratios=heights
    )
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for number, (axis, (title, unit, bars)) in enumerate(zip(axes.flat, shown, strict=False)):
        _draw(axis, bars)
        axis.set_title(f"{title}, {unit}", loc="left", fontsize=9)
        axis.set_ylim(len(bars) + 1 - heights[number // 2], len(bars) - 0.5)  # bars of a row are equally thick
    figure.tight_layout(h_pad=1.2)
    figure.savefig(path, metadata={"Date": None}, transparent=True)
    pyplot.close(figure)


Bar = tuple[str, float, list[float], bool]
"""Contestant, median, dots, whether it is one of ours."""


def _draw(axis: Any, bars: list[Bar]) -> None:
    for place, (_, middle, points, ours) in enumerate(reversed(bars)):
        axis.barh(place, middle, height=0.65, color=OURS if ours else THEIRS)
        axis.plot(points, [place] * len(points), ".", color=INK, markersize=3)
        end = (max([middle, *points]), place)
        axis.annotate(f"{middle:.3g}", end, (4, 0), textcoords="offset points", va="center", fontsize=7.5)
    axis.set_yticks(range(len(bars)), [bar[0] for bar in reversed(bars)])
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.margins(x=0.12)


def _chart(workload: dict[str, Any], result: dict[str, Any]) -> tuple[str, str, list[Bar]] | None:
    """Title, unit and bars of a workload; None for one without times."""
    most = max((len(samples) for samples in workload["samples"].values()), default=0)
    late = any(map(delays, workload["samples"].values()))
    bars: list[Bar] = []
    for name, samples in workload["samples"].items():
        points = delays(samples) if late else values(samples, "seconds")
        if not points or (len(samples) < most and len(samples) == 1 and name == "papermill"):
            continue  # what runs once takes minutes and would squeeze all others
        ours = result["contestants"][name]["ours"]
        bars.append((name, median(points), [percentile(points, 0.99)] if late else points, ours))
    return (workload["title"], "ms" if late else "s", bars) if bars else None
