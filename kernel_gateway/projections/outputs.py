"""The outputs of every cell as a notebook shows them, in bounded memory. The notebook and the report stand on it.

Rules are Jupyter's: adjacent stream text of one name is one output; ``clear_output`` empties the cell, with
``wait`` only when the next output arrives; a display or update with a ``display_id`` replaces every display
that bears it, in whichever cell. Text beyond ``limit`` characters of one cell is left out in the middle.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..events import Event, EventType
from .text import Folder, HeadTail, clip

RICH_SHARE = 8
"""Inline values of displays weigh an eighth of text, so that plots survive beside a flood of lines."""

_OVERHEAD = 128
"""What an output weighs beside its text, so that very many short ones are bounded too."""


class Stream:
    """Adjacent text of one stream, folded. Once closed it is a plain string, since there may be very many."""

    __slots__ = ("_closed", "_folder", "_kept", "name")

    def __init__(self, name: str, kept: HeadTail) -> None:
        self.name = name
        self._kept: HeadTail | None = kept
        self._folder = Folder()
        self._closed = ""

    def add(self, text: str) -> int:
        """Append text as printed; gives by how much the kept text grew."""
        assert self._kept is not None
        before = self._kept.kept
        self._kept.add(self._folder.feed(text))
        return self._kept.kept - before

    @property
    def overflowed(self) -> bool:
        """Whether text was left out."""
        return self._kept is not None and self._kept.dropped > 0

    def close(self) -> int:
        """Another output follows: nothing can change this one any more. Gives by how much the kept text grew."""
        if self._kept is None:
            return 0
        before = self._kept.kept
        self._closed = self.text
        self._kept = None
        del self._folder
        return max(0, len(self._closed) - before)

    @property
    def text(self) -> str:
        """What a terminal would show, bounded."""
        return self._closed if self._kept is None else self._kept.text(self._folder.rest())


@dataclass(eq=False)
class Display:
    """A display or result: MIME bundle, with large values as references in ``blobs``."""

    data: dict[str, Any]
    metadata: dict[str, Any]
    blobs: dict[str, Any]
    display_id: str | None
    is_result: bool
    execution_count: int | None


@dataclass(eq=False)
class Failure:
    """An error with its traceback, ANSI codes included."""

    ename: str
    evalue: str
    traceback: list[str]


@dataclass(eq=False)
class Remark:
    """A remark of the gateway where outputs were left out."""

    text: str


Output = Stream | Display | Failure


class CellOutputs:
    """The outputs of one cell."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.clear_next = False
        self._reset()

    def _reset(self) -> None:
        self._room = self._limit - self._limit // 4
        self._head: list[Output] = []
        self._tail: deque[tuple[Output, int]] = deque()
        self._tail_cost = 0
        self._dropped = 0

    def clear(self) -> list[Output]:
        """Forget all outputs; gives back what went."""
        gone = [*self._head, *(output for output, _ in self._tail)]
        self.clear_next = False
        self._reset()
        return gone

    @property
    def _last(self) -> Output | None:
        return self._tail[-1][0] if self._tail else self._head[-1] if self._head else None

    def add_stream(self, name: str, text: str) -> list[Output]:
        """Append stream text; gives back older outputs that had to go."""
        last = self._last
        if not isinstance(last, Stream) or last.name != name:
            last = Stream(name, HeadTail(self._limit, head=self._room))
            gone = self._append(last, _OVERHEAD)
        else:
            gone = []
        grown = last.add(text)
        if last.overflowed:
            self._room = 0
        self._weigh(grown)
        return gone + self._shrink()

    def _weigh(self, grown: int) -> None:
        """The last output has grown."""
        if not self._tail:
            self._room = max(0, self._room - grown)
            return
        output, cost = self._tail.pop()
        self._tail.append((output, cost + grown))
        self._tail_cost += grown

    def add(self, output: Display | Failure, cost: int) -> list[Output]:
        """Append another output that weighs ``cost``; gives back older outputs that had to go."""
        return self._append(output, cost)

    def _append(self, output: Output, cost: int) -> list[Output]:
        last = self._last
        if isinstance(last, Stream):
            self._weigh(last.close())
        if self._room > 0:
            self._head.append(output)
            self._room = max(0, self._room - cost)
            return []
        self._tail.append((output, cost))
        self._tail_cost += cost
        return self._shrink()

    def _shrink(self) -> list[Output]:
        gone = []
        while self._tail_cost > self._limit // 4 and len(self._tail) > 1:
            output, cost = self._tail.popleft()
            self._tail_cost -= cost
            self._dropped += 1
            gone.append(output)
        return gone

    def __iter__(self) -> Iterator[Output | Remark]:
        yield from self._head
        if self._dropped:
            yield Remark(
                f"[kernel-gateway] {self._dropped:,} outputs of this cell are left out here; "
                "events.jsonl has them whole.\n"
            )
        for output, _ in self._tail:
            yield output


