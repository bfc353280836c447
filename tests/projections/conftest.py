"""Event logs made by hand: `Log` writes what the runner would, with a clock that the test moves."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kernel_gateway.events import Event
from kernel_gateway.projections import Blobs, Console
from kernel_gateway.settings import Settings

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
START = datetime(2026, 11, 21, 3, 0, 0, tzinfo=UTC)


def code(source: str, title: str = "", *, tags: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """A code cell as `Program.to_dict()` gives it; its id is set by `Log`."""
    return _cell("code", source, title, {"tags": list(tags)} if tags else {}, more)


def markdown(source: str, **more: Any) -> dict[str, Any]:
    """A Markdown cell."""
    return _cell("markdown", source, "", {}, more)


def _cell(kind: str, source: str, title: str, metadata: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": kind,
        "source": source,
        "title": title,
        "kernel": None,
        "metadata": metadata,
        "attachments": None,
    } | more


class Log:
    """A log under construction. ``events`` is what projections are fed."""

    def __init__(self, *cells: dict[str, Any], name: str = "train.ipynb", **provenance: Any) -> None:
        self.events: list[Event] = []
        self.blobs_by_sha: dict[str, bytes] = {}
        self.clock = START
        self.count = 0
        numbered = [{"id": f"cell-{index}", **cell} for index, cell in enumerate(cells)]
        program = {
            "name": name,
            "path": f"jobs/{name}",
            "format": "ipynb",
            "digest": "sha256:" + "0" * 64,
            "cells": numbered,
            "kernel": "python3",
            "language": "python",
            "parameters": {},
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        }
        given: dict[str, Any] = {
            "source_digest": "sha256:" + "0" * 64,
            "git": None,
            "build": None,
            "parameters": {},
            "secrets": [],
        }
        self.add("run_queued", run="run-1", program=program, resources={"gpus": 0}, provenance=given | provenance)

    def add(self, type: str, /, *, after: float = 0.0, **fields: Any) -> Log:
        """One event, ``after`` seconds later than the last."""
        self.clock += timedelta(seconds=after)
        time = self.clock.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.events.append({"seq": len(self.events) + 1, "time": time, "type": type, **fields})
        return self

    def start(self) -> Log:
        versions = {"gateway": "0.1.0", "python": "3.11.2", "ipykernel": "7.4.0"}
        return self.add("run_started", agent="agent-1", kernel="python3", versions=versions)

    def cell(self, index: int) -> Log:
        return self.add("cell_started", cell=index, id=f"cell-{index}", title=self._title(index), kernel="python3")

    def done(self, index: int, status: str = "ok", seconds: float = 0.1) -> Log:
        self.count += status not in ("skipped", "aborted")
        count = self.count if status not in ("skipped", "aborted") else None
        return self.add(
            "cell_finished",
            after=seconds,
            cell=index,
            id=f"cell-{index}",
            title=self._title(index),
            status=status,
            seconds=seconds,
            execution_count=count,
        )

    def _title(self, index: int) -> str:
        return str(self.events[0]["program"]["cells"][index]["title"])

    def print(self, text: str, *, cell: int | None = 0, name: str = "stdout", after: float = 0.0) -> Log:
        return self.add("stream", after=after, cell=cell, name=name, text=text)

    def display(self, data: dict[str, Any], *, type: str = "display", cell: int | None = 0, **more: Any) -> Log:
        fields: dict[str, Any] = {"metadata": {}, "blobs": {}, "display_id": None} | more
        return self.add(type, cell=cell, data=data, **fields)

    def blob(self, content: bytes, encoding: str) -> dict[str, Any]:
        """Keep a blob; gives the reference that a display carries."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.blobs_by_sha[sha256] = content
        return {"sha256": sha256, "size": len(content), "encoding": encoding}

    def error(self, cell: int, ename: str = "ValueError", evalue: str = "no data") -> Log:
        traceback = ["\x1b[31mTraceback\x1b[0m (most recent call last)", f"\x1b[31m{ename}\x1b[0m: {evalue}"]
        return self.add("error", cell=cell, ename=ename, evalue=evalue, traceback=traceback)

    def end(self, status: str = "succeeded", reason: str = "", code: int = 0) -> Log:
        seconds = (self.clock - START).total_seconds()
        fields: dict[str, Any] = {"packages": {"numpy": "2.3.1"}, "exit_code": code}
        return self.add("run_finished", status=status, reason=reason, seconds=seconds, **fields)

    @property
    def blobs(self) -> Blobs:
        return self.blobs_by_sha.__getitem__


def console_text(log: Log, settings: Settings | None = None, *, progress: bool = True) -> str:
    """The whole console of a log."""
    console = Console(settings or Settings(), progress=progress)
    return "".join([console.feed(event) for event in log.events]) + console.finish()


@pytest.fixture
def rich_log() -> Log:
    """A realistic run: every event type, several kinds of output, a failing cell, a gate, late output."""
    log = Log(
        markdown("# Train a model\n\nOn *digits*, see <script>alert(1)</script> [docs](https://example.org)."),
        code("epochs = 3", "epochs = 3", tags=("parameters",)),
        code("fit()", "Train"),
        code("skip()", "Skip me", tags=("skip-execution",)),
        code("1/0", "Expected", tags=("raises-exception",)),
        code("plot()", "Plot"),
        code("boom()", "Check the data"),
        code("never()", "Never"),
        parameters={"epochs": 3},
        git={"commit": "abc123", "dirty": False},
        secrets=["TOKEN"],
    )
    log.start().add("log", level="warning", message="no GPU here")
    log.cell(1).done(1)
    log.cell(2)
    for step in range(5):
        log.print(f"\r{step * 25:3}%|{'#' * step}", cell=2, name="stderr", after=2.0)
        log.print(f"::metric name=loss value={1 / (step + 1)} step={step}\n", cell=2)
        log.add("metric", name="loss", value=1 / (step + 1), step=step, cell=2)
    log.add("metric", name="odd", value="NaN", step=None, cell=2)
    log.display({"text/plain": "step 0"}, cell=2, display_id="d1")
    log.display({"text/plain": "step 1"}, type="display_update", cell=2, display_id="d1")
    log.done(2, seconds=10.0).done(3, "skipped", 0)
    log.cell(4).error(4, "ZeroDivisionError", "division by zero").done(4, "error")
    log.cell(5)
    log.display({"text/plain": "old"}, cell=5).add("clear_output", cell=5, wait=True)
    html = "<table><tr><td onclick='x()' style='color:red'>1</td></tr></table><script>x()</script>"
    log.display({"text/html": html, "text/plain": "1"}, cell=5)
    log.display({"text/plain": "<Figure>"}, cell=5, blobs={"image/png": log.blob(b"\x89PNG" * 300, "base64")})
    log.display({"image/png": PNG + "\n", "text/plain": "<Figure size 1x1>"}, cell=5)
    log.display({"text/plain": "42"}, type="result", cell=5, execution_count=4)
    log.add("artifact", path="models/m 1.pkl", sha256="f" * 64, size=2048, media_type="x/y", cell=5).done(5)
    log.cell(6).print("about to fail\n", cell=6).error(6).done(6, "error")
    log.print("late\n", cell=None)
    log.display({"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2}}, cell=None)
    log.add("gate", expression="loss <= 0.1", value=0.2, bound=0.1, passed=False, message="")
    log.add("gate", expression="loss <= 1", value=0.2, bound=1, passed=True, message="")
    return log.end("failed", "Cell 5 (Check the data) failed: ValueError: no data", 1)
