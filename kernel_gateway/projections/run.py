"""``run.json``: what was run, where, with what, and how it went. The record for whoever asks a year later."""

from __future__ import annotations

import json
from typing import Any

from ..events import Event, EventType, encode_number, seconds_between
from ..settings import Settings
from .bundles import Blobs
from .cells import RunState
from .metrics import FROM_GATEWAY, MetricTable

OUTPUTS = (EventType.STREAM, EventType.DISPLAY, EventType.RESULT, EventType.ERROR)


class Run:
    """The projection behind ``run.json``. An unfinished log gives the last known status and an empty reason."""

    def __init__(self, settings: Settings, blobs: Blobs) -> None:
        self._state = RunState()
        self._metrics = MetricTable()
        self._counts: dict[str, int] = dict.fromkeys(OUTPUTS, 0)
        self._bytes = {"stdout": 0, "stderr": 0}

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self._state.feed(event)
        self._metrics.feed(event)
        kind = event["type"]
        if kind in self._counts:
            self._counts[kind] += 1
        if kind == EventType.STREAM:
            text = event["text"]
            size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
            self._bytes[event["name"]] = self._bytes.get(event["name"], 0) + size

    def result(self) -> str:
        """The record as a JSON text."""
        return json.dumps(self._record(), indent=2, ensure_ascii=False, default=str) + "\n"

    def _record(self) -> dict[str, Any]:
        state = self._state
        queued, started, finished = state.queued or {}, state.started or {}, state.finished or {}
        provenance = dict(queued.get("provenance") or {})
        program = state.program
        kernels = [started.get("kernel"), *(cell.kernel for cell in state.cells if cell.start)]
        return {
            "id": state.run_id,
            "name": state.name,
            "status": state.status,
            "reason": state.reason,
            "exit_code": finished.get("exit_code"),
            "start": queued.get("time"),
            "end": finished.get("time"),
            "seconds": finished.get("seconds", self._seconds_so_far()),
            "agent": started.get("agent"),
            "kernel": started.get("kernel"),
            "kernels": list(dict.fromkeys(name for name in kernels if name)),
            "versions": started.get("versions") or {},
            "packages": finished.get("packages") or {},
            "source": {
                "path": program.get("path"),
                "format": program.get("format"),
                "digest": provenance.pop("source_digest", None) or program.get("digest"),
            },
            "parameters": provenance.pop("parameters", None) or {},
            "git": provenance.pop("git", None),
            "build": provenance.pop("build", None),
            "secrets": list(provenance.pop("secrets", None) or []),
            "resources": {
                **(queued.get("resources") or {}),
                **({"used": finished["usage"]} if finished.get("usage") else {}),
            },
            **({"provenance": provenance} if provenance else {}),
            "cells": self._cells(),
            "gates": [
                {name: gate.get(name) for name in ("expression", "value", "bound", "passed", "message")}
                for gate in state.gates
            ],
            "metrics": {
                name: {
                    **({"source": FROM_GATEWAY} if name in self._metrics.measured else {}),
                    **summary.to_dict(),
                    "steps": [[step, encode_number(value)] for step, value in summary.steps()],
                }
                for name, summary in self._metrics.summaries.items()
            },
            "artifacts": [
                {name: artifact.get(name) for name in ("path", "sha256", "size", "media_type", "cell")}
                for artifact in state.artifacts.values()
            ],
            "outputs": {**{str(kind): count for kind, count in self._counts.items()}, "bytes": self._bytes},
        }

    def _cells(self) -> list[dict[str, Any]]:
        return [
            {
                "index": cell.index,
                "id": cell.id,
                "title": cell.title,
                "kernel": cell.kernel,
                "status": cell.status or "not_run",
                "seconds": cell.seconds,
            }
            for cell in self._state.cells
            if cell.type == "code"
        ]

    def _seconds_so_far(self) -> float | None:
        state = self._state
        if not state.queued or not state.last_time:
            return None
        return seconds_between(state.queued["time"], state.last_time)
