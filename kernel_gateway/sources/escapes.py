"""How names, strings and numbers are written in the languages that parameters go to."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

_SHORT = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def c_string(text: str, escape: Callable[[int], str], *, dollar: bool = False) -> str:
    """``text`` in double quotes with the escapes that C's descendants share.

    ``escape`` writes any other code point that isn't printable ASCII; ``dollar`` escapes ``$`` as well.
    """
    return f'"{"".join(_escaped(character, escape, dollar) for character in text)}"'


def _escaped(character: str, escape: Callable[[int], str], dollar: bool) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if character == "$" and dollar:
        return "\\$"
    return character if " " <= character <= "~" else escape(ord(character))


def utf16(code: int) -> str:
    """A code point as ``\\uXXXX``, beyond the basic plane as two of them: Java's, Kotlin's and Scala's way."""
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def in_double(text: str) -> str:
    """``text`` in double quotes that are doubled inside, with no other escape: MATLAB's way."""
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def chunks(text: str, size: int) -> Iterator[str]:
    """``text`` in pieces of at most ``size`` characters; one empty piece for an empty text."""
    yield text[:size]
    for start in range(size, len(text), size):
        yield text[start : start + size]


def compact_json(value: Any) -> str:
    """JSON in ASCII; NaN and the infinities by JavaScript's names."""
    return json.dumps(value, ensure_ascii=True)


class Names:
    """Which names a translator can assign to; `assignable` is asked before anything is written."""

    name_pattern = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)

    @classmethod
    def assignable(cls, name: str) -> bool:
        """Whether ``name`` can be a variable's name."""
        return cls.name_pattern.match(name) is not None


def float_literal(val: float, nan: str, infinity: str, minus_infinity: str) -> str:
    """A float by its shortest exact digits, or by the language's words for those that have none."""
    if math.isnan(val):
        return nan
    return repr(val) if math.isfinite(val) else infinity if val > 0 else minus_infinity


def exact_literal(val: int) -> str:
    """A whole number for a language that only has floats. Raises ValueError where that would round it."""
    if int(float(val)) != val:
        raise ValueError("it keeps whole numbers as floats and would round this one; give it as a string")
    return str(val)
