"""Jupyter notebooks, nbformat 3 and 4, and the SoS notebooks among them.

Format: https://nbformat.readthedocs.io/en/latest/format_description.html. Outputs of earlier runs are
dropped before validation: a broken old output keeps no notebook from running. Cells that announce an error
of an earlier run go too.

SoS (https://vatlab.github.io/sos-docs) keeps a kernel per cell in ``metadata.kernel`` and a table of kernels
in the notebook's ``metadata.sos.kernels``, rows of display name, kernelspec, language, colour. Its cells run
on the kernels named there; what SoS itself would run, it runs as Python, on ``python3``. SoS' own magics
(``%get``, ``%use`` …) are not known here.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

from ..errors import SourceError
from .document import Document, number_cells, parse_json
from .program import Cell

SOS = "sos"

ERROR_TAG = "papermill-error-cell-tag"
"""Tag of the Markdown cells with which papermill, and our own result, announce an error of an earlier run."""

_PYTHON = "python3"


def read_notebook(text: str, suffix: str) -> Document:
    """A notebook as a document. Raises `SourceError` that names the place and what is wrong there."""
    notebook = parse_json(text, "a notebook")
    major = _version(notebook)
    if major == 3:
        notebook = _upgraded(notebook)
    _check_cells(notebook)
    _drop_outputs(notebook["cells"])
    _fill_ids(notebook["cells"])
    _mend_metadata(notebook.get("metadata"))
    notebook.update(nbformat=4, nbformat_minor=5)
    _validate(notebook, version=4)
    return _document(notebook)


def peek_kernel(content: bytes) -> str | None:
    """The kernelspec that a notebook names, without validating it, so that a kernel can be started while
    the rest is read. None where there is none to be found; `load_source` tells why.
    """
    try:
        metadata = json.loads(content)["metadata"]
        return _kernels(metadata)[0] if isinstance(metadata, dict) else None
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError):
        return None


def _version(notebook: Any) -> int:
    if not isinstance(notebook, dict):
        raise SourceError(f"The source is not a notebook: it is {_kind(notebook)} where an object belongs.")
    major, minor = notebook.get("nbformat"), notebook.get("nbformat_minor", 0)
    if major is None:
        raise SourceError(
            "The source is not a notebook: the field `nbformat` is missing."
            + ("" if "cells" in notebook else " So are its `cells`.")
        )
    if type(major) is not int or type(minor) is not int:
        raise SourceError("The source is not a notebook: `nbformat` and `nbformat_minor` must be whole numbers.")
    if major not in (3, 4):
        raise SourceError(
            f"The notebook has nbformat {major}.{minor}; 3 and 4 can be read."
            " Open it in a current Jupyter and save it again as version 4."
        )
    return major


def _check_cells(notebook: dict[str, Any]) -> None:
    """What nbformat's own validation reports poorly: whether there are cells at all, and of which type."""
    if "cells" not in notebook:
        raise SourceError("The notebook is broken: `cells` is missing.")
    cells = notebook["cells"]
    if not isinstance(cells, list):
        raise SourceError(f"The notebook is broken: `cells` is {_kind(cells)}; it must be a list.")
    for index, cell in enumerate(cells):
        if not isinstance(cell, dict):
            raise SourceError(f"The notebook is broken: `cells[{index}]` is {_kind(cell)}; it must be an object.")
        if "cell_type" not in cell:
            raise SourceError(f"The notebook is broken: `cells[{index}].cell_type` is missing.")
        if cell["cell_type"] not in ("code", "markdown", "raw"):
            shown = json.dumps(cell["cell_type"])[:80]
            raise SourceError(
                f"The notebook is broken: `cells[{index}].cell_type` is {shown};"
                " it must be `code`, `markdown` or `raw`."
            )


