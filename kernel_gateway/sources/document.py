"""What a reader of one format hands over, and what is done to it whatever the format: ids, kernels, titles."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import SourceError
from .program import Cell
from .titles import set_titles

CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
"""A cell id as nbformat 4.5 allows it."""

_KERNEL_LINE = re.compile(r"\s*^%%kernel(?:[ \t]+(?P<name>\S.*?))?[ \t]*(?:\r?\n|\Z)", re.MULTILINE)


@dataclass(kw_only=True)
class Document:
    """A source as one reader understood it. A cell's ``id`` may be empty, illegal or repeated, its ``title``
    empty; `finish` sees to both. ``kernel`` and ``language`` are as in `Program`.
    """

    format: str
    cells: list[Cell]
    kernel: str | None = None
    language: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


Reader = Callable[[str, str], Document]
"""Reads a source's text; the second argument is its suffix, e.g. ``.py``. Raises `SourceError`."""


def finish(document: Document, kernel: str | None = None) -> Document:
    """Gives every cell a legal, unique id, its kernel and its title. `load_source` calls it once per source.

    ``kernel`` is the one that the user chose, for the comment marks of a snippet whose language is unknown.

    Raises `SourceError` for a ``%%kernel`` line without a name and for text that isn't Unicode.
    """
    for index, cell in enumerate(document.cells):
        _check_text(index, cell)
        if cell.type == "code":
            _take_kernel_line(index, cell)
    number_cells(document.cells)
    set_titles(document.cells, document.language or kernel)
    return document


def number_cells(cells: list[Cell]) -> None:
    """Keeps legal ids, the first of each; the other cells get ``cell-0007`` after their position, the same
    for the same source every time.
    """
    taken: set[str] = set()
    unnamed: list[int] = []
    for index, cell in enumerate(cells):
        if CELL_ID.match(cell.id) and cell.id not in taken:
            taken.add(cell.id)
        else:
            unnamed.append(index)
    for index in unnamed:
        cells[index].id = free_id(f"cell-{index:04}", taken)
        taken.add(cells[index].id)


def free_id(wanted: str, taken: set[str]) -> str:
    """``wanted``, or with the first number behind it that is free."""
    candidate, number = wanted, 2
    while candidate in taken:
        candidate, number = f"{wanted}-{number}", number + 1
    return candidate


def parse_json(text: str, what: str) -> Any:
    """JSON as data. Raises `SourceError` that says what should have been JSON, and where it isn't."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SourceError(
            f"The source is not {what}: it isn't JSON (line {error.lineno}, column {error.colno}: {error.msg})."
        ) from None
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of too many digits
        raise SourceError(f"The source is not {what} that can be read: {error}.") from None


def _check_text(index: int, cell: Cell) -> None:
    try:
        cell.source.encode()
    except UnicodeEncodeError:
        raise SourceError(
            f"cells[{index}].source contains half of a Unicode surrogate pair (an escape such as \\ud83d on its own),"
            " which no kernel can be sent. Remove that character."
        ) from None


def _take_kernel_line(index: int, cell: Cell) -> None:
    match = _KERNEL_LINE.match(cell.source)
    if match is None:
        return
    if match["name"] is None:
        raise SourceError(
            f"cells[{index}] begins with %%kernel but names none. Write for example `%%kernel ir`;"
            " `kernel-gateway kernels list` shows the names."
        )
    cell.kernel = match["name"]
    cell.source = cell.source[match.end() :]
