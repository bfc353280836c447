"""The facts that a case's row states, checked on what our command left behind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat

from .compare import as_stored, outputs_of, without_markers
from .execute import Command, Done
from .table import Case

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"

CLOCK_SLACK = timedelta(milliseconds=300)
"""By how much an event may come after what it tells of; nbclient's own test allows 100 ms on an idle machine."""


def problems(case: Case, done: Done, original: Path) -> Iterator[str]:
    """What is not as the row says; nothing when all is well."""
    if done.exit_code != case.exit_code:
        yield f"exit code {done.exit_code}, expected {case.exit_code}; last output: {done.output[-600:]}"
    status = done.record.get("status")
    if status != case.status:
        yield f"status {status}, expected {case.status}"
    for text in case.console:
        if text not in done.output:
            yield f"the console lacks {text!r}"
    if not done.notebook.is_file():
        yield "there is no executed.ipynb"
        return
    yield from _readable(case, done)
    notebook = nbformat.read(done.notebook, as_version=4)
    cells = without_markers(notebook)
    yield from _stated(case, cells)
    if case.stored_outputs:
        yield from _stored(cells, nbformat.read(original, as_version=4).cells)
    yield from _widgets(notebook)
    if case.check:
        yield from CHECKS[case.check](case, done, cells)


def _readable(case: Case, done: Done) -> Iterator[str]:
    """The notebook is valid as it stands, and papermill's reader finds in it what it looks for."""
    from papermill.iorw import load_notebook_node

    raw = nbformat.read(done.notebook, as_version=nbformat.NO_CONVERT)
    nbformat.validate(raw)
    read = load_notebook_node(str(done.notebook))
    recorded = read.metadata.papermill.get("parameters")
    if case.exit_code == 2:
        return  # refused before any cell
    if recorded != case.parameters and not case.parameter_file:
        yield f"metadata.papermill.parameters {recorded}, expected {case.parameters}"
    if not read.metadata.papermill.get("exception") and case.status != "succeeded":
        yield f"metadata.papermill.exception is {read.metadata.papermill.get('exception')} after {case.status}"


def _stated(case: Case, cells: list[Any]) -> Iterator[str]:
    counts = [cell.execution_count or 0 for cell in cells if cell.cell_type == "code"]
    if case.counts and counts != case.counts:
        yield f"execution counts {counts}, expected {case.counts}"
    for fact in case.texts:
        text = _text(cells[fact["cell"]])
        if fact["text"] not in text:
            yield f"cell {fact['cell']} shows {text!r}, expected {fact['text']!r}"
    for fact in case.errors:
        shown = [output for output in cells[fact["cell"]].outputs if output.output_type == "error"]
        wanted = {key: value for key, value in fact.items() if key != "cell"}
        if not any(all(output[key] == value for key, value in wanted.items()) for output in shown):
            yield f"cell {fact['cell']} has errors {[(o.ename, o.evalue) for o in shown]}, expected {wanted}"
    failing = [i for i, cell in enumerate(cells) if any(o.output_type == "error" for o in cell.get("outputs", []))]
    if case.errors and failing != sorted({fact["cell"] for fact in case.errors}):
        yield f"errors stand in cells {failing}, expected {sorted({fact['cell'] for fact in case.errors})}"
    for fact in case.sources:
        if cells[fact["cell"]].source != fact["source"]:
            yield f"cell {fact['cell']} reads {cells[fact['cell']].source!r}, expected {fact['source']!r}"


def _text(cell: Any) -> str:
    """All text that a cell shows."""
    shown = [output.get("text") or output.get("data", {}).get("text/plain") or "" for output in outputs_of(cell)]
    return "".join(shown)


def _stored(cells: list[Any], stored: list[Any]) -> Iterator[str]:
    if len(cells) != len(stored):
        yield f"{len(cells)} cells, the stored notebook has {len(stored)}"
    for index, (mine, theirs) in enumerate(zip(cells, stored, strict=False)):
        if as_stored(mine) != as_stored(theirs):
            yield f"cell {index} shows {as_stored(mine)!r:.400}, the stored notebook {as_stored(theirs)!r:.400}"
        if mine.get("execution_count") != theirs.get("execution_count"):
            yield f"cell {index} has count {mine.get('execution_count')}, stored {theirs.get('execution_count')}"


def _widgets(notebook: Any) -> Iterator[str]:
    """Each widget that is shown has its state in the notebook's metadata."""
    saved = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {})
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get(WIDGET_VIEW)
            if view is None:
                continue
            model = saved.get("state", {}).get(view["model_id"], {})
            if missing := {"model_name", "model_module", "state"} - set(model):
                yield f"the state of a shown widget lacks {sorted(missing)}"
            if missing := {"version_major", "version_minor"} - set(saved):
                yield f"the widget state lacks {sorted(missing)}"


def _sleep(case: Case, done: Done, cells: list[Any]) -> Iterator[str]:
    """The times in the cell's metadata tell when it really ran; cells 2 and 3 print when that was."""
    timing = {key: _time(value) for key, value in cells[1].metadata.execution.items()}
    start, end = _time(_text_raw(cells[2])), _time(_text_raw(cells[3]))
    for key, limit in {
        "iopub.status.busy": start,
        "iopub.execute_input": start,
        "shell.execute_reply": end,
        "iopub.status.idle": end,
    }.items():
        if not limit - 2 * CLOCK_SLACK < timing[key] < limit + CLOCK_SLACK:
            yield f"{key} is {timing[key] - limit} away from what the cell itself measured"


def _text_raw(cell: Any) -> str:
    return str(cell.outputs[0].text)


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: DTZ007 # UTC, as the Z says


def _rerun(case: Case, done: Done, cells: list[Any]) -> Iterator[str]:
    """Running the result again with the same parameters still leaves one cell of injected parameters."""
    arguments = [word for name, value in case.parameters.items() for word in ("-p", name, str(value))]
    with tempfile.TemporaryDirectory() as folder:
        again = Command(str(done.notebook), arguments, folder=Path(folder, "again"), environ={}).wait()
        if again.exit_code != done.exit_code:
            yield f"the second run ends with {again.exit_code}"
            return
        notebook = nbformat.read(again.notebook, as_version=4)
    injected = [cell for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    if len(injected) != 1:
        yield f"after a second run {len(injected)} cells of injected parameters"


CHECKS: dict[str, Callable[[Case, Done, list[Any]], Iterator[str]]] = {"sleep": _sleep, "rerun": _rerun}