def _upgraded(notebook: dict[str, Any]) -> dict[str, Any]:
    """A notebook of nbformat 3 as one of nbformat 4; a code cell's language stays as its kernel where it differs."""
    from nbformat import convert, from_dict

    sheets = notebook.get("worksheets")
    languages = []
    for sheet in sheets if isinstance(sheets, list) else []:
        cells = sheet.get("cells") if isinstance(sheet, dict) else None
        _drop_outputs(cells)
        for cell in cells if isinstance(cells, list) else []:
            if isinstance(cell, dict) and cell.get("cell_type") == "code":
                languages.append(cell.setdefault("language", "python"))
    _validate(notebook, version=3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            upgraded: dict[str, Any] = _call(convert, _call(from_dict, notebook), 4)
    except Exception as error:  # noqa: BLE001 - nbformat lets AttributeError, KeyError and its own through
        raise SourceError(f"The notebook of nbformat 3 can't be upgraded to 4: {error}.") from None
    for cell in upgraded["cells"]:
        del cell["id"]  # nbformat gives random ones
    main = languages[0] if languages else "python"
    if isinstance(main, str):
        upgraded["metadata"].setdefault("language_info", {"name": main})
    for cell, language in zip((c for c in upgraded["cells"] if c["cell_type"] == "code"), languages, strict=True):
        if language != main:
            cell["metadata"]["kernel"] = language
    return upgraded


def _drop_outputs(cells: Any) -> None:
    for cell in cells if isinstance(cells, list) else []:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            cell["outputs"] = []
            cell.pop("prompt_number", None)
            cell["execution_count"] = None


def _fill_ids(cells: list[dict[str, Any]]) -> None:
    """Gives ids where there are none or bad ones, as nbformat before 4.5 had none and tools copy them."""
    stand_ins = [Cell(id=str(cell.get("id", "")), type="raw", source="") for cell in cells]
    number_cells(stand_ins)
    for cell, stand_in in zip(cells, stand_ins, strict=True):
        cell["id"] = stand_in.id


def _mend_metadata(metadata: Any) -> None:
    """Completes or drops what notebooks in the wild lack in their metadata and no run needs."""
    if not isinstance(metadata, dict):
        return
    for name in ("kernelspec", "language_info"):
        entry = metadata.get(name)
        if name in metadata and not (isinstance(entry, dict) and isinstance(entry.get("name"), str)):
            del metadata[name]
    if "kernelspec" in metadata and not isinstance(metadata["kernelspec"].get("display_name"), str):
        metadata["kernelspec"]["display_name"] = metadata["kernelspec"]["name"]


def _validate(notebook: dict[str, Any], version: int) -> None:
    from nbformat import ValidationError, validate
    from nbformat.validator import iter_validate

    minor = 5 if version == 4 else 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            validate(notebook, version=version, version_minor=minor, relax_add_props=True)
            return
        except ValidationError:
            errors = list(_call(iter_validate, notebook, version=version, version_minor=minor, relax_add_props=True))
        except Exception as error:  # noqa: BLE001 - the validator itself stumbles over some malformed documents
            raise SourceError(f"The notebook is broken: {error}.") from None
    raise SourceError(f"The notebook is broken: {_in_words(errors[0])}")


def _call(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Calls one of nbformat's functions, which have no types."""
    return function(*args, **options)


def _in_words(error: Any) -> str:
    """One sentence about a jsonschema error: where, what stands there, what belongs there."""
    steps = list(error.absolute_path)
    wanted: list[str] = []
    while error.context:  # several forms are allowed: tell about the one that the value comes closest to
        inner = max(error.context, key=lambda e: len(e.relative_path))
        if not inner.relative_path:
            wanted = [e.validator_value for e in error.context if e.validator == "type"]
        steps += inner.relative_path
        error = inner
    place = _place(steps)
    match error.validator:
        case "required":
            missing = next(name for name in error.validator_value if name not in error.instance)
            return f"`{_place([*steps, missing])}` is missing."
        case "type":
            kinds = wanted or [error.validator_value]
            return (
                f"`{place}` is {_kind(error.instance)}; it must be {' or '.join(_KINDS.get(k, str(k)) for k in kinds)}."
            )
        case "enum":
            allowed = " or ".join(f"`{value}`" for value in error.validator_value)
            return f"`{place}` is {json.dumps(error.instance)[:80]}; it must be {allowed}."
        case _:
            return f"`{place or 'the notebook'}`: {error.message[:200].rstrip('.')}."


def _place(steps: list[Any]) -> str:
    """A path in the document, e.g. ``cells[3].source``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


_KINDS = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def _kind(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", int: "integer", float: "number", bool: "boolean"}
    return _KINDS[names.get(type(value), "null")]


def _document(notebook: dict[str, Any]) -> Document:
    metadata = notebook["metadata"]
    kernel, language, by_name = _kernels(metadata)
    cells = []
    for raw in notebook["cells"]:
        if raw["cell_type"] == "markdown" and ERROR_TAG in _tags(raw["metadata"]):
            continue
        source = raw["source"]
        named = raw["metadata"].get("kernel")
        own = by_name.get(named, named) if isinstance(named, str) and named else None
        cells.append(
            Cell(
                id=raw["id"],
                type=raw["cell_type"],
                source=source if isinstance(source, str) else "".join(source),
                kernel=None if raw["cell_type"] != "code" or own == kernel else own,
                metadata=dict(raw["metadata"]),
                attachments=raw.get("attachments"),
            )
        )
    return Document(format="notebook", cells=cells, kernel=kernel, language=language, metadata=dict(metadata))


def _kernels(metadata: dict[str, Any]) -> tuple[str | None, str | None, dict[str, str]]:
    """Kernelspec and language of the notebook, and SoS' names of kernels → kernelspecs."""
    spec = _mapping(metadata.get("kernelspec"))
    kernel = _text(spec.get("name"))
    language = _text(spec.get("language")) or _text(_mapping(metadata.get("language_info")).get("name"))
    if kernel is None or kernel.lower() != SOS:
        return kernel, language.lower() if language else None, {}
    by_name, languages = {"SoS": _PYTHON, SOS: _PYTHON}, {_PYTHON: "python"}
    sos = _mapping(metadata.get("sos"))
    table = sos.get("kernels")
    rows = [row for row in table if isinstance(row, list) and len(row) > 1] if isinstance(table, list) else []
    for name, spec_name, *rest in rows:
        if isinstance(name, str) and isinstance(spec_name, str) and spec_name.lower() != SOS:
            by_name[name] = spec_name
            if rest and isinstance(rest[0], str) and rest[0]:
                languages[spec_name] = rest[0].lower()
    default = _text(sos.get("default_kernel")) or (_text(rows[0][0]) if rows else None) or SOS
    kernel = by_name.get(default, default)
    return kernel, languages.get(kernel), by_name


def _tags(metadata: dict[str, Any]) -> list[Any]:
    tags = metadata.get("tags")
    return tags if isinstance(tags, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
