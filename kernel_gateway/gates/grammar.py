"""The grammar of gates, by recursive descent.

gate        comparison ("and" comparison)*
comparison  sum (sign sum)+                       sign: >= <= > < == !=
sum         product (("+" | "-") product)*
product     unary (("*" | "/") unary)*
unary       ("-" | "+") unary | atom
atom        NUMBER ["%"] | "abs" "(" sum ")" | aggregate "(" metric ")" | metric | "(" sum ")"
metric      NAME | QUOTED | ("baseline" | "champion") ["." (NAME | QUOTED)]
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NoReturn

from ..errors import GateError
from .expressions import (
    AGGREGATES,
    Absolute,
    Arithmetic,
    Expression,
    MetricValue,
    Negated,
    Number,
    metrics_in,
)
from .gate import OPERATORS, Comparison, Gate

MAX_LENGTH = 1000
"""Longest gate, in characters."""

MAX_TOKENS = 100
"""Most tokens of a gate; bounds how deep it can nest."""

BASELINES = ("baseline", "champion")
"""Words for what the run is compared with."""

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
    | (?P<baseline>(?:baseline|champion)(?![\w@:]))
    | (?P<name>[^\W\d][\w.@:]*(?:[-/]+[\w.@:]+)*)
    | (?P<quoted>"[^"]*"|'[^']*'|`[^`]*`)
    | (?P<sign>>=|<=|==|!=|>|<)
    | (?P<mark>[-+*/()%.])
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_AFTER_DOT = re.compile(r"[\w.@:]+(?:[-/]+[\w.@:]+)*")

_HINTS = {
    "=": "Write == for “equal”.",
    "≥": "Write >=.",
    "≤": "Write <=.",
    "≠": "Write !=.",
    "&": "Write “and”.",
    "|": "A gate has no “or”.",
    "[": "Use parentheses.",
    "^": "A gate has no powers.",
    '"': "The quote is not closed.",
    "'": "The quote is not closed.",
    "`": "The quote is not closed.",
}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


def parse_gate(text: str) -> Gate:
    """Read a gate as the user wrote it. Raises `errors.GateError`, whose text points at the column at fault."""
    return Gate(text, Parser(text).gate())


class Parser:
    """Reads one gate. All its errors are `GateError`."""

    def __init__(self, text: str) -> None:
        self._text = re.sub(r"\s", " ", text)
        if len(text) > MAX_LENGTH:
            raise GateError(f"A gate may have {MAX_LENGTH} characters; this has {len(text)}.", field="require")
        self._tokens = self._tokenize()
        self._at = 0
        self._bare_at: int | None = None  # where `baseline` stands alone in the comparison being read

    def gate(self) -> tuple[Comparison, ...]:
        """The comparisons that all have to hold."""
        comparisons = [self._comparison()]
        while self._take_word("and"):
            comparisons.append(self._comparison())
        if self._token.kind != "end":
            if self._token.text == "or":
                self._fail(
                    "A gate has no “or”: give several gates if all must hold, or print a metric that says which holds."
                )
            self._fail("Here the gate should end, or go on with “and”, an operator or a comparison.")
        return tuple(comparisons)

    # -- tokens --------------------------------------------------------------------------------------

    def _tokenize(self) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        while not tokens or tokens[-1].kind != "end":
            match = _TOKEN.match(self._text, position)
            if match is None:
                start = position + len(self._text[position:]) - len(self._text[position:].lstrip())
                char = self._text[start]
                number = "Write the name in quotes, or the number on its own." if char.isdigit() else ""
                self._fail(_HINTS.get(char) or number or f"{char!r} has no meaning in a gate.", start)
            kind = str(match.lastgroup)
            tokens.append(_Token(kind, match[kind], match.start(kind)))
            position = match.end()
            if kind == "baseline" and self._text[position : position + 1] == ".":
                name = _AFTER_DOT.match(self._text, position + 1)
                if name is not None:
                    tokens += (_Token("mark", ".", position), _Token("name", name[0], name.start()))
                    position = name.end()
            if len(tokens) > MAX_TOKENS:
                self._fail("The gate is too long to judge; make several of it.", tokens[-1].start)
        return tokens

    @property
    def _token(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._token
        self._at += 1
        return token

    def _take_mark(self, mark: str) -> bool:
        if self._token.kind == "mark" and self._token.text == mark:
            self._at += 1
            return True
        return False

    def _take_word(self, word: str) -> bool:
        if self._token.kind == "name" and self._token.text == word:
            self._at += 1
            return True
        return False

    def _fail(self, reason: str, column: int | None = None) -> NoReturn:
        column = self._token.start if column is None else column
        raise GateError(
            f"The gate can't be read at column {column + 1}. {reason}\n    {self._text}\n    {' ' * column}^",
            field="require",
        )

    # -- grammar -------------------------------------------------------------------------------------

    def _comparison(self) -> Comparison:
        start = self._token.start
        self._bare_at = None
        operands = [self._sum()]
        signs: list[str] = []
        while self._token.kind == "sign":
            signs.append(self._next().text)
            operands.append(self._sum())
        if not signs:
            self._fail(f"Here a comparison is missing, one of {' '.join(OPERATORS)}: for example accuracy >= 0.92.")
        before = self._tokens[self._at - 1]
        text = self._text[start : before.start + len(before.text)].strip()
        return Comparison(self._name_baselines(tuple(operands)), tuple(signs), text)

    def _sum(self) -> Expression:
        left = self._product()
        while self._token.kind == "mark" and self._token.text in ("+", "-"):
            left = Arithmetic(self._next().text, left, self._product())
        return left

    def _product(self) -> Expression:
        left = self._unary()
        while self._token.kind == "mark" and self._token.text in ("*", "/"):
            left = Arithmetic(self._next().text, left, self._unary())
        return left

    def _unary(self) -> Expression:
        if self._take_mark("-"):
            return Negated(self._unary())
        if self._take_mark("+"):
            return self._unary()
        return self._atom()

    def _atom(self) -> Expression:
        token = self._token
        if token.kind == "number":
            return self._number()
        if self._take_mark("("):
            inner = self._sum()
            self._close()
            return inner
        follows = self._tokens[self._at + 1] if token.kind == "name" else None
        if follows is not None and follows.kind == "mark" and follows.text == "(":
            return self._call()
        return self._metric("last")

    def _number(self) -> Number:
        token = self._next()
        value = float(token.text)
        if math.isinf(value):
            self._fail("This number is too large.", token.start)
        return Number(value / 100 if self._take_mark("%") else value)

    def _call(self) -> Expression:
        token = self._next()
        self._at += 1
        if token.text == "abs":
            inner: Expression = Absolute(self._sum())
        elif token.text in AGGREGATES:
            inner = self._metric(token.text)
        else:
            self._fail(f"There is no function {token.text!r}; there are abs, {', '.join(AGGREGATES)}.", token.start)
        self._close()
        return inner

    def _close(self) -> None:
        if not self._take_mark(")"):
            self._fail("Here a closing parenthesis is missing.")

    def _metric(self, aggregate: str) -> MetricValue:
        token = self._token
        if token.kind == "baseline":
            self._at += 1
            if self._take_mark("."):
                return self._plain_metric(aggregate, True)
            self._bare_at = token.start
            return _metric_value("", aggregate, True)  # named when the whole comparison is read
        return self._plain_metric(aggregate, False)

    def _plain_metric(self, aggregate: str, of_baseline: bool) -> MetricValue:
        token = self._token
        if token.kind == "quoted" and token.text[1:-1].strip():
            name = token.text[1:-1]
        elif token.kind == "name" and token.text not in ("and", "or"):
            name = token.text
        else:
            what = "a metric's name" if of_baseline or aggregate != "last" else "a metric's name or a number"
            self._fail(f"Here {what} is missing.")
        self._at += 1
        return _metric_value(name, aggregate, of_baseline)

    def _name_baselines(self, operands: tuple[Expression, ...]) -> tuple[Expression, ...]:
        """The operands with each bare ``baseline`` standing for the one metric that it is compared with."""
        if self._bare_at is None:
            return operands
        names = _own_names(operands[:1]) or _own_names(operands)
        if len(names) != 1:
            known = "no metric stands" if not names else f"several metrics ({', '.join(names)}) stand"
            self._fail(f"Which metric of the baseline? Write baseline.NAME, since {known} on the left.", self._bare_at)
        return tuple(_renamed(operand, names[0]) for operand in operands)


def _metric_value(name: str, aggregate: str, of_baseline: bool) -> MetricValue:
    return MetricValue(name, next(known for known in AGGREGATES if known == aggregate), of_baseline)


def _own_names(operands: tuple[Expression, ...]) -> list[str]:
    """Names of this run's metrics in some operands, each once."""
    found = (metric.name for operand in operands for metric in metrics_in(operand) if not metric.of_baseline)
    return list(dict.fromkeys(found))


def _renamed(expression: Expression, name: str) -> Expression:
    if isinstance(expression, MetricValue):
        return expression if expression.name else MetricValue(name, expression.aggregate, True)
    if isinstance(expression, Negated):
        return Negated(_renamed(expression.operand, name))
    if isinstance(expression, Absolute):
        return Absolute(_renamed(expression.operand, name))
    if isinstance(expression, Arithmetic):
        return Arithmetic(expression.operator, _renamed(expression.left, name), _renamed(expression.right, name))
    return expression