class Outputs:
    """The outputs of all cells, by cell index. Output outside any cell goes to the cell that started last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._cells: dict[int, CellOutputs] = {}
        self._displays: dict[str, list[Display]] = {}
        self._current = 0

    def feed(self, event: Event) -> None:
        """Take the next event; those without output are ignored."""
        kind = event["type"]
        if kind == EventType.CELL_STARTED:
            self._current = event["cell"]
        elif kind == EventType.STREAM:
            if event["text"]:
                self._forget(self._target(event).add_stream(event["name"], event["text"]))
        elif kind in (EventType.DISPLAY, EventType.RESULT):
            self._display(event, kind)
        elif kind == EventType.DISPLAY_UPDATE:
            self._update(event)
        elif kind == EventType.ERROR:
            lines = [str(line) for line in event.get("traceback") or []]
            if sum(map(len, lines)) > self._limit // 4:
                lines = clip("\n".join(lines), self._limit // 4).split("\n")
            failure = Failure(str(event.get("ename", "")), clip(str(event.get("evalue", "")), self._limit // 4), lines)
            self._forget(self._target(event).add(failure, _OVERHEAD))
        elif kind == EventType.CLEAR_OUTPUT:
            cell = self._cell(event)
            if event.get("wait"):
                cell.clear_next = True
            else:
                self._forget(cell.clear())

    def of(self, index: int) -> list[Output | Remark]:
        """The outputs of one cell, in order."""
        cell = self._cells.get(index)
        return list(cell) if cell else []

    def _cell(self, event: Event) -> CellOutputs:
        index = event.get("cell")
        index = self._current if index is None else index
        if index not in self._cells:
            self._cells[index] = CellOutputs(self._limit)
        return self._cells[index]

    def _target(self, event: Event) -> CellOutputs:
        cell = self._cell(event)
        if cell.clear_next:
            self._forget(cell.clear())
        return cell

    def _display(self, event: Event, kind: str) -> None:
        display_id = event.get("display_id")
        if display_id:
            self._update(event)
        display = Display(
            data=event.get("data") or {},
            metadata=event.get("metadata") or {},
            blobs=event.get("blobs") or {},
            display_id=display_id,
            is_result=kind == EventType.RESULT,
            execution_count=event.get("execution_count"),
        )
        cost = (sum(_weight(value) for value in display.data.values()) + 8 * _OVERHEAD) // RICH_SHARE
        self._forget(self._target(event).add(display, cost))
        if display_id:
            self._displays.setdefault(display_id, []).append(display)

    def _update(self, event: Event) -> None:
        for display in self._displays.get(event.get("display_id") or "", ()):
            display.data = event.get("data") or {}
            display.metadata = event.get("metadata") or {}
            display.blobs = event.get("blobs") or {}

    def _forget(self, gone: list[Output]) -> None:
        for output in gone:
            if isinstance(output, Display) and output.display_id:
                left = [display for display in self._displays.get(output.display_id, ()) if display is not output]
                if left:
                    self._displays[output.display_id] = left
                else:
                    self._displays.pop(output.display_id, None)


def _weight(value: Any) -> int:
    return len(value) if isinstance(value, str) else len(json.dumps(value))
