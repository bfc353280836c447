"""Plain scripts and snippets: the whole text is one code cell; the suffix tells the language."""

from __future__ import annotations

import re

from .document import Document
from .program import Cell

LANGUAGE_BY_SUFFIX: dict[str, str] = {
    ".py": "python",
    ".R": "r",
    ".r": "r",
    ".sh": "bash",
    ".bash": "bash",
    ".js": "javascript",
    ".ts": "typescript",
    ".java": "java",
    ".kts": "kotlin",
    ".m": "octave",
    ".sql": "sql",
    ".jl": "julia",
}
"""Suffix of a script → its language. The command line resolves a language to an installed kernelspec."""

_HASH_IS_COMMENT = {"python", "r", "bash", "julia", "octave"}


def read_script(text: str, suffix: str) -> Document:
    """A script, whole, as one code cell."""
    language = LANGUAGE_BY_SUFFIX[suffix]
    return Document(format="script", cells=code_cells(unified(text, language)), language=language)


def read_snippet(text: str, suffix: str) -> Document:
    """Code from ``-c`` or stdin, as one cell of a language that only the kernel knows."""
    return Document(format="snippet", cells=code_cells(unified(text, None)))


def code_cells(source: str) -> list[Cell]:
    """The one code cell of a script, still without id and title; none if the text is blank."""
    return [Cell(id="", type="code", source=source)] if source.strip() else []


def unified(text: str, language: str | None) -> str:
    """The text with ``\\n`` line ends; bash, for one, takes ``\\r`` for a part of the last word.

    The ``#!`` line is blanked where ``#`` starts no comment, as kernels, unlike interpreters, choke on it.
    """
    text = re.sub(r"\r\n?", "\n", text)
    if language is not None and language not in _HASH_IS_COMMENT and text.startswith("#!"):
        text = text[text.find("\n") if "\n" in text else len(text) :]
    return text
