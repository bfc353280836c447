"""How metrics changed against the baseline, and whether that is good."""

from __future__ import annotations

import math

from ..margins import number_text, percent_text
from .html import Html, el, join


def change_text(value: float, before: float, better: int) -> Html | str:
    """A change against a baseline, with a sign, in percent and in words; ``better`` as `better_direction` gives it."""
    change = value - before
    if not math.isfinite(change):
        return "–"
    if change == 0:
        return "no change"
    arrow, sign = ("▲", "+") if change > 0 else ("▼", "−")
    share = f" ({sign}{percent_text(abs(change / before))})" if before else ""
    text = f"{arrow} {sign}{number_text(abs(change))}{share}"
    if not better:
        return text
    good = (change > 0) == (better > 0)
    return join([text, " ", el("span", "better" if good else "worse", class_="ok" if good else "bad")])
