"""The section that says what a run asked of its machine, and what it took."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..cells import RunState
from ..text import seconds_text, size_text
from .html import Html, el, table


def _count(value: float) -> str:
    return f"{value:g}"


def _percent(value: float) -> str:
    return f"{value:.0f} %"


def _hours(value: float) -> str:
    return f"{value:.3g} h"


def _size(value: float) -> str:
    return size_text(int(value))


_ROWS: tuple[tuple[str, str | None, str | None, str | None, Callable[[float], str]], ...] = (
    ("GPUs", "gpus", None, None, _count),
    ("GPU-hours", None, "gpu.hours", "max_gpu_hours", _hours),
    ("GPU memory, peak", None, "gpu.memory.peak", None, _size),
    ("GPU utilization, mean", None, "gpu.utilization.mean", None, _percent),
    ("GPU utilization, peak", None, "gpu.utilization.peak", None, _percent),
    ("Memory, peak", "memory", "memory.peak", "max_memory", _size),
    ("CPUs", "cpus", None, None, _count),
    ("CPU time", None, "cpu.seconds", None, seconds_text),
)
"""What, what was asked for, what was measured, the limit, and how it is written."""


def resources_section(state: RunState) -> Html | str:
    """Asked for, used and allowed, a row each; empty for a run of which nothing was measured."""
    asked = _numbers((state.queued or {}).get("resources"))
    used = _numbers((state.finished or {}).get("usage"))
    if not used:
        return ""
    rows = []
    for name, wish, measure, limit, write in _ROWS:
        values = [asked.get(wish or ""), used.get(measure or ""), asked.get(limit or "")]
        if any(values):
            rows.append([name, *("\N{EN DASH}" if value is None else write(value) for value in values)])
    return el(
        "section",
        el("h2", "Resources", id="resources"),
        table(("Resource", "Asked for", "Used", "Limit"), rows, label="Resources"),
        class_="numbers",
    )


def _numbers(values: Any) -> dict[str, float]:
    """The numbers of an event's object; a log may come from another version."""
    found = values.items() if isinstance(values, Mapping) else ()
    return {name: value for name, value in found if isinstance(value, int | float) and not isinstance(value, bool)}
