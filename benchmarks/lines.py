"""Numbered lines: what a flood prints, and which of them came through."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

TEMPLATE = "{:07d} " + "x" * 91
"""One line, 100 bytes with its newline; it begins with its number."""
LENGTH = len(TEMPLATE.format(0)) + 1


@dataclass(frozen=True)
class NumberedLines:
    """``count`` lines, in order."""

    count: int

    @property
    def text(self) -> str:
        """What a kernel prints."""
        return _text(self.count)

    @property
    def characters(self) -> int:
        """Length of the text, newlines included."""
        return self.count * LENGTH

    def lost(self, texts: Iterable[str]) -> int:
        """How many of the lines do not stand in the texts, whole and in their order; a line counts once.

        ``texts``: pieces of text, cut anywhere. Lines that are not numbered, such as remarks, count for nothing.
        """
        whole, matched, pieces = self.text, 0, iter(texts)
        for piece in pieces:  # as a rule all is well, and seen to be so without a look at each line
            if not whole.startswith(piece, matched):
                break
            matched += len(piece)
        else:
            piece = ""
        found = matched // LENGTH
        last = found - 1
        for line in _lines(chain([whole[found * LENGTH : matched] + piece], pieces)):
            number = int(line[:7]) if line[:7].isdecimal() else -1
            if last < number < self.count and line == TEMPLATE.format(number):
                found += 1
                last = number
        return self.count - found


@functools.cache
def _text(count: int) -> str:
    return "".join(TEMPLATE.format(number) + "\n" for number in range(count))


def _lines(texts: Iterable[str]) -> Iterator[str]:
    rest = ""
    for text in texts:
        *whole, rest = (rest + text).split("\n")
        yield from whole
    if rest:
        yield rest
