"""Titles of code cells: what a person reads in the console, in JUnit and in the report."""

from __future__ import annotations

import re

from .program import Cell

LIMIT = 80
"""Longest title, in characters."""

_ATX = re.compile(r" {0,3}#{1,6}[ \t]+(?P<text>.*?)(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_HTML = re.compile(r"<h[1-6][^>]*>(?P<text>.*?)</h[1-6]>", re.IGNORECASE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_COMMENT = re.compile(r"(?:#+'?|//+!?|--+|/\*+|\*+/?)(?:\s+|(?=\w)|$)")
_PERCENT_COMMENT = re.compile(r"%+\{?\s*")
_METADATA = re.compile(r"(?m)^# /// [a-zA-Z0-9-]+$\n(?:^#(?: .*)?$\n)*?^# ///$")
"""A script's metadata (PEP 723)."""

_NOT_MEANT_FOR_READERS = re.compile(
    r"#!|#\||#.*\bcoding[:=]|#\s*(?:noqa|type:|pylint:|mypy:|fmt:|ruff:|region|endregion)\b|%%(?=\w)"
)
_MARKUP = (
    (re.compile(r"<[^>]+>"), ""),
    (re.compile(r"\s*\{#[^}]*\}\s*$"), ""),
    (re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"(\*\*|__|`)(.+?)\1"), r"\2"),
)


def set_titles(cells: list[Cell], language: str | None) -> None:
    """Titles every code cell that has none: the heading right before it (only markdown between), else its
    own first line. A heading serves the first code cell below it; blank code cells don't use it up.
    """
    heading = ""
    for cell in cells:
        if cell.type == "markdown":
            heading = last_heading(cell.source) or heading
        elif cell.type == "code" and not cell.source.strip():
            continue
        else:
            if cell.type == "code" and not cell.title:
                cell.title = heading or first_line(cell.source, language)
            heading = ""


def last_heading(markdown: str) -> str:
    """The last heading in a markdown text as plain text, or an empty string."""
    heading = previous = ""
    fence = ""
    for line in markdown.splitlines():
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence):
                fence = ""
            continue
        if mark:
            fence = mark[1]
        elif match := _ATX.match(line) or _HTML.search(line):
            heading = _plain(match["text"]) or heading
        elif previous.strip() and _SETEXT.match(line) and not previous.lstrip().startswith((">", "-", "*", "|")):
            heading = _plain(previous)
        previous = line
    return heading


def first_line(source: str, language: str | None) -> str:
    """The first line that tells something: a comment's text, else code. Empty for a blank source."""
    percent = language in ("matlab", "octave")
    fallback = ""
    for line in (_METADATA.sub("", source) if "# ///" in source else source).splitlines():
        line = line.strip()
        if not line:
            continue
        fallback = fallback or clean(line)
        if _NOT_MEANT_FOR_READERS.match(line) and not percent:
            continue
        mark = (_PERCENT_COMMENT if percent else _COMMENT).match(line)
        text = line[mark.end() :] if mark else line
        text = text.removesuffix("*/").strip().strip('"' if text.startswith('"""') else "").strip()
        if any(character.isalnum() for character in text):
            return clean(text)
    return fallback


def clean(text: str) -> str:
    """One line of at most `LIMIT` characters without control characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= LIMIT else text[: LIMIT - 1].rstrip() + "…"


def _plain(text: str) -> str:
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return clean(text)
