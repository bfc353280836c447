"""Runs that people are looking at while they go on: console and report, computed once for all who look.

Each web worker reads a run's log on from where it was, so that a poll costs what is new, not what is there. Any worker
can begin from the log alone; what is kept here only saves work.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..projections import Report
from ..projections.bundles import Blobs
from ..projections.cells import RunState
from ..projections.console import Console
from ..projections.text import strip_ansi
from ..settings import Settings
from ..store.eventlog import LogReader

KEPT = 16
"""Runs that are kept at a time; the one that nobody asked for longest makes room."""

IDLE_SECONDS = 60.0
"""After how long without a question a run is dropped."""

CONSOLE_TAIL = 128 * 1024
"""Characters of the console's end that a page shows; all of it is a link away."""

FILE_BYTES = 64 << 20
"""Bytes of figures that are kept of all rendered reports; further ones are made again when they are asked for."""

SHARE = 5
"""A report is rendered again after so many times the seconds that it took, so that this never fills a processor."""

BYTES_PER_SECOND = 512 * 1024
"""How fast a report's text may be sent again: one that fills pages and pages is renewed less often."""

T = TypeVar("T")


@dataclass(frozen=True)
class Rendered:
    """A report as of event ``seq``. ``versions``: name of each figure → a digest that changes with it."""

    seq: int
    page: str
    versions: dict[str, str] = field(default_factory=dict)


class LiveRun:
    """One run, read on at each question. Used by one thread at a time: `LiveRuns` sees to it."""

    def __init__(self, settings: Settings, blobs: Blobs, log: Path) -> None:
        self.state = RunState()
        self.asked = time.monotonic()
        self._log = LogReader(log)
        self._report = Report(settings, blobs)
        self._console = Console(settings)
        self._text = ""
        self._end = 0
        self._seq = 0
        self._rendered: Rendered | None = None
        self._next_render = 0.0
        self._files: dict[str, bytes] = {}

    def read_on(self) -> None:
        """Take the events that have come. Raises OSError."""
        self.asked = time.monotonic()
        while events := self._log.read():
            printed = []
            for event in events:
                self.state.feed(event)
                self._report.feed(event)
                printed.append(self._console.feed(event))
            self._add("".join(printed))
            self._seq = int(events[-1]["seq"])

    def _add(self, text: str) -> None:
        text = strip_ansi(text)
        self._end += len(text)
        self._text = (self._text + text)[-CONSOLE_TAIL:]

    def console(self, start: int) -> tuple[int, str, int]:
        """Where the text begins, the text from `start` on, as far as it is kept, and where to go on; in characters."""
        first = self._end - len(self._text)
        begin = start if first <= start <= self._end else first
        return begin, self._text[begin - first :], self._end

    def report(self) -> Rendered:
        """The report so far, or the last one if it was rendered a moment ago."""
        kept = self._rendered
        if kept is not None and (kept.seq == self._seq or time.monotonic() < self._next_render):
            return kept
        begun = time.monotonic()
        page, versions, room = "", {}, FILE_BYTES
        files: dict[str, bytes] = {}
        self._files = {}  # those before make room
        for name, content in self._report.files():
            if name == "index.html":
                page = content.decode()
                continue
            versions[name] = hashlib.sha256(content).hexdigest()[:12]
            room -= len(content)
            if room >= 0:
                files[name] = content
        self._files = files
        self._rendered = Rendered(self._seq, page, versions)
        pause = max((time.monotonic() - begun) * SHARE, len(page) / BYTES_PER_SECOND)
        self._next_render = time.monotonic() + pause
        return self._rendered

    def file(self, name: str) -> bytes | None:
        """A figure or style of the report; None if it has none of that name."""
        if name not in self.report().versions:
            return None
        kept = self._files.get(name)
        if kept is not None:
            return kept
        return next((content for path, content in self._report.files() if path == name), None)

    @property
    def file_bytes(self) -> int:
        """Bytes of figures that are kept. May be asked from any thread, as `forget_files`."""
        return sum(map(len, tuple(self._files.values())))

    def forget_files(self) -> None:
        """Keep no figures: room for those of other runs."""
        self._files = {}

    def close(self) -> None:
        """Give the log back."""
        self._log.close()


@dataclass
class _Entry:
    """A run that is kept, and how many threads ask it something or wait to."""

    run: LiveRun
    lock: threading.Lock = field(default_factory=threading.Lock)
    askers: int = 0
    is_broken: bool = False
    """Whether reading on failed midway: what has been read so far is of no use any more."""


class LiveRuns:
    """The runs that were asked for last. Used from all threads of a worker."""

    def __init__(self, settings: Settings, blobs: Blobs) -> None:
        self._settings = settings
        self._blobs = blobs
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def ask(self, id: str, log: Path, question: Callable[[LiveRun], T]) -> T:
        """Ask a run something, after it has read on. Raises OSError, and what `question` raises."""
        while True:
            entry = self._take(id, log)
            try:
                with entry.lock:
                    if entry.is_broken:
                        continue  # another thread found that while this one waited
                    try:
                        entry.run.read_on()
                    except BaseException:
                        entry.is_broken = True
                        raise
                    return question(entry.run)
            finally:
                self._give_back(id, entry)

    def _take(self, id: str, log: Path) -> _Entry:
        with self._lock:
            entry = self._entries.pop(id, None)
            if entry is None or entry.is_broken:
                entry = _Entry(LiveRun(self._settings, self._blobs, log))
            self._entries[id] = entry  # the last one is the one that was asked for last
            entry.askers += 1
            self._drop_idle()
        return entry

    def _give_back(self, id: str, entry: _Entry) -> None:
        with self._lock:
            entry.askers -= 1
            if entry.is_broken:
                if self._entries.get(id) is entry:
                    del self._entries[id]
                if not entry.askers:
                    entry.run.close()
            room = FILE_BYTES
            for kept in reversed(list(self._entries.values())):
                room -= kept.run.file_bytes
                if room < 0:
                    kept.run.forget_files()

    def forget(self, id: str) -> None:
        """Drop a run, because it has ended."""
        with self._lock:
            self._drop(id)

    def _drop_idle(self) -> None:
        now = time.monotonic()
        for id, entry in list(self._entries.items()):
            if len(self._entries) > KEPT or now - entry.run.asked > IDLE_SECONDS:
                self._drop(id)

    def _drop(self, id: str) -> None:
        if id in self._entries and not self._entries[id].askers:
            self._entries.pop(id).run.close()

    def close(self) -> None:
        """Drop all."""
        with self._lock:
            for id in list(self._entries):
                self._drop(id)


def state_of(run: LiveRun) -> dict[str, Any]:
    """What a page tells of a run besides console and report: where it came from, how far it is."""
    state = run.state
    queued, started = state.queued or {}, state.started or {}
    current = state.cell(state.current)
    return {
        "provenance": queued.get("provenance") or {},
        "agent": started.get("agent"),
        "kernel": started.get("kernel"),
        "status": state.status,
        "cells": state.code_cells,
        "cell": current.number if current is not None and current.status == "running" else None,
        "title": current.title if current is not None and current.status == "running" else "",
        "artifacts": list(state.artifacts.values()),
    }
