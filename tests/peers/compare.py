"""Two executed notebooks side by side: what differs, once times, addresses and the like are set aside."""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import canonicalize

ERROR_TAG = "papermill-error-cell-tag"

_NOISE = [
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"0x[0-9a-f]{6,16}"), "<address>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"), "<time>"),
    (re.compile(r"(ipykernel_|/)\d+([/.])"), r"\1<n>\2"),
    (re.compile(r"\(\d+\.py,"), "(<n>.py,"),
    # What papermill prints about its own progress when a notebook calls it.
    (re.compile(r"(?m)^.*(cell/s|s/cell|\?cell).*$"), "<progress>"),
]


def normal(value: Any) -> Any:
    """A JSON value with the noise taken out of all its text."""
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, str):
        for pattern, replacement in _NOISE:
            value = pattern.sub(replacement, value)
    return value


def outputs_of(cell: Any) -> list[Any]:
    """A cell's outputs, normalised. Adjacent text of one stream is one output, however it was cut when it came;
    SVG is compared as XML, since the order of attributes has no meaning.
    """
    outputs: list[Any] = []
    for output in cell.get("outputs", []):
        last = outputs[-1] if outputs else {}
        if output["output_type"] == "stream" == last.get("output_type") and output["name"] == last["name"]:
            last["text"] += output["text"]
        else:
            outputs.append(dict(output))
    outputs = normal(outputs)
    for output in outputs:
        data = output.get("data") or {}
        if "image/svg+xml" in data:
            data["image/svg+xml"] = canonicalize(data["image/svg+xml"], strip_text=True)
        for mime in [mime for mime in data if mime.startswith("image/") and mime != "image/svg+xml"]:
            data[mime] = "".join(data[mime].split())
    return outputs


def as_stored(cell: Any) -> list[Any]:
    """A cell's outputs as other versions of IPython would show them too: tracebacks by their last line only."""
    outputs = outputs_of(cell)
    for output in outputs:
        output.pop("metadata", None)
        if "traceback" in output:
            output["traceback"] = output["traceback"][-1:]
    return outputs


def without_markers(notebook: Any) -> list[Any]:
    """The notebook's cells but those that announce an error."""
    return [cell for cell in notebook.cells if ERROR_TAG not in cell.metadata.get("tags", [])]


def marker_places(notebook: Any) -> list[int]:
    """Where the cells stand that announce an error."""
    return [index for index, cell in enumerate(notebook.cells) if ERROR_TAG in cell.metadata.get("tags", [])]


def differences(ours: Any, theirs: Any, *, papermill: bool = False) -> dict[str, str]:
    """Place → what differs there. With `papermill`, what papermill writes of its own is compared as well."""
    found: dict[str, str] = {}

    def same(place: str, mine: Any, other: Any) -> None:
        if mine != other:
            found[place] = f"ours {_short(mine)}, theirs {_short(other)}"

    my_cells, their_cells = without_markers(ours), without_markers(theirs)
    same("number of cells", len(my_cells), len(their_cells))
    for index, (mine, other) in enumerate(zip(my_cells, their_cells, strict=False)):
        same(f"cell {index} type", mine.cell_type, other.cell_type)
        same(f"cell {index} source", mine.source, other.source)
        same(f"cell {index} outputs", outputs_of(mine), outputs_of(other))
        same(f"cell {index} execution count", mine.get("execution_count"), other.get("execution_count"))
        same(f"cell {index} execution keys", *(sorted(cell.metadata.get("execution", {})) for cell in (mine, other)))
        if papermill:
            same(f"cell {index} tags", *(cell.metadata.get("tags") or [] for cell in (mine, other)))
            for key in ("status", "exception"):
                same(f"cell {index} {key}", *(cell.metadata.get("papermill", {}).get(key) for cell in (mine, other)))
    same("language_info", *(normal(notebook.metadata.get("language_info")) for notebook in (ours, theirs)))
    same("kernelspec", *(notebook.metadata.get("kernelspec", {}).get("name") for notebook in (ours, theirs)))
    same("widget models", *(_models(notebook) for notebook in (ours, theirs)))
    if papermill:
        same("error markers", marker_places(ours), marker_places(theirs))
        for key in ("parameters", "exception", "environment_variables"):
            same(f"papermill {key}", *(notebook.metadata.papermill.get(key) for notebook in (ours, theirs)))
        same("papermill keys", *(sorted(notebook.metadata.papermill) for notebook in (ours, theirs)))
    return found


def _models(notebook: Any) -> list[Any]:
    """The saved widgets: model, state keys, outputs; the ids are new in every run."""
    saved = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    models = [
        (model.get("model_name"), sorted(model.get("state", {})), str(normal(model.get("state", {}).get("outputs"))))
        for model in saved.get("state", {}).values()
    ]
    return sorted(models, key=str)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:300]} … {text[-290:]}"
