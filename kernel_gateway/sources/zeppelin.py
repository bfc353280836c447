"""Zeppelin notes (``.zpln``, or JSON with ``paragraphs``): a paragraph's interpreter becomes the cell's language.

Format: https://zeppelin.apache.org/docs/latest/. A note names an interpreter in a paragraph's first word
(``%python``, ``%spark.pyspark``), or takes its own default. Results of earlier runs are dropped. Zeppelin's
dynamic forms (``${name=default}``, ``z.input``) are not filled in.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import SourceError
from .document import CELL_ID, Document, parse_json
from .program import Cell
from .script import unified

MARKDOWN, RAW = "markdown", "raw"

INTERPRETERS: dict[str, str] = {
    "python": "python",
    "python.ipython": "python",
    "ipython": "python",
    "pyspark": "python",
    "ipyspark": "python",
    "spark.pyspark": "python",
    "spark.ipyspark": "python",
    "livy.pyspark": "python",
    "livy.pyspark3": "python",
    "r": "r",
    "r.r": "r",
    "r.ir": "r",
    "ir": "r",
    "knitr": "r",
    "spark.r": "r",
    "spark.ir": "r",
    "sparkr": "r",
    "spark.sparkr": "r",
    "sh": "bash",
    "sh.terminal": "bash",
    "sql": "sql",
    "jdbc": "sql",
    "spark.sql": "sql",
    "python.sql": "sql",
    "mysql": "sql",
    "postgresql": "sql",
    "psql": "sql",
    "duckdb": "sql",
    "spark": "scala",
    "spark.spark": "scala",
    "java": "java",
    "kotlin": "kotlin",
    "spark.kotlin": "kotlin",
    "julia": "julia",
    "octave": "octave",
    "javascript": "javascript",
    "typescript": "typescript",
    "md": MARKDOWN,
    "md.markdown": MARKDOWN,
    "html": RAW,
    "angular": RAW,
}
"""Zeppelin's interpreter → the language (or the cell type) here."""

_INTERPRETER = re.compile(r"\s*%(?P<name>[A-Za-z][\w.-]*)(?:\((?P<options>[^)]*)\))?[ \t]*(?:\r?\n)?")
_JUPYTER_KERNEL = re.compile(r"kernel\s*=\s*[\"']?(?P<name>[\w.-]+)")


def read_zeppelin(text: str, suffix: str) -> Document:
    """A Zeppelin note as a document. Raises `SourceError` that names the paragraph at fault."""
    note = parse_json(text, "a Zeppelin note")
    paragraphs = note.get("paragraphs") if isinstance(note, dict) else None
    if not isinstance(paragraphs, list):
        raise SourceError("The source is not a Zeppelin note: its field `paragraphs` is missing or not a list.")
    default = note.get("defaultInterpreterGroup")
    main = INTERPRETERS.get(default.lower()) if isinstance(default, str) else None
    if main in (MARKDOWN, RAW):
        main = None
    cells: list[Cell] = []
    for index, paragraph in enumerate(paragraphs):
        cells += _cells(index, paragraph, default if isinstance(default, str) and default else None)
    if main is None:
        main = next(
            (cell.kernel for cell in cells if cell.type == "code" and cell.kernel in INTERPRETERS.values()), None
        )
    for cell in cells:
        if cell.kernel == main:
            cell.kernel = None
    metadata = {"title": note["name"]} if isinstance(note.get("name"), str) else {}
    return Document(format="zeppelin", cells=cells, language=main, metadata=metadata)


def _cells(index: int, paragraph: Any, default: str | None) -> list[Cell]:
    """A paragraph as a cell, with a heading before it if it has a title."""
    if not isinstance(paragraph, dict):
        raise SourceError(f"The Zeppelin note is broken: `paragraphs[{index}]` is not an object.")
    text = paragraph.get("text")
    if text is None:
        return []
    if not isinstance(text, str):
        raise SourceError(f"The Zeppelin note is broken: `paragraphs[{index}].text` is not a string.")
    kernel, source = _interpreter(index, text, default)
    cell = Cell(id=_id(paragraph), type="code", source=unified(source, None), kernel=kernel)
    if kernel in (MARKDOWN, RAW):
        cell.type, cell.kernel = ("markdown", None) if kernel == MARKDOWN else ("raw", None)
    config = paragraph.get("config")
    if isinstance(config, dict) and config.get("enabled") is False and cell.type == "code":
        cell.metadata["tags"] = ["skip-execution"]
    title = paragraph.get("title")
    if not isinstance(title, str) or not title.strip():
        return [cell]
    return [Cell(id="", type="markdown", source=f"## {' '.join(title.split())}"), cell]


def _interpreter(index: int, text: str, default: str | None) -> tuple[str | None, str]:
    """The language (or `MARKDOWN`, `RAW`) of a paragraph and its text without the interpreter's name."""
    match = _INTERPRETER.match(text)
    name = match["name"] if match else default
    source = text[match.end() :] if match else text
    if name is None or (not source.strip() and not match):
        return None, source
    if name.lower() == "jupyter" and match and (kernel := _JUPYTER_KERNEL.search(match["options"] or "")):
        return kernel["name"], source
    if name.lower() not in INTERPRETERS:
        known = ", ".join(sorted(f"%{name}" for name in INTERPRETERS))
        raise SourceError(
            f"`paragraphs[{index}]` of the Zeppelin note uses the interpreter %{name}, which has no kernel here."
            f" Known are {known} and %jupyter(kernel=NAME). Change the interpreter or remove the paragraph."
        )
    return INTERPRETERS[name.lower()], source


def _id(paragraph: dict[str, Any]) -> str:
    value = paragraph.get("id")
    return value if isinstance(value, str) and CELL_ID.match(value) else ""
