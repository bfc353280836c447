"""What metric sources give back, and how they read numbers."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Protocol

from ...events import Event

MAX_NAME = 250
"""Longest metric name in characters; MLflow takes no longer ones."""

_NOT_FINITE = re.compile(r"\s*[-+]?(?:nan|inf(?:inity)?)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Metric:
    """A value that the program reported. `value` may be NaN or infinite."""

    name: str
    value: float
    step: int | None = None
    cell: int | None = None


@dataclass(frozen=True)
class Remark:
    """A sentence for the log: something looked like a metric and isn't one."""

    message: str


Finding = Metric | Remark


class Source(Protocol):
    """One way in which programs report metrics. The package's page lists them; each keeps its own state."""

    def feed(self, event: Event) -> list[Finding]:
        """What an event reports. Called with every output event and ``cell_finished``, in order. Raises nothing."""


class Unreadable(ValueError):
    """A value or step isn't one; the text says why, as the end of a sentence."""


def read_number(value: Any) -> float | None:
    """A JSON value as a metric's value: a number, or text such as ``NaN`` and ``-Infinity``; else None.

    Kernels write what JSON has no number for as such text.
    """
    if isinstance(value, str):
        return float(value) if _NOT_FINITE.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def read_step(value: Any) -> int | None:
    """A step: a whole number of at most 63 bits, also as text or as 4.0; None for none. Raises `Unreadable`."""
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        step = int(value)
        if not isinstance(value, str) and step != value:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"the step {shorten(value)} is not a whole number") from None
    if not -(2**63) <= step < 2**63:
        raise Unreadable(f"the step {shorten(value)} is out of range")
    return step


def read_name(value: Any) -> str:
    """A metric's name, blanks and line ends in it as single blanks. Raises `Unreadable`."""
    name = " ".join(value.split()) if isinstance(value, str) else ""
    if not name:
        raise Unreadable(f"{shorten(value)} is not a name")
    if len(name) > MAX_NAME:
        raise Unreadable(f"the name {shorten(value)} is longer than {MAX_NAME} characters")
    # Names stand in terminals, XML and URLs: no escape sequences, no halves of characters.
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        raise Unreadable(f"the name {shorten(value)} has control characters in it")
    return name


def shorten(value: Any) -> str:
    """A value as a message shows it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, a structure of thousands of levels
        return f"of type {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "…"
