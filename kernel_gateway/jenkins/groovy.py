"""Python values as Groovy source: whatever a notebook holds becomes a literal, never code."""

from __future__ import annotations

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def text(value: str) -> str:
    r"""A string literal. Single quotes: Groovy puts no ``$`` into these.

    Groovy reads ``\uXXXX`` before all else, in comments too, so that a backslash never stands before a ``u`` alone;
    see UnicodeEscapingReader in Groovy 2.4.
    """
    return "'" + "".join(_ESCAPES.get(character, character) for character in value) + "'"


def comment(words: str) -> str:
    """Words for a ``//`` comment: one line, without backslashes, which Groovy reads in comments too."""
    line = "".join(character if character.isprintable() else " " for character in words)
    return " ".join(line.replace("\\", "/").split())
