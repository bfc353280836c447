"""The expressions in a gate, and what they are worth given metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol


class MetricLike(Protocol):
    """The aggregates of one metric, as `projections.metrics.MetricSummary` has them."""

    @property
    def first(self) -> float: ...
    @property
    def last(self) -> float: ...
    @property
    def min(self) -> float: ...
    @property
    def max(self) -> float: ...
    @property
    def mean(self) -> float: ...
    @property
    def count(self) -> int: ...


Metrics = Mapping[str, MetricLike]
Aggregate = Literal["first", "last", "min", "max", "mean", "count"]

AGGREGATES: tuple[Aggregate, ...] = ("first", "last", "min", "max", "mean", "count")


class Undefined(Exception):
    """An expression has no value; the text is a sentence that says why and what to do."""


class NoBaseline(Exception):
    """An expression needs a baseline, and there is none yet."""


@dataclass(frozen=True)
class Number:
    """A number as written; percentages are fractions already."""

    value: float

    def evaluate(self, metrics: Metrics, baseline: Metrics | None) -> float:
        """The number."""
        return self.value


@dataclass(frozen=True)
class MetricValue:
    """An aggregate of a metric of this run or, with `of_baseline`, of the one it is compared with."""

    name: str
    aggregate: Aggregate = "last"
    of_baseline: bool = False

    def evaluate(self, metrics: Metrics, baseline: Metrics | None) -> float:
        """Its value. Raises `Undefined` for a metric that isn't there or is NaN, and `NoBaseline`."""
        if self.of_baseline and baseline is None:
            raise NoBaseline
        place = baseline if self.of_baseline and baseline is not None else metrics
        summary = place.get(self.name)
        if summary is None:
            raise Undefined(_missing(self.name, place, self.of_baseline))
        value = float(getattr(summary, self.aggregate))
        if math.isnan(value):
            owner = "The baseline's metric" if self.of_baseline else "The metric"
            what = "" if self.aggregate == "last" else f"'s {self.aggregate}"
            raise Undefined(f"{owner} {self.name!r}{what} is NaN (not a number); a gate never passes on it.")
        return value


@dataclass(frozen=True)
class Negated:
    """Unary minus."""

    operand: Expression

    def evaluate(self, metrics: Metrics, baseline: Metrics | None) -> float:
        """Minus the operand's value. Raises as the operand does."""
        return -self.operand.evaluate(metrics, baseline)


@dataclass(frozen=True)
class Absolute:
    """``abs(…)``."""

    operand: Expression

    def evaluate(self, metrics: Metrics, baseline: Metrics | None) -> float:
        """The operand's value without its sign. Raises as the operand does."""
        return abs(self.operand.evaluate(metrics, baseline))


@dataclass(frozen=True)
class Arithmetic:
    """Two expressions and one of ``+ - * /`` between them."""

    operator: str
    left: Expression
    right: Expression

    def evaluate(self, metrics: Metrics, baseline: Metrics | None) -> float:
        """The result. Raises `Undefined` where there is none (a division by zero), else as the operands do."""
        # Both sides first, so that a metric missing on the right is named even if the left needs a baseline.
        left, right = evaluate_all((self.left, self.right), metrics, baseline)
        if self.operator == "+":
            value = left + right
        elif self.operator == "-":
            value = left - right
        elif self.operator == "*":
            value = left * right
        elif right == 0:
            raise Undefined(f"The gate divides {left:g} by zero.")
        else:
            value = left / right
        if math.isnan(value):
            raise Undefined(f"{left:g} {self.operator} {right:g} is NaN (not a number); a gate never passes on it.")
        return value


Expression = Number | MetricValue | Negated | Absolute | Arithmetic


def evaluate_all(expressions: tuple[Expression, ...], metrics: Metrics, baseline: Metrics | None) -> tuple[float, ...]:
    """The values of several expressions. `Undefined` from any of them goes before `NoBaseline`."""
    values: list[float] = []
    lacks_baseline = False
    for expression in expressions:
        try:
            values.append(expression.evaluate(metrics, baseline))
        except NoBaseline:
            lacks_baseline = True
    if lacks_baseline:
        raise NoBaseline
    return tuple(values)


def metrics_in(expression: Expression) -> Iterator[MetricValue]:
    """The metrics that an expression names, from left to right."""
    if isinstance(expression, MetricValue):
        yield expression
    elif isinstance(expression, Negated | Absolute):
        yield from metrics_in(expression.operand)
    elif isinstance(expression, Arithmetic):
        yield from metrics_in(expression.left)
        yield from metrics_in(expression.right)


def _missing(name: str, metrics: Metrics, of_baseline: bool) -> str:
    """What to say about a name that isn't there: near names, and the trap that dashes and slashes belong to names."""
    owner = "The baseline" if of_baseline else "The run"
    if not metrics:
        how = "" if of_baseline else ' Print a line such as "::metric name=accuracy value=0.93" to record one.'
        return f"{owner} has no metric {name!r}; it has none at all.{how}"
    import difflib  # only for this message

    folded = {known.casefold(): known for known in metrics}
    near = [folded[match] for match in difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)]
    for separator in "-/":
        if any(part in metrics for part in name.split(separator)[:-1]):
            return (
                f"{owner} has no metric {name!r}. If {separator!r} is meant to calculate, put blanks around it: "
                f"{f' {separator} '.join(name.split(separator))}."
            )
    if near:
        return f"{owner} has no metric {name!r}; did you mean {' or '.join(map(repr, near))}?"
    shown = list(metrics)[:10]
    more = " …" if len(metrics) > len(shown) else ""
    return f"{owner} has no metric {name!r}; it has {', '.join(map(repr, shown))}{more}."
