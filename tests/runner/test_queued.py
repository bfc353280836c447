"""The first event tells exactly what was asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path

from kernel_gateway.events import EventType
from kernel_gateway.runner.queued import queued_fields
from kernel_gateway.settings import RunOptions
from kernel_gateway.sources.program import Program
from kernel_gateway.store.eventlog import EventLog


def test_parameters_that_json_has_no_numbers_for_are_told_exactly(tmp_path: Path) -> None:
    parameters = {"a": math.nan, "b": [-math.inf, 0.1], "c": {"d": 2**64}, "e": 2**64 - 1, "f": True, "g": None}
    program = Program(name="n", path=None, format="snippet", digest="", cells=[], parameters=parameters)
    log = EventLog(tmp_path / "events.jsonl")
    log.append(EventType.RUN_QUEUED, **queued_fields(program, RunOptions(name="n"), {"run": "1"}))
    log.close()

    event = json.loads((tmp_path / "events.jsonl").read_text())

    told = {"a": "NaN", "b": ["-Infinity", 0.1], "c": {"d": str(2**64)}, "e": 2**64 - 1, "f": True, "g": None}
    assert event["provenance"]["parameters"] == told
    assert event["program"]["parameters"] == told
