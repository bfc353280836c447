"""``executed.ipynb``: the program with its outputs, as far as the run got; valid nbformat 4.5.

Timing stands in each cell's ``metadata.execution`` with the keys of nbclient; ``metadata.papermill`` of the
notebook and of each cell carries papermill's keys, so that its readers and scrapbook's work. A cell that
spoiled the run is announced at the top and in place by Markdown cells with papermill's own tag, which
papermill takes out when the notebook is run again.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ..events import CellStatus, Event, EventType, seconds_between
from ..settings import Settings
from .bundles import WIDGET_STATE, Blobs, is_json, restore
from .cells import BAD, CellState, RunState
from .outputs import Display, Failure, Output, Outputs, Remark, Stream

ERROR_TAG = "papermill-error-cell-tag"
"""Tag of the announcing cells; papermill removes cells that bear it."""

_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SPLIT = ("application/javascript", "image/svg+xml")


class Notebook:
    """The projection behind ``executed.ipynb``."""

    def __init__(self, settings: Settings, blobs: Blobs) -> None:
        self._blobs = blobs
        self._state = RunState()
        self._outputs = Outputs(settings.notebook_limit)
        self._widgets: dict[str, Any] | None = None

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self._state.feed(event)
        if event["type"] == EventType.DISPLAY and event.get("cell") is None and self._is_widget_state(event):
            self._widgets = event
        else:
            self._outputs.feed(event)

    @staticmethod
    def _is_widget_state(event: Event) -> bool:
        return WIDGET_STATE in (event.get("data") or {}) or WIDGET_STATE in (event.get("blobs") or {})

    def result(self) -> str:
        """The notebook's text, written as nbformat writes it."""
        notebook = {"cells": self._cells(), "metadata": self._metadata(), "nbformat": 4, "nbformat_minor": 5}
        return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False, separators=(",", ": ")) + "\n"

    # Cells

    def _cells(self) -> list[dict[str, Any]]:
        used: set[str] = set()
        cells = []
        culprit = self._announced()
        if culprit:
            cells.append(self._marker("kernel-gateway-error", self._announcement(culprit), used))
        for cell in self._state.cells:
            if cell is culprit:
                cells.append(self._marker("kernel-gateway-error-cell", self._anchor(), used))
            cells.append(self._cell(cell, used))
        return cells

    def _announced(self) -> CellState | None:
        """The cell that the run ended at; none if errors were allowed and it went on."""
        return self._state.culprit if self._state.finished is None or self._state.status in BAD else None

    def _announcement(self, culprit: CellState) -> str:
        label = "the cell below" if culprit.execution_count is None else f"In [{culprit.execution_count}]"
        return (
            '<span style="color:red; font-size:2em;">'
            f"The run ended at '<a href=\"#papermill-error-cell\">{label}</a>'.</span>"
        )

    def _anchor(self) -> str:
        what = {
            "timed_out": "The run timed out in this cell:",
            "kernel_died": "The kernel died in this cell:",
            "cancelled": "The run was cancelled in this cell:",
            "lost": "The runner vanished in this cell:",
        }.get(self._state.status, "An exception was encountered here:")
        return f'<span id="papermill-error-cell" style="color:red; font-size:2em;">{what}</span>'

    def _marker(self, cell_id: str, text: str, used: set[str]) -> dict[str, Any]:
        return {
            "cell_type": "markdown",
            "id": _unique(cell_id, used),
            "metadata": {"tags": [ERROR_TAG]},
            "source": _lines(text),
        }

    def _cell(self, cell: CellState, used: set[str]) -> dict[str, Any]:
        made: dict[str, Any] = {
            "cell_type": cell.type,
            "id": _unique(cell.id, used),
            "metadata": self._cell_metadata(cell),
            "source": _lines(cell.source),
        }
        if cell.attachments and cell.type != "code":
            made["attachments"] = cell.attachments
        if cell.type == "code":
            made["execution_count"] = cell.execution_count
            made["outputs"] = [self._output(output) for output in self._outputs.of(cell.index)]
        return made

    def _cell_metadata(self, cell: CellState) -> dict[str, Any]:
        metadata = {**cell.metadata, "papermill": self._papermill_of(cell)}
        metadata["tags"] = list(cell.tags)
        metadata.pop("execution", None)
        if cell.own_kernel:
            metadata["kernel"] = cell.own_kernel
        if cell.start:
            # The event log has a cell's start and end; nbclient's four keys are filled from these two.
            metadata["execution"] = {"iopub.status.busy": cell.start, "iopub.execute_input": cell.start}
            if cell.end:
                metadata["execution"] |= {"shell.execute_reply": cell.end, "iopub.status.idle": cell.end}
        return metadata

    def _papermill_of(self, cell: CellState) -> dict[str, Any]:
        failed = cell.failed or (cell.was_cut and cell.status == CellStatus.ABORTED)
        status = self._papermill_status(cell, failed)
        return {
            "duration": seconds_between(cell.start, cell.end) if cell.start and cell.end else None,
            "end_time": cell.end,
            "exception": failed if cell.status or status == "completed" else None,
            "start_time": cell.start,
            "status": status,
        }

    def _papermill_status(self, cell: CellState, failed: bool) -> str:
        if failed:
            return "failed"
        if cell.status == "running":
            return "failed" if self._state.finished else "running"
        if cell.status in (CellStatus.OK, CellStatus.SKIPPED, CellStatus.ERROR):
            return "completed"
        if cell.number is not None:
            return "pending"  # also after success: the program may have ended itself before it came to this cell
        # As papermill has it: cells without work of their own are completed once the run has passed them.
        ran_through = self._state.finished is not None and self._state.status not in BAD
        passed = self._state.current is not None and cell.index < self._state.current
        return "completed" if ran_through or passed else "pending"

    def _output(self, output: Output | Remark) -> dict[str, Any]:
        if isinstance(output, Remark):
            return {"output_type": "stream", "name": "stderr", "text": _lines(output.text)}
        if isinstance(output, Stream):
            return {"output_type": "stream", "name": output.name, "text": _lines(output.text)}
        if isinstance(output, Failure):
            return {
                "output_type": "error",
                "ename": output.ename,
                "evalue": output.evalue,
                "traceback": output.traceback,
            }
        return self._rich(output)

    def _rich(self, display: Display) -> dict[str, Any]:
        bundle = restore(display.data, display.blobs, self._blobs)
        made: dict[str, Any] = {
            "output_type": "execute_result" if display.is_result else "display_data",
            "data": {mime: _value(mime, value) for mime, value in bundle.items()},
            "metadata": display.metadata,
        }
        if display.is_result:
            made["execution_count"] = display.execution_count
        return made

    # Notebook metadata

    def _metadata(self) -> dict[str, Any]:
        state = self._state
        metadata = {
            name: value
            for name, value in (state.program.get("metadata") or {}).items()
            if name not in ("widgets", "papermill", "kernel_gateway", "orig_nbformat")
        }
        self._kernelspec(metadata)
        metadata["papermill"] = self._papermill()
        own = {"run": state.run_id, "status": state.status, "reason": state.reason}
        # A notebook that is run again is held to the same bar, and has the same packages.
        given = (state.program.get("metadata") or {}).get("kernel_gateway")
        kept = {"gates": state.program.get("gates"), "env": given.get("env") if isinstance(given, dict) else None}
        metadata["kernel_gateway"] = {**{name: value for name, value in kept.items() if value}, **own}
        if self._widgets:
            bundle = restore(self._widgets.get("data") or {}, self._widgets.get("blobs") or {}, self._blobs)
            if WIDGET_STATE in bundle:
                metadata["widgets"] = {WIDGET_STATE: bundle[WIDGET_STATE]}
        return metadata

    def _kernelspec(self, metadata: dict[str, Any]) -> None:
        state = self._state
        name = (state.started or {}).get("kernel") or state.program.get("kernel")
        language = state.program.get("language")
        spec = metadata.get("kernelspec")
        spec = spec if isinstance(spec, dict) else {}
        if name and spec.get("name") != name:
            metadata["kernelspec"] = spec = {"name": name, "display_name": name}
        if spec:
            metadata["kernelspec"] = spec = {"display_name": spec.get("name"), **spec}
            if language:
                spec.setdefault("language", language)
        told = (self._state.started or {}).get("language_info")
        if told:
            metadata["language_info"] = told
        info = metadata.get("language_info")
        if language and not (isinstance(info, dict) and info.get("name")):
            metadata["language_info"] = {"name": language}

    def _papermill(self) -> dict[str, Any]:
        state = self._state
        queued, started, finished = state.queued or {}, state.started or {}, state.finished or {}
        before = (state.program.get("metadata") or {}).get("papermill")
        before = before if isinstance(before, dict) else {}
        start, end = queued.get("time"), finished.get("time")
        return {
            "default_parameters": before.get("default_parameters") or {},
            "parameters": (queued.get("provenance") or {}).get("parameters") or {},
            "environment_variables": {},
            "version": str((started.get("versions") or {}).get("gateway") or ""),
            "input_path": state.program.get("path"),
            "output_path": "executed.ipynb",
            "start_time": start,
            "end_time": end,
            "duration": seconds_between(start, end) if start and end else None,
            "exception": True if state.culprit else None,
        }


def _value(mime: str, value: Any) -> Any:
    if isinstance(value, str) and not is_json(mime) and (mime.startswith("text/") or mime in _SPLIT):
        return _lines(value)
    return value


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _unique(cell_id: str, used: set[str]) -> str:
    """A cell id that nbformat accepts and that no earlier cell has."""
    base = cell_id if _CELL_ID.fullmatch(cell_id) else re.sub(r"[^a-zA-Z0-9_-]", "-", cell_id)[:64] or "cell"
    made, number = base, 1
    while made in used:
        number += 1
        made = f"{base[:58]}-{number}"
    used.add(made)
    return made
