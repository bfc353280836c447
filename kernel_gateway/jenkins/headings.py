"""The headings of a notebook: its title and its sections, as plain text. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from ..sources.titles import clean

if TYPE_CHECKING:
    from markdown_it.token import Token

    from ..sources import Program


def headings(program: Program) -> list[tuple[int, str]]:
    """Level (1 to 6) and text of each heading in the markdown cells, in order, as CommonMark reads them."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt()
    found = []
    for cell in program.cells:
        if cell.type != "markdown":
            continue
        tokens = parser.parse(cell.source)
        for opening, inline in pairwise(tokens):
            if opening.type == "heading_open" and (words := clean("".join(_words(inline.children or [])))):
                found.append((int(opening.tag[1:]), words))
    return found


def title_and_sections(program: Program, default: str) -> tuple[str, list[str]]:
    """The first heading, or ``default``, and the headings of the highest level below it."""
    found = headings(program)
    if not found:
        return clean(default) or "Notebook", []
    (_, title), *rest = found
    top = min((level for level, _ in rest), default=0)
    return title, [words for level, words in rest if level == top]


def _words(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("text", "code_inline"):
            yield token.content
        elif token.type in ("softbreak", "hardbreak"):
            yield " "
        elif token.children:
            yield from _words(token.children)
