"""How metrics changed against the baseline, and whether that is good."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ...events import Event
from ..margins import number_text, percent_text
from .html import Html, el, join

_LESS_IS_BETTER = re.compile(
    r"(?:^|[\W_])(?:loss|error|err|rmse|mse|mae|mape|logloss|perplexity|wer|cer|brier|latency|seconds|duration|time"
    r"|drift|disparity|eer)(?:$|[\W_])",
    re.IGNORECASE,
)
_MORE_IS_BETTER = re.compile(
    r"(?:^|[\W_])(?:accuracy|acc|auc|auroc|f1|f2|precision|recall|r2|score|map|iou|bleu|rouge|ndcg|dice|throughput)"
    r"(?:$|[\W_])",
    re.IGNORECASE,
)

_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*%?\s*")


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


def better_direction(name: str, gates: Sequence[Event]) -> int:
    """1 if more of a metric is better, -1 if less is, 0 if nobody knows: by the run's gates, else by common names."""
    for gate in gates:
        sign = gate_sign(name, str(gate.get("expression", "")))
        if sign:
            return 1 if sign.startswith(">") else -1
    if _LESS_IS_BETTER.search(name):
        return -1
    return 1 if _MORE_IS_BETTER.search(name) else 0


def has_fixed_bound(name: str, expression: str) -> bool:
    """Whether a gate compares a metric with a plain number, so that its bound was the same for earlier runs."""
    sides = re.split(r">=|<=|>|<", expression)
    return len(sides) == 2 and bool(gate_sign(name, expression)) and any(_NUMBER.fullmatch(side) for side in sides)


def gate_sign(name: str, expression: str) -> str:
    """The sign by which a gate compares a metric with something, as if the metric stood on its left; else empty."""
    if name not in expression:
        return ""  # hundreds of metrics meet hundreds of gates: only few are worth an expression of their own
    metric = rf"""(?:(?:last|min|max|mean|first)\(\s*)?(?P<quote>["'`]?){re.escape(name)}(?P=quote)\s*\)?"""
    match = re.match(rf"\s*{metric}\s*(?P<sign>>=|<=|>|<)", expression)
    if match:
        return match["sign"]
    match = re.search(rf"(?P<sign>>=|<=|>|<)\s*{metric}\s*$", expression)
    return {">=": "<=", "<=": ">=", ">": "<", "<": ">"}[match["sign"]] if match else ""
