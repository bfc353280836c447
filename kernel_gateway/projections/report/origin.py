"""The section that tells where a run came from, for whoever asks a year later."""

from __future__ import annotations

import json
from typing import Any

from ...events import Event
from ..cells import RunState
from ..text import size_text
from .html import Html, el, facts, join, table

MAX_INPUTS = 1000
"""Input files that are listed; the event log has them all."""


def provenance_section(state: RunState) -> Html:
    """Commit, parameters, environment and inputs, as far as the events tell them."""
    queued, started, finished = state.queued or {}, state.started or {}, state.finished or {}
    given = queued.get("provenance") or {}
    program = state.program
    rows: list[tuple[str, object]] = [
        ("Run", state.run_id),
        ("Tries again", given.get("retry_of")),
        ("Runs again", given.get("rerun_of")),
        ("Started", _time(queued)),
        ("Ended", _time(finished)),
        ("Source", program.get("path") or program.get("name")),
        ("Digest", given.get("source_digest") or program.get("digest")),
        ("Parameters", _pairs(given.get("parameters"))),
        ("Git", _pairs(given.get("git"))),
        ("Build", _pairs(given.get("build"))),
        ("Submitted with token", given.get("token")),
        ("Secrets passed on", ", ".join(map(str, given.get("secrets") or []))),
        ("Resources", _pairs(queued.get("resources"))),
        ("Environment", _pairs(given.get("env"))),
        ("Agent", started.get("agent")),
        ("Kernel", started.get("kernel")),
        ("Versions", _pairs(finished.get("versions") or started.get("versions"))),
    ]
    return el(
        "section",
        el("h2", "Where this came from", id="origin"),
        facts(rows),
        _packages(finished.get("packages")),
        _inputs(given.get("inputs")),
    )


def _time(event: Event) -> str:
    """An event's time to the second; the milliseconds stand in the log."""
    return str(event.get("time") or "")[:19].replace("T", " ") + " UTC" if event.get("time") else ""


def _packages(packages: Any) -> Html | str:
    if not isinstance(packages, dict) or not packages:
        return ""
    rows = sorted((str(name), version) for name, version in packages.items())
    return el("details", el("summary", counted(len(packages), "package")), facts(rows))


def _inputs(inputs: Any) -> Html | str:
    files = [file for file in inputs if isinstance(file, dict)] if isinstance(inputs, list) else []
    if not files:
        return ""
    rows = [
        (
            str(file.get("path")),
            size_text(file["size"]) if isinstance(file.get("size"), int) else "–",
            el("code", str(file.get("sha256") or "")),
        )
        for file in files[:MAX_INPUTS]
    ]
    more = f" (the first {MAX_INPUTS} here)" if len(files) > MAX_INPUTS else ""
    listed = table(("File", "Size", "SHA-256"), rows, label="Input files")
    return el("details", el("summary", counted(len(files), "input file") + more), listed)


def counted(count: int, what: str) -> str:
    """A count with its noun: ``1 package``, ``2 packages``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _pairs(values: Any) -> Html | str:
    if not isinstance(values, dict):
        return "" if values is None else str(values)
    shown = [(name, value) for name, value in values.items() if value not in (None, "", {}, [])]
    return join(el("div", el("span", f"{name} ", class_="quiet"), _value(value)) for name, value in shown)


def _value(value: Any) -> Html | str:
    if isinstance(value, str) and value.startswith(("https://", "http://")):
        return el("a", value, href=value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
