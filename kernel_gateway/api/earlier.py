"""What earlier runs of the same name leave to a new one: the baseline of its gates, and the trend of its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from ..events import Status
from ..projections.history import history_after
from ..store.baseline import previous_results
from ..store.runs import RunRecord
from .schemas import RunRequest
from .service import REQUEST, Gateway

LOOK_BACK = 50
"""Earlier runs that are looked at."""


def with_earlier(gateway: Gateway, request: RunRequest) -> tuple[RunRequest, list[dict[str, Any]]]:
    """The request with a baseline, if its client knows none and there is one here, and its ``provenance.history``.

    The baseline is the last successful run of the same name, and of the same git branch where both have one.
    """
    records, _ = gateway.runs.list(name=request.name, limit=LOOK_BACK)
    ended = [record for record in records if Status(record.status).is_final]
    history = _history(gateway, ended)
    if request.baseline is None:
        for record in ended:
            folder = gateway.data.run(record.id)
            if record.status == Status.SUCCEEDED and _same_branch(request, folder):
                baseline = previous_results(folder)
                if baseline is not None:
                    return request.model_copy(update={"baseline": baseline.to_dict()}), history
    return request, history


def _history(gateway: Gateway, ended: list[RunRecord]) -> list[dict[str, Any]]:
    for record in ended:
        found = _read(gateway.data.run(record.id) / "run.json")
        if found:
            return history_after(found)  # its own history is part of it
    return []


def _same_branch(request: RunRequest, folder: Path) -> bool:
    branch = (request.git or {}).get("branch")
    earlier = (_read(folder / REQUEST).get("git") or {}).get("branch")
    return not branch or not earlier or branch == earlier


def _read(file: Path) -> dict[str, Any]:
    try:
        content = orjson.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
