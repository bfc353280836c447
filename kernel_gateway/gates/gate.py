"""A gate as a whole: its comparisons, and the verdict on them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..events import encode_number
from .expressions import Expression, Metrics, NoBaseline, Undefined, evaluate_all, metrics_in

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Verdict:
    """What a gate says about a run, as the ``gate`` event carries it.

    ``value`` and ``bound`` are the two sides of the comparison that decided; null when it could not be evaluated.
    ``message`` says why that was so, which part of several was not met, or that there is no baseline yet.
    """

    expression: str
    value: float | None
    bound: float | None
    passed: bool
    message: str

    def to_dict(self) -> dict[str, Any]:
        """The fields of a ``gate`` event; what is not finite as text, since JSON has no such numbers."""
        value, bound = (None if side is None else encode_number(side) for side in (self.value, self.bound))
        return {
            "expression": self.expression,
            "value": value,
            "bound": bound,
            "passed": self.passed,
            "message": self.message,
        }


@dataclass(frozen=True)
class Comparison:
    """``operands[i] operators[i] operands[i + 1]`` for each i; ``text`` is how it was written."""

    operands: tuple[Expression, ...]
    operators: tuple[str, ...]
    text: str

    def evaluate(self, metrics: Metrics, baseline: Metrics | None) -> Verdict:
        """Judge this comparison alone."""
        try:
            values = evaluate_all(self.operands, metrics, baseline)
        except Undefined as error:
            return Verdict(self.text, None, None, False, str(error))
        except NoBaseline:
            return Verdict(self.text, self._without_baseline(metrics), None, True, NO_BASELINE)
        links = list(zip(values, self.operators, values[1:], strict=False))
        decisive = next((index for index, (a, sign, b) in enumerate(links) if not OPERATORS[sign](a, b)), None)
        left, _, right = links[decisive or 0]
        # In `0.1 < loss < 0.9` what is measured stands on the right of the first sign.
        if len(links) > 1 and not any(metrics_in(self.operands[decisive or 0])):
            left, right = right, left
        return Verdict(self.text, left, right, decisive is None, "")

    def _without_baseline(self, metrics: Metrics) -> float | None:
        try:
            return self.operands[0].evaluate(metrics, None)
        except NoBaseline:
            return None


NO_BASELINE = "There is no baseline yet to compare with, so this passes."


@dataclass(frozen=True)
class Gate:
    """A parsed gate; `parse_gate` makes it. ``expression`` is the text as written."""

    expression: str
    comparisons: tuple[Comparison, ...]

    @property
    def needs_baseline(self) -> bool:
        """Whether any part compares with a baseline."""
        return any(
            metric.of_baseline
            for comparison in self.comparisons
            for operand in comparison.operands
            for metric in metrics_in(operand)
        )

    def evaluate(self, metrics: Metrics, baseline: Metrics | None) -> Verdict:
        """Judge a run by its metrics. The runner calls it once all cells are done. Raises nothing.

        A metric that is missing or NaN never passes. `baseline` is None as long as nothing was ever good enough to
        be one; what compares with it then passes with a remark, since the first run could never pass
        otherwise. A baseline that lacks the metric does not pass.
        """
        verdicts = [comparison.evaluate(metrics, baseline) for comparison in self.comparisons]
        missed = [verdict for verdict in verdicts if not verdict.passed]
        decisive = missed[0] if missed else next((v for v in verdicts if v.message), verdicts[0])
        message = decisive.message
        if missed and not message and len(verdicts) > 1:
            message = f"Not met: {'; '.join(verdict.expression for verdict in missed)}."
        return Verdict(self.expression, decisive.value, decisive.bound, not missed, message)
