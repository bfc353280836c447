"""The table that ends a run in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from ..projections.console import hidden_bound
from ..projections.margins import number_text
from ..projections.metrics import FROM_GATEWAY
from ..projections.text import one_line

RULE = "─" * 72


def summary(folder: Path) -> str:
    """A run's results in a few lines, from its ``run.json``; only the folder's name if that can't be read."""
    try:
        record = orjson.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        return f"Results: {folder}"
    metrics = {name: values for name, values in record["metrics"].items() if values.get("source") != FROM_GATEWAY}
    rows = [
        ("run", f"{record['name']} · {record['id']}"),
        ("status", _verdict(record)),
        ("cells", _cells(record["cells"])),
        *(("metric", f"{name} = {number_text(values['last'])}") for name, values in _some(metrics.items())),
        *(("gate", _gate(gate)) for gate in record["gates"]),
        *(("artifact", f"{one_line(item['path'])} ({_size(item['size'])})") for item in _some(record["artifacts"])),
        ("results", str(folder)),
        ("report", str(folder / "report" / "index.html")),
    ]
    return "\n".join([RULE, *(f"{name:<9} {text}" for name, text in rows), RULE])


def _verdict(record: dict[str, Any]) -> str:
    text = f"{record['status']} in {record['seconds'] or 0:.1f} s (exit code {record['exit_code']})"
    return f"{text}: {record['reason']}" if record["reason"] else text


def _cells(cells: list[dict[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for cell in cells:
        counts[cell["status"]] = counts.get(cell["status"], 0) + 1
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items()) or "none"


def _gate(gate: dict[str, Any]) -> str:
    sign = "met" if gate["passed"] else "NOT MET"
    bound = hidden_bound(gate["expression"], gate["bound"])
    value = "" if gate["value"] is None else f" (value {number_text(gate['value'])}{bound and ', ' + bound})"
    return f"{gate['expression']}: {sign}{value}{'; ' + gate['message'] if gate['message'] else ''}"


def _some(items: Any, most: int = 12) -> list[Any]:
    """The first of many; run.json has them all."""
    return list(items)[:most]


def _size(size: int) -> str:
    return f"{size} B" if size < 1024 else f"{size / 1024:.1f} KiB" if size < 1024**2 else f"{size / 1024**2:.1f} MiB"
