"""Scripts with cell markers (``# %%``, jupytext's light format) and R Markdown, read by jupytext.

Formats: https://jupytext.readthedocs.io/en/latest/formats-scripts.html and formats-markdown.html. A script
is only taken apart where it says so: by a ``%%`` marker in a comment, or by a jupytext header. Quarto
documents are read as R Markdown, since jupytext hands them to the ``quarto`` program otherwise.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

from ..errors import SourceError
from .document import Document
from .program import Cell, CellType
from .script import LANGUAGE_BY_SUFFIX, read_script, unified

_COMMENTS = {"javascript": "//", "typescript": "//", "java": "//", "kotlin": "//", "sql": "--", "octave": "%"}
_STAND_INS = {".sql": ".lua", ".kts": ".java", ".bash": ".sh"}
"""jupytext lacks these suffixes; it reads markers alike in any language with the same comment mark."""

_HEADER = re.compile(r"format_name:\s*['\"]?(?P<name>[a-z]+)")
_QUARTO_KERNEL = re.compile(r"---\n(?:(?!---).*\n)*?jupyter:[ \t]*(?P<name>[\w.-]+)[ \t]*\n")
_MAGIC = re.compile(r"%%(?P<language>[\w+-]+)[^\n]*(?:\n|\Z)")
_OPTION = re.compile(r"(?:#|//|--|%)\|[ \t]*(?P<name>[\w.-]+)[ \t]*:[ \t]*(?P<value>.*?)[ \t]*\Z")
_NOT_CODE = {"html", "css", "latex", "markdown", "svg", "mermaid", "dot", "asis", "comment", "cat", "verbatim", "embed"}
_OWN_METADATA = {"lines_to_next_cell", "lines_to_end_of_cell_marker", "comment_questions", "cell_marker"}
_MARKDOWN_FORMATS = {".Rmd": ("Rmd", "rmarkdown"), ".rmd": ("Rmd", "rmarkdown"), ".md": ("md", "markdown"),
                     ".qmd": ("Rmd", "quarto")}  # fmt: skip


def read_script_or_cells(text: str, suffix: str) -> Document:
    """A script: in cells where it has markers or a jupytext header, else whole."""
    language = LANGUAGE_BY_SUFFIX[suffix]
    text = unified(text, language)
    format = _format(text, _COMMENTS.get(language, "#"))
    if format is None:
        return read_script(text, suffix)
    notebook = _jupytext(text, f"{_STAND_INS.get(suffix, suffix).lstrip('.')}:{format}")
    document = _document(notebook, format)
    if len(document.cells) == 1 and document.cells[0].source.strip() == text.strip():
        return read_script(text, suffix)  # the marker stood inside a string
    document.language = language if suffix in _STAND_INS else document.language or language
    if document.language == "matlab" and suffix == ".m" and document.kernel is None:
        document.language = language
    return document


def read_markdown(text: str, suffix: str) -> Document:
    """R Markdown, Quarto or Markdown: its fenced chunks are the code cells, of as many languages as there are."""
    reader, format = _MARKDOWN_FORMATS[suffix]
    text = unified(text, None)
    document = _document(_jupytext(text, reader), format)
    if document.kernel is None and (match := _QUARTO_KERNEL.match(text)):
        document.kernel = match["name"]
    for index, cell in enumerate(document.cells):
        if cell.type == "code":
            _take_language(cell, document.language)
            _apply_options(index, cell)
    return document


def _format(text: str, comment: str) -> str | None:
    """The jupytext format that a script declares: ``percent``, ``light`` …, or None for a plain script."""
    mark = re.escape(comment)
    if re.match(rf"\A(?:{mark}![^\n]*\n)?{mark} ---\n", text):
        header = text.split(f"\n{comment} ---", 1)[0]
        if f"\n{comment} jupyter:" in header and (match := _HEADER.search(header)):
            return match["name"] if match["name"] in ("percent", "light", "hydrogen", "sphinx", "spin") else None
    return "percent" if re.search(rf"^{mark} ?%%(?:[ \t]|$|%)", text, re.MULTILINE) else None


def _jupytext(text: str, format: str) -> Any:
    import jupytext

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return jupytext.reads(text, fmt=format)
    except Exception as error:  # noqa: BLE001 - jupytext has no common base for what a malformed header or option raises
        raise SourceError(f"The source can't be taken apart into cells: {str(error).rstrip('.')}.") from None


def _document(notebook: Any, format: str) -> Document:
    metadata = dict(notebook.metadata)
    main = metadata.pop("jupytext", {}).get("main_language")
    kernelspec = metadata.get("kernelspec", {})
    language = kernelspec.get("language") or main
    return Document(
        format=format,
        cells=[_cell(raw) for raw in notebook.cells],
        kernel=kernelspec.get("name"),
        language=language.lower() if isinstance(language, str) else None,
        metadata=metadata,
    )


def _cell(raw: Any) -> Cell:
    metadata = {name: value for name, value in raw.metadata.items() if name not in _OWN_METADATA}
    kernel, title = metadata.get("kernel"), metadata.get("title")
    type: CellType = raw.cell_type
    return Cell(
        id="",
        type=type,
        source=raw.source,
        kernel=kernel if type == "code" and isinstance(kernel, str) else None,
        title=title if type == "code" and isinstance(title, str) else "",
        metadata=metadata,
        attachments=raw.get("attachments"),
    )


def _take_language(cell: Cell, main: str | None) -> None:
    """jupytext writes a chunk of another language as a cell magic; here its language is its kernel."""
    match = _MAGIC.match(cell.source)
    named = cell.metadata.pop("language", None) or (match["language"] if match else None)
    if not isinstance(named, str):
        return
    if named.lower() in _NOT_CODE or not named[0].isalpha():  # {=html}, {.python}: for the page, not to be run
        cell.type, cell.metadata = "raw", {}
    elif named.lower() in LANGUAGES or main != "python":
        cell.kernel = named.lower()
    else:
        return
    cell.source = cell.source[match.end() :] if match else cell.source


LANGUAGES = {*LANGUAGE_BY_SUFFIX.values(), "sh", "zsh", "js", "ts", "scala", "matlab", "perl", "ruby", "stan"}
"""Languages whose chunks ask for a kernel; other magics of a Python document stay IPython's."""


def _apply_options(index: int, cell: Cell) -> None:
    """The chunk options that decide about running: ``eval`` and ``error``, in the braces or as ``#|`` lines."""
    options: dict[str, Any] = {name: cell.metadata[name] for name in ("eval", "error") if name in cell.metadata}
    for line in cell.source.splitlines():
        match = _OPTION.match(line)
        if match is None:
            break
        if match["name"] in ("eval", "error"):
            options[match["name"]] = {"true": True, "false": False}.get(match["value"].lower(), match["value"])
    for name, value in options.items():
        if not isinstance(value, bool):
            shown = str(value).removeprefix("#R_CODE#")
            raise SourceError(
                f"cells[{index}] has the chunk option {name}={shown}, which only R could evaluate. Write TRUE or FALSE."
            )
    for name, decisive, tag in (("eval", False, "skip-execution"), ("error", True, "raises-exception")):
        if options.get(name) is decisive and tag not in cell.tags:
            cell.metadata["tags"] = [*cell.tags, tag]
