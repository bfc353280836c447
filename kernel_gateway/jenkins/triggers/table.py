"""What a check has found and done, as a table for people and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from .check import Outcome
from .conditions import Finding, problems
from .values import printable

WIDEST = 46
"""Characters of a column before the last."""

HEADING = ("condition", "old", "new", "verdict")


def render(outcomes: Sequence[Outcome], dry_run: bool) -> str:
    """The tables of all triggers, one below the other, without a line break at the end."""
    return "\n\n".join(_trigger(outcome, dry_run) for outcome in outcomes)


def _trigger(outcome: Outcome, dry_run: bool) -> str:
    trigger = outcome.decision.trigger
    rows = [
        (one.watch.title, one.old or "–", one.new, one.words + (" (error)" if one.error else ""))
        for one in outcome.decision.judgements
    ]
    lines = [f"{trigger.name} → job {trigger.job}"]
    if outcome.resumed:
        lines.append(f"  {outcome.resumed}")
    if rows:
        lines += [f"  {line}" for line in _columns([HEADING, *rows])]
    lines.append(f"  {verdict(outcome, dry_run)}")
    return "\n".join(printable(line) for line in lines)


def verdict(outcome: Outcome, dry_run: bool) -> str:
    """What comes of it, in a sentence."""
    decision = outcome.decision
    if outcome.failure is not None:
        return f"not started: {outcome.failure}"
    if outcome.started and dry_run:
        return "would be started"
    if outcome.started:
        return f"started: {outcome.build}"
    if decision.held:
        return decision.held
    return "nothing to do" if decision.judgements else "looked after"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns side by side, long texts over several lines; the last column is as wide as it is."""
    widths = [min(WIDEST, max(len(row[column]) for row in rows)) for column in range(len(HEADING) - 1)]
    lines = []
    for row in rows:
        cells = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=False)]
        height = max(map(len, cells))
        for index in range(height):
            parts = [
                (cell[index] if index < len(cell) else "").ljust(width)
                for cell, width in zip(cells, widths, strict=True)
            ]
            lines.append("  ".join([*parts, row[-1] if index == 0 else ""]).rstrip())
    return lines


def as_json(outcome: Outcome, dry_run: bool) -> dict[str, Any]:
    """One trigger's outcome as an object."""
    decision = outcome.decision
    return {
        "trigger": decision.trigger.name,
        "job": decision.trigger.job,
        "started": outcome.started and not dry_run,
        "would_start": outcome.started and dry_run,
        "build": outcome.build or None,
        "reason": decision.reason or None,
        "held": decision.held or None,
        "resumed": outcome.resumed or None,
        "failure": str(outcome.failure) if outcome.failure else None,
        "remarks": outcome.remarks,
        "verdict": verdict(outcome, dry_run),
        "conditions": [
            {
                "condition": one.watch.title,
                "kind": one.watch.kind,
                "finding": str(one.finding),
                "old": one.old or None,
                "new": one.new if one.finding is not Finding.UNREADABLE else None,
                "verdict": one.words,
                "error": one.error,
            }
            for one in decision.judgements
        ],
    }


def warnings(outcomes: Sequence[Outcome]) -> list[str]:
    """Sentences for stderr: sources that can't be read, starts that failed, what else to know."""
    told = []
    for outcome in outcomes:
        name = outcome.decision.trigger.name
        bad = {id(one) for one in problems(outcome.decision)}
        for one in outcome.decision.judgements:
            if one.finding is Finding.UNREADABLE:
                kind = "error" if id(one) in bad else "warning"
                told.append(printable(f"{kind}: trigger {name}, {one.watch.title} {one.words}"))
        told += [printable(f"trigger {name}: {remark}") for remark in outcome.remarks]
        if outcome.failure is not None:
            told.append(printable(f"trigger {name} could not start its job: {outcome.failure}"))
    return told
