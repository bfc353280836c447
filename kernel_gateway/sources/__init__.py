"""Sources: from what a user hands in (bytes) to a `Program`, and parameters into it. Pure: no files, no kernels.

A new source format is one new file with a `Reader` and one line in `READERS`.
"""

from __future__ import annotations

import hashlib

from ..errors import SourceError
from .document import Document, Reader, finish
from .gates import GATES_PLACE, FileGate, metadata_gates, read_gates_file
from .notebook import peek_kernel, read_notebook
from .packages import ENV_PLACE, own_packages, peek_packages
from .parameters import known_parameters, parameterize, parameters_cell, parse_parameters
from .percent import read_markdown, read_script_or_cells
from .program import Cell, CellType, Program
from .script import LANGUAGE_BY_SUFFIX
from .sniff import read_json, read_unnamed
from .zeppelin import read_zeppelin

__all__ = [
    "ENV_PLACE",
    "GATES_PLACE",
    "LANGUAGE_BY_SUFFIX",
    "READERS",
    "Cell",
    "CellType",
    "Document",
    "FileGate",
    "Program",
    "Reader",
    "known_parameters",
    "load_source",
    "parameterize",
    "parameters_cell",
    "parse_parameters",
    "peek_kernel",
    "peek_packages",
    "read_gates_file",
]

READERS: dict[str, Reader] = {
    "": read_unnamed,
    ".ipynb": read_notebook,
    ".json": read_json,
    ".zpln": read_zeppelin,
    ".Rmd": read_markdown,
    ".rmd": read_markdown,
    ".md": read_markdown,
    ".qmd": read_markdown,
    **dict.fromkeys(LANGUAGE_BY_SUFFIX, read_script_or_cells),
}
"""Suffix → reader; the empty suffix stands for ``-c`` and stdin."""


def load_source(content: bytes, *, name: str, path: str | None, suffix: str, kernel: str | None = None) -> Program:
    """A source as a program. The command line and the service call it once per run.

    ``suffix`` chooses the reader (``.ipynb``, ``.py``, …, empty for ``-c`` and stdin); capitals count only
    where two suffixes differ by them. ``kernel`` is what the user asked for by ``--kernel``; it names the
    language of a snippet that has none. Raises `SourceError` whose text says what is wrong with the source.
    """
    reader = READERS.get(suffix) or READERS.get(suffix.lower())
    if reader is None:
        known = " ".join(sorted((known for known in READERS if known), key=str.lower))
        raise SourceError(f"Sources with the suffix {suffix} are not known. Known suffixes: {known}.", field="source")
    document = finish(reader(_decoded(content), suffix if suffix in READERS else suffix.lower()), kernel)
    if not any(cell.type == "code" for cell in document.cells):
        raise SourceError("The source holds no code: there is nothing to run.", field="source")
    return Program(
        name=name,
        path=path,
        format=document.format,
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
        cells=document.cells,
        kernel=document.kernel,
        language=document.language,
        metadata=document.metadata,
        gates=metadata_gates(document.metadata),
        environment=own_packages(document.metadata, document.cells),
    )


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"The source is not UTF-8 text: byte 0x{content[error.start]:02x} at offset {error.start} (line {line})"
            " fits no character. Save it as UTF-8.",
            field="source",
        ) from None
