"""Which direction of a metric is better: by a run's gates, else by the metric's name. Report and comparison agree."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"[a-z]+[0-9]?|[0-9]+")

_LESS_IS_BETTER = re.compile(
    r"loss|logloss|nll|perplexity|error|err|eer|wer|cer|rmse|mse|mae|mape|fid|brier|drift|disparity"
    r"|latency|seconds|duration|time"
)
_MORE_IS_BETTER = re.compile(
    r"accuracy|acc|auc|auroc|f1|f2|precision|recall|r2|score|map|ndcg|iou|dice|bleu|rouge|throughput"
)

_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*%?\s*")


def better_direction(name: str, expressions: Iterable[str]) -> int:
    """1 if more of a metric is better, -1 if less is, 0 if nobody knows.

    ``expressions``: the gates; the first that asks for one of the two decides. Without one, words that are common in
    names do, unless they disagree.
    """
    for expression in expressions:
        if sign := gate_sign(name, expression):
            return 1 if sign.startswith(">") else -1
    words = _WORD.findall(name.lower())
    return any(map(_MORE_IS_BETTER.fullmatch, words)) - any(map(_LESS_IS_BETTER.fullmatch, words))


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
