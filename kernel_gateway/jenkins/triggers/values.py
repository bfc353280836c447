"""Reading single fields of a ``triggers.yaml``: each function takes a YAML value and returns what the code works with.

They raise ValueError with the second half of a sentence: “must be a number”. `Schema` puts the first half before it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

Converter = Callable[[Any], Any]

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)", re.IGNORECASE)
LONGEST = 100 * 366 * 86400.0

SCALARS = (bool, int, float, date)
QUOTED = ": put it in quotes"


@dataclass(frozen=True)
class Schema:
    """The fields of a kind of condition, besides the one that names it: name → converter. ``needed`` must be there."""

    main: Converter
    fields: Mapping[str, Converter] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known: what was probably meant, and what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    meant = f"; did you mean {close[0]!r}?" if close else "."
    return f"{meant} There is: {', '.join(names)}."


def text(value: Any) -> str:
    """A text that is not empty. Numbers are none: YAML reads 1_000 and 0x10 otherwise than they were written."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"is {shown(value)}; it must be a text{QUOTED if isinstance(value, SCALARS) else ''}")
    if not all(character.isprintable() or character in "\n\r\t" for character in value):
        raise ValueError(f"is {shown(value)}; it holds a character that can't be printed")
    return value


def job(value: Any) -> str:
    """A job's full name on Jenkins, with its folders: ``ml/retrain``."""
    if not all(part.strip() for part in text(value).strip("/").split("/")):
        raise ValueError(f"is {shown(value)}; write the job's full name, in a folder: ml/retrain")
    return str(value)


def texts(value: Any) -> list[str]:
    """One text or a list of them."""
    if isinstance(value, list):
        if not value:
            raise ValueError("is an empty list; name at least one")
        return [text(item) for item in value]
    return [text(value)]


def positive(value: Any) -> float:
    """A finite number above 0."""
    found = number(value)
    if found <= 0:
        raise ValueError(f"is {shown(value)}; it must be above 0")
    return found


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"is {shown(value)}; it must be a number")
    return float(value)


def share(value: Any) -> float:
    """A number between 0 and 1, both left out."""
    found = number(value)
    if not 0 < found < 1:
        raise ValueError(f"is {shown(value)}; it must lie between 0 and 1")
    return found


def whole(least: int, most: int = 10**9) -> Converter:
    """A converter for whole numbers from ``least`` on."""

    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"is {shown(value)}; it must be a whole number from {least} on")
        return value

    return convert


def boolean(value: Any) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError(f"is {shown(value)}; it must be true or false")
    return value


def duration(value: Any) -> float:
    """Seconds of ``90s``, ``10m``, ``6h``, ``7d``, ``2w`` or several of them: ``1d 12h``. 0 is no time at all."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    parts = _DURATION.findall(value) if isinstance(value, str) else []
    if not parts or _DURATION.sub("", value).strip():
        raise ValueError(f"is {shown(value)}; write a number with a unit: 90s, 10m, 6h, 7d or 2w")
    seconds = sum(float(count) * _UNITS[unit.lower()] for count, unit in parts)
    if seconds > LONGEST:
        raise ValueError(f"is {shown(value)}; that is longer than a century")
    return seconds


def positive_duration(value: Any) -> float:
    """As `duration`, but not 0."""
    seconds = duration(value)
    if seconds <= 0:
        raise ValueError(f"is {shown(value)}; it must be longer than nothing")
    return seconds


def choice(*known: str) -> Converter:
    """A converter for one word out of several."""

    def convert(value: Any) -> str:
        if value not in known or not isinstance(value, str):
            raise ValueError(f"is {shown(value)}{nearest(str(value), known)}")
        return value

    return convert


def model(value: Any) -> str:
    """A registered model of MLflow: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``."""
    if not re.fullmatch(r"models:/[^@/]+(@[^@/]+|/\d+)", text(value)):
        raise ValueError(f"is {shown(value)}; write models:/NAME@ALIAS or models:/NAME/VERSION")
    return str(value)


def parameters(value: Any) -> dict[str, str]:
    """Build parameters: name → text, number or boolean, as Jenkins takes them: as text."""
    if not isinstance(value, dict):
        raise ValueError(f"is {shown(value)}; it must hold a name and a value a line")
    found = {}
    for name, one in value.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name):
            raise ValueError(f"has the name {shown(name)}, which Jenkins does not take")
        if not isinstance(one, str | int | float):
            raise ValueError(f"has {name} = {shown(one)}; a parameter is a text, a number, true or false")
        if "\0" in str(one):
            raise ValueError(f"has {name} = {shown(one)}, with a character that Jenkins can't keep")
        found[name] = str(one).lower() if isinstance(one, bool) else str(one)
    return found


def shown(value: Any) -> str:
    """A value as a sentence repeats it."""
    if isinstance(value, list | dict) and any(isinstance(part, list | dict) for part in _parts(value)):
        return "a list or mapping of others"  # which by YAML's aliases may be longer than any memory
    words = "empty" if value is None else repr(value)
    return words if len(words) <= 60 else words[:59] + "…"


def _parts(value: list[Any] | dict[Any, Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def printable(text: str) -> str:
    """A text of files and databases without what a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)


def span(seconds: float) -> str:
    """Seconds for people: ``45 s``, ``10 min``, ``6 h``, ``30 days``."""
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            # Rounded down: what is not over yet must not look as if it were.
            count = f"{math.floor(seconds / size * 10 + 1e-6) / 10:.1f}".removesuffix(".0")
            return f"{count} {'day' if unit == 'days' and count == '1' else unit}"
    return f"{max(0.0, seconds):.0f} s"
