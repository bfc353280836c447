"""Metrics from a ``metrics.json`` that the program writes, as DVC has it: nested objects, names joined with dots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .findings import Finding, Metric, Remark, Unreadable, read_name, read_number

MAX_DEPTH = 50
"""Levels of nesting that are read."""

_SHOWN = 5


def file_metrics(content: bytes) -> list[Finding]:
    """The numbers in a ``metrics.json``; one remark names what else is in it. Raises nothing."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).rstrip(".")
        return [Remark(f"metrics.json is not read, since it is not JSON: {reason}.")]
    if not isinstance(value, dict):
        return [Remark("metrics.json is not read: it must hold an object of names and numbers.")]
    found: list[Finding] = []
    ignored: list[str] = []
    for name, leaf in _leaves(value, "", MAX_DEPTH):
        number = read_number(leaf)
        try:
            if number is None:
                ignored.append(name)
            else:
                found.append(Metric(read_name(name), number))
        except Unreadable:
            ignored.append(name)
    if ignored:
        more = f" and {len(ignored) - _SHOWN} more" if len(ignored) > _SHOWN else ""
        names = ", ".join(repr(name[:60]) for name in ignored[:_SHOWN])
        found.append(Remark(f"metrics.json holds values that are no numbers and are left out: {names}{more}."))
    return found


def _leaves(value: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict) and depth:
            yield from _leaves(item, f"{name}.", depth - 1)
        else:
            yield name, item
