"""What a run on a gateway leaves here, and the types of the fixtures that start one."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = (
    "run.json",
    "metrics.json",
    "junit.xml",
    "console.log",
    "executed.ipynb",
    "report/index.html",
    "events.jsonl",
)

RunCode = Callable[..., int]
Command = Callable[..., "subprocess.Popen[str]"]


def record(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "out" / "run.json").read_text())
    for name in RESULTS:
        assert (folder / "out" / name).stat().st_size > 0, name
    return result


def log(folder: Path) -> list[bytes]:
    return (folder / "out" / "events.jsonl").read_bytes().splitlines()


def wait_for(what: Callable[[], Any], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
