"""A run that a test writes: its events, and when the connection to it breaks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

ID = "20261121-073012-{:08x}"

PROGRAM: dict[str, Any] = {
    "name": "job",
    "path": None,
    "format": "script",
    "digest": "sha256:" + "0" * 64,
    "cells": [{"id": "c1", "type": "code", "source": "print(1)", "title": "print(1)", "metadata": {}}],
    "kernel": "python3",
    "language": "python",
    "parameters": {},
    "metadata": {},
}


def event(seq: int, type: str, **fields: Any) -> bytes:
    """An event as its line, without the line's end."""
    moment = f"2026-11-21T07:30:{seq % 60:02d}.000000Z"
    return json.dumps({"seq": seq, "time": moment, "type": type, **fields}, separators=(",", ":")).encode()


@dataclass
class ScriptedRun:
    """A run and its log. `cuts`: at these events the connection breaks once, after so many bytes of the message."""

    id: str
    body: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    lines: list[bytes] = field(default_factory=list)
    status: str = "queued"
    artifacts: dict[str, bytes] = field(default_factory=dict)
    cuts: dict[int, int] = field(default_factory=dict)
    repeat: int = 0
    cancelled: int = 0
    retried_as: str | None = None
    finished: bool = False
    lag: float = 0.0
    ended: float = 0.0

    def add(self, type: str, **fields: Any) -> None:
        """Append an event."""
        self.lines.append(event(len(self.lines) + 1, type, **fields))

    def begin(self) -> None:
        """The events before a program's output."""
        self.add("run_queued", run=self.id, program=PROGRAM, resources={}, provenance={"source_digest": "x"})
        self.add("run_started", agent="here", kernel="python3", versions={"python": "3.11"})
        self.add("cell_started", cell=0, id="c1", title="print(1)", kernel="python3")
        self.status = "running"

    def say(self, text: str) -> None:
        """Output of the program."""
        self.add("stream", cell=0, name="stdout", text=text)

    def end(self, status: str = "succeeded", exit_code: int = 0, **fields: Any) -> None:
        """The events after a program's output."""
        self.add("cell_finished", cell=0, id="c1", title="print(1)", status="ok", seconds=0.1, execution_count=1)
        self.add(
            "run_finished", status=status, reason="" if exit_code == 0 else "because", seconds=0.2, packages={},
            exit_code=exit_code, **fields,
        )  # fmt: skip
        self.status = status
        self.finished = True
        self.ended = time.monotonic()

    def view(self) -> dict[str, Any]:
        """As the API shows it, after `lag` seconds in which a gateway writes an ended run's results."""
        is_over = self.finished and time.monotonic() >= self.ended + self.lag
        return {
            "id": self.id,
            "name": self.body.get("name", "job"),
            "status": self.status if is_over or not self.finished else "running",
            "reason": "",
            "exit_code": None,
            "created": "2026-11-21T07:30:12.000000Z",
            "finished": "2026-11-21T07:31:12.000000Z" if is_over else None,
            "seconds": None,
            "build": self.body.get("build"),
            "retried_as": self.retried_as,
            "links": {"self": f"/api/v1/runs/{self.id}"},
        }
