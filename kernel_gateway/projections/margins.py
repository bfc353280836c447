"""Values of metrics and gates for people. JUnit and the report say by how much a gate was missed in the same words."""

from __future__ import annotations

import math
from typing import Any

from ..events import Event, decode_number


def number_text(value: Any) -> str:
    """A value as tables show it: six digits, a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        return f"{value:.6g}"
    return str(value)


def finite(value: Any) -> float | None:
    """The number behind an event's value, None where it is none or not finite."""
    try:
        number = decode_number(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def judged(gate: Event) -> bool:
    """Whether a gate was evaluated; one that compares with a baseline is not as long as there is none."""
    return not (gate.get("passed") and gate.get("bound") is None)


def margin_text(gate: Event) -> str:
    """By how much a gate was met or missed, e.g. ``missed by 0.02 (2.2 %)``; empty where that makes no sense."""
    value, bound = finite(gate.get("value")), finite(gate.get("bound"))
    if value is None or bound is None:
        return ""
    distance = abs(value - bound)
    if not math.isfinite(distance):
        return ""
    share = f" ({percent_text(distance / abs(bound))})" if bound else ""
    if distance == 0:
        return "exactly at the bound"
    return f"{'met' if gate.get('passed') else 'missed'} by {number_text(distance)}{share}"


def percent_text(share: float) -> str:
    """A share in percent, three digits."""
    return f"{share * 100:.3g} %" if math.isfinite(share) else "– %"
