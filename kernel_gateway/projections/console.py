"""The live text of a run, as a person reads it in a Jenkins console at three in the morning.

Streams appear as printed, in order of arrival; around them stand lines of the gateway: which cell runs, how it
ended, metrics, gates, artifacts, the verdict. Text beyond ``Settings.console_limit`` characters of one cell is
left out except for its last lines, which follow when the cell ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..events import CellStatus, Event, EventType, Status, parse_time
from ..settings import Settings
from .bundles import METRICS_MIME, SCRAP_PREFIX, WIDGET_STATE, plain_text, summary_line
from .cells import CellState, RunState
from .live import LiveStream
from .margins import number_text
from .metrics import FROM_GATEWAY
from .text import HeadTail, clip, one_line, seconds_text, size_text

TAIL = 4 * 1024
"""Characters of a cell's last lines that are shown after text was left out."""

TRACEBACK_LIMIT = 64 * 1024
"""Characters of a traceback that are shown; a longer one loses its middle."""

SLOW = 1.0
"""Seconds from which on a cell's duration is worth a line."""

_MAX_TRACKED = 1000
"""Display ids and metric names that are followed at a time; the oldest make room."""

_METRIC_LINE = re.compile(r"::metric\b[^\n]*?\bname=([^\s]+)")


class Console:
    """The projection behind ``console.log`` and the command's own output. Not replayable: each event once."""

    def __init__(self, settings: Settings, *, progress: bool = True) -> None:
        """``progress``: whether progress bars show states before their last."""
        self._limit = settings.console_limit
        self._interval = settings.progress_interval
        self._state = RunState()
        self._streams = {name: LiveStream(self._interval, progress=progress) for name in ("stdout", "stderr")}
        self._updates: dict[str, tuple[str, float, str | None]] = {}
        self._metrics: dict[str, tuple[float, str | None]] = {}
        self._printed_metrics: set[str] = set()
        self._partial_line = ""
        self._room = self._limit
        self._tail: HeadTail | None = None
        self._pieces: list[str] = []
        self._open: str | None = None
        self._tail_open = False
        self._header_due = True
        self._time = 0.0
        self._takes: dict[str, Callable[[Event], None]] = {
            EventType.RUN_FINISHED: self._run_finished,
            EventType.CELL_STARTED: self._cell_started,
            EventType.CELL_FINISHED: self._cell_finished,
            EventType.STREAM: self._stream,
            EventType.DISPLAY: self._display,
            EventType.RESULT: self._display,
            EventType.DISPLAY_UPDATE: self._display_update,
            EventType.ERROR: self._error,
            EventType.METRIC: self._metric,
            EventType.ARTIFACT: self._artifact,
            EventType.GATE: self._gate,
            EventType.LOG: self._log,
        }

    def feed(self, event: Event) -> str:
        """Take the next event; gives the text to append now, empty if there is none."""
        kind = event["type"]
        self._state.feed(event)
        if event.get("time"):
            self._time = parse_time(event["time"]).timestamp()
        if kind == EventType.RUN_QUEUED:
            return ""
        if self._header_due and kind != EventType.LOG:
            self._header_due = False
            self._say(self._header())
        take = self._takes.get(kind)
        if take:
            take(event)
        return self._take_pieces()

    def finish(self) -> str:
        """No more events come: gives what is still held back, ending with a newline."""
        self._close_cell()
        if self._open is not None:
            self._pieces.append("\n")
            self._open = None
        return self._take_pieces()

    # Lines of the gateway

    def _header(self) -> str:
        started = self._state.started or {}
        versions = started.get("versions") or {}
        parts = [self._state.name]
        if started:
            named = ", ".join(f"{name} {version}" for name, version in versions.items())
            parts.append(f"kernel {started.get('kernel')}" + (f" ({named})" if named else ""))
        return "[kernel-gateway] " + ", ".join(parts)

    def _label(self, cell: CellState | None) -> str:
        if cell is None or cell.number is None:
            return f"[-/{self._state.code_cells}]"
        return f"[{cell.number}/{self._state.code_cells}]"

    def _cell_started(self, event: Event) -> None:
        self._close_cell()
        self._room = self._limit
        cell = self._state.cell(event["cell"])
        self._say(f"{self._label(cell)} {event.get('title') or (cell.title if cell else '')}".rstrip())

    def _cell_finished(self, event: Event) -> None:
        self._close_cell()
        cell = self._state.cell(event["cell"])
        status, seconds = event["status"], event.get("seconds") or 0.0
        label, took = self._label(cell), seconds_text(seconds)
        if status == CellStatus.SKIPPED:
            self._say(f"{label} {event.get('title') or (cell.title if cell else '')}: skipped")
        elif status == CellStatus.ABORTED:
            self._say(f"{label} aborted after {took}")
        elif status == CellStatus.ERROR:
            allowed = cell is not None and cell.may_raise
            self._say(f"{label} {'raised, as its tag allows,' if allowed else 'failed'} after {took}")
        elif seconds >= SLOW:
            self._say(f"{label} done in {took}")

    def _run_finished(self, event: Event) -> None:
        self._close_cell()
        status = str(event["status"]).replace("_", " ")
        line = f"[kernel-gateway] {status} in {seconds_text(event.get('seconds') or 0.0)}"
        if event.get("reason") and event["status"] != Status.SUCCEEDED:
            line += f": {event['reason']}"
        self._say(line)

    def _artifact(self, event: Event) -> None:
        self._say(f"[kernel-gateway] artifact {one_line(event['path'])} ({size_text(event.get('size') or 0)})")

    def _gate(self, event: Event) -> None:
        verdict = "passed" if event.get("passed") else "not met"
        value = event.get("value")
        if event.get("message"):
            self._say(f"[kernel-gateway] gate {event['expression']}: {verdict} ({event['message']})")
        else:
            bound = hidden_bound(event["expression"], event.get("bound"))
            line = f"[kernel-gateway] gate {event['expression']}: {_number(value)} {verdict}"
            self._say(f"{line} ({bound})" if bound else line)

    def _log(self, event: Event) -> None:
        level = event.get("level", "info")
        self._say(f"[kernel-gateway] {'' if level == 'info' else level + ': '}{event.get('message', '')}")

    # Output of cells

    def _stream(self, event: Event) -> None:
        name, text = event["name"], event["text"]
        if name == "stdout":
            self._note_metric_lines(text)
        stream = self._streams.get(name) or self._streams["stdout"]
        for piece, fresh in stream.feed(text, self._time):
            self._print(piece, name, fresh)

    def _note_metric_lines(self, text: str) -> None:
        """Remember which metrics a reader already sees as ``::metric`` lines, also across two chunks."""
        text = self._partial_line + text
        if "::metric" in text and len(self._printed_metrics) < _MAX_TRACKED:
            self._printed_metrics.update(name.strip("\"'") for name in _METRIC_LINE.findall(text))
        last = text[text.rfind("\n") + 1 :][:300]
        self._partial_line = last if "::metric".startswith(last) or last.startswith("::metric") else ""

    def _display(self, event: Event) -> None:
        data, blobs = event.get("data") or {}, event.get("blobs") or {}
        mimes = {*data, *blobs}
        if WIDGET_STATE in mimes or METRICS_MIME in mimes or any(mime.startswith(SCRAP_PREFIX) for mime in mimes):
            return
        line = summary_line(data, blobs)
        display_id = event.get("display_id")
        if display_id:
            self._track(display_id, plain_text(data) or "", None)
        if line:
            self._print(line + "\n", "display", True)

    def _display_update(self, event: Event) -> None:
        display_id = event.get("display_id") or ""
        text = plain_text(event.get("data") or {})
        shown, since, _ = self._updates.get(display_id, ("", float("-inf"), None))
        if text is None:
            return
        if text == shown:
            self._updates[display_id] = (shown, since, None)
        elif self._time - since >= self._interval:
            self._track(display_id, text, None)
            self._print(text + "\n", "display", True)
        else:
            self._updates[display_id] = (shown, since, text)

    def _track(self, display_id: str, shown: str, pending: str | None) -> None:
        self._updates.pop(display_id, None)
        if len(self._updates) >= _MAX_TRACKED:
            self._updates.pop(next(iter(self._updates)))
        self._updates[display_id] = (shown, self._time, pending)

    def _error(self, event: Event) -> None:
        self._flush_streams()
        self._end_leaving_out()
        lines = event.get("traceback") or [f"{event.get('ename')}: {event.get('evalue')}"]
        self._say(clip("\n".join(str(line) for line in lines), TRACEBACK_LIMIT))

    def _metric(self, event: Event) -> None:
        name = event["name"]
        if name in self._printed_metrics or event.get("source") == FROM_GATEWAY:
            return
        step = event.get("step")
        where = "" if step is None else f" (step {step})"
        line = f"[kernel-gateway] metric {name} = {_number(event['value'])}{where}"
        since, _ = self._metrics.get(name, (float("-inf"), None))
        if self._time - since >= self._interval:
            if len(self._metrics) >= _MAX_TRACKED:
                self._metrics.pop(next(iter(self._metrics)))
            self._metrics[name] = (self._time, None)
            self._print(line + "\n", "gateway", True)
        else:
            self._metrics[name] = (since, line)

    # The end of a cell

    def _close_cell(self) -> None:
        self._flush_streams()
        for display_id, (shown, since, pending) in self._updates.items():
            if pending is not None and pending != shown:
                self._print(pending + "\n", "display", True)
                self._updates[display_id] = (pending, since, None)
        for _, line in self._metrics.values():
            if line is not None:
                self._print(line + "\n", "gateway", True)
        self._metrics.clear()
        self._printed_metrics.clear()
        self._partial_line = ""
        self._end_leaving_out()

    def _flush_streams(self) -> None:
        for name, stream in self._streams.items():
            for piece, fresh in stream.flush():
                self._print(piece, name, fresh)

    def _end_leaving_out(self) -> None:
        tail, self._tail = self._tail, None
        if tail is None:
            return
        text = ("" if self._open is None else "\n") + tail.text()
        self._pieces.append(text + ("\x1b[0m" if "\x1b" in text else ""))
        self._open = None if text.endswith("\n") else "tail"

    # Putting text out

    def _say(self, line: str) -> None:
        """A line of the gateway's own; never left out."""
        self._pieces.append(("" if self._open is None else "\n") + line + "\n")
        self._open = None

    def _print(self, text: str, source: str, fresh: bool) -> None:
        """Output of the cell; beyond the limit only its tail is kept."""
        if not text:
            return
        if self._tail is None and self._room > 0:
            if self._open is not None and (fresh or self._open != source):
                self._pieces.append("\n")
            shown = text
            if len(text) > self._room:
                cut = text.rfind("\n", 0, self._room) + 1
                shown = text[: cut or self._room]
            self._pieces.append(shown)
            self._room -= len(shown)
            self._open = None if shown.endswith("\n") else source
            if len(shown) == len(text):
                return
            self._room, text, fresh = 0, text[len(shown) :], False
        if self._tail is None:
            self._say("[kernel-gateway] more output of this cell is left out here; its last lines follow when it ends.")
            self._tail, self._tail_open = HeadTail(4 * TAIL, head=0), False
        if fresh and self._tail_open:
            text = "\n" + text
        self._tail.add(text)
        self._tail_open = not text.endswith("\n")

    def _take_pieces(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text


def hidden_bound(expression: str, bound: float | None) -> str:
    """A gate's bound, as ``bound 0.97``, where its expression does not show it (``f1 >= baseline``); else empty."""
    if bound is None or re.search(rf"[<>=]\s*{re.escape(_number(bound))}$", expression):
        return ""
    return f"bound {_number(bound)}"


def _number(value: Any) -> str:
    return "no value" if value is None else number_text(value)
