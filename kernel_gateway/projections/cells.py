"""What a run looks like so far: the shared reducer under the projections that show cells and verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..events import CellStatus, Event, EventType, Status

MAX_LOGS = 1000
"""Remarks of the gateway that are kept; a run that makes more has them in its event log."""

BAD = (Status.FAILED, Status.TIMED_OUT, Status.KERNEL_DIED, Status.CANCELLED, Status.LOST)
"""Ends that mean that the program did not run through."""


@dataclass(kw_only=True)
class CellState:
    """One cell of the program and what became of it. ``status`` is empty until it starts, then ``running``."""

    index: int
    id: str
    type: str
    source: str
    title: str
    kernel: str | None
    own_kernel: str | None
    tags: list[str]
    metadata: dict[str, Any]
    attachments: dict[str, Any] | None
    number: int | None = None
    status: str = ""
    seconds: float = 0.0
    execution_count: int | None = None
    start: str | None = None
    end: str | None = None
    error: Event | None = None

    @property
    def may_raise(self) -> bool:
        """Whether its author expects an exception (tag ``raises-exception``)."""
        return "raises-exception" in self.tags

    @property
    def was_cut(self) -> bool:
        """Whether it had begun and did not come to an end of its own."""
        return self.start is not None and self.status in (CellStatus.ABORTED, "running")

    @property
    def failed(self) -> bool:
        """Whether it ended with an error that its author does not expect."""
        return self.status == CellStatus.ERROR and not self.may_raise


def cell_states(program: dict[str, Any]) -> list[CellState]:
    """The program's cells before anything ran; executable code cells are numbered from 1."""
    states: list[CellState] = []
    number = 0
    for index, cell in enumerate(program.get("cells") or []):
        metadata = cell.get("metadata") or {}
        tags = metadata.get("tags")
        state = CellState(
            index=index,
            id=str(cell.get("id") or f"cell-{index}"),
            type=cell.get("type", "code"),
            source=cell.get("source") or "",
            title=cell.get("title") or "",
            kernel=cell.get("kernel"),
            own_kernel=cell.get("kernel"),
            tags=[tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else [],
            metadata=metadata,
            attachments=cell.get("attachments"),
        )
        if not state.title:
            state.title = next((line.strip() for line in state.source.splitlines() if line.strip()), "")[:80]
        # The same rule as sources.program.Cell.is_executable, on the cell as the event carries it.
        if state.type == "code" and state.source.strip() and "skip-execution" not in state.tags:
            number += 1
            state.number = number
        states.append(state)
    return states


@dataclass
class RunState:
    """A run as far as its events tell. Feed it every event; any prefix of a log gives a valid state."""

    queued: Event | None = None
    started: Event | None = None
    finished: Event | None = None
    program: dict[str, Any] = field(default_factory=dict)
    cells: list[CellState] = field(default_factory=list)
    code_cells: int = 0
    """How many cells there are to execute."""
    gates: list[Event] = field(default_factory=list)
    artifacts: dict[str, Event] = field(default_factory=dict)
    logs: list[Event] = field(default_factory=list)
    current: int | None = None
    last_time: str | None = None

    def feed(self, event: Event) -> None:
        """Take the next event."""
        kind = event["type"]
        self.last_time = event.get("time") or self.last_time
        if kind == EventType.STREAM:
            return
        if kind == EventType.RUN_QUEUED:
            self.queued = event
            self.program = event.get("program") or {}
            self.cells = cell_states(self.program)
            self.code_cells = sum(1 for cell in self.cells if cell.number)
        elif kind == EventType.RUN_STARTED:
            self.started = event
        elif kind == EventType.RUN_FINISHED:
            self.finished = event
        elif kind in (EventType.CELL_STARTED, EventType.CELL_FINISHED):
            self._cell(event, kind)
        elif kind == EventType.ERROR:
            cell = self.cell(event.get("cell"))
            if cell is not None:
                cell.error = event
        elif kind == EventType.GATE:
            self.gates.append(event)
        elif kind == EventType.ARTIFACT:
            self.artifacts[event["path"]] = event
        elif kind == EventType.LOG and len(self.logs) < MAX_LOGS:
            self.logs.append(event)

    def _cell(self, event: Event, kind: str) -> None:
        cell = self.cell(event["cell"])
        if cell is None:
            return
        cell.title = event.get("title") or cell.title
        if kind == EventType.CELL_STARTED:
            self.current = cell.index
            cell.kernel = event.get("kernel") or cell.kernel
            cell.start, cell.status = event.get("time"), "running"
        else:
            cell.status, cell.seconds = event["status"], event.get("seconds") or 0.0
            cell.execution_count, cell.end = event.get("execution_count"), event.get("time")

    def cell(self, index: int | None) -> CellState | None:
        """The cell with this index, or None where the program has none."""
        return self.cells[index] if index is not None and 0 <= index < len(self.cells) else None

    @property
    def run_id(self) -> str:
        """The run's id; empty before `run_queued`."""
        return str(self.queued["run"]) if self.queued else ""

    @property
    def name(self) -> str:
        """The program's name."""
        return str(self.program.get("name") or "run")

    @property
    def status(self) -> str:
        """The final status, or how far the log got."""
        if self.finished:
            return str(self.finished["status"])
        return str(Status.RUNNING if self.started else Status.QUEUED)

    @property
    def reason(self) -> str:
        """Why the run ended as it did; empty after success and while it runs."""
        return str(self.finished.get("reason") or "") if self.finished else ""

    @property
    def gates_left(self) -> list[str]:
        """Expressions of gates that were asked for and not judged: the run ended before, or goes on."""
        asked = (self.queued or {}).get("gates")
        found = [gate.get("expression") for gate in asked if isinstance(gate, dict)] if isinstance(asked, list) else []
        judged = {gate["expression"] for gate in self.gates}
        return [expression for expression in found if isinstance(expression, str) and expression not in judged]

    @property
    def culprit(self) -> CellState | None:
        """The cell that spoiled the run: the first that failed, else the one that the end caught in mid-work."""
        for cell in self.cells:
            if cell.failed:
                return cell
        if self.finished and self.status in BAD:
            for cell in self.cells:
                if cell.was_cut:
                    return cell
        return None
