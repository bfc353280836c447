"""Decides: what was found against what is remembered, limits, and the verdict in words. Pure; the time is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .evidence import Evidence
from .memory import Memory, Seen
from .plan import DAY, Condition, Either, Limits, Trigger, Watch
from .values import printable, span


class Finding(StrEnum):
    """What is to be said of one condition."""

    MET = "met"
    NOT_MET = "not met"
    FIRST = "first look"
    SETTLING = "settling"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Judgement:
    """One condition at one check. ``old`` and ``new``: what was and what is there; ``words``: the verdict.

    ``error``: the source has failed so often that it needs somebody to look at it.
    """

    watch: Watch
    finding: Finding
    old: str
    new: str
    words: str
    error: bool = False


@dataclass(frozen=True)
class Decision:
    """What a trigger comes to. ``start``: start its job, for this ``reason``; ``held``: why not although it is due."""

    trigger: Trigger
    judgements: tuple[Judgement, ...]
    start: bool
    reason: str = ""
    held: str = ""


def decide(trigger: Trigger, memory: Memory, now: float) -> Decision:
    """Judge a trigger by its memory, which has taken in the check's own look (`memory.observed`)."""
    judged = {watch.key: judge(watch, memory.seen[watch.key], trigger.limits, now) for watch in trigger.watches()}
    judgements = tuple(judged.values())
    if not _holds(trigger.when, judged):
        return Decision(trigger, judgements, False)
    reason = reason_of(trigger, judged)
    held = holding(trigger.limits, [start.at for start in memory.starts], now)
    return Decision(trigger, judgements, not held, reason, held)


def judge(watch: Watch, seen: Seen, limits: Limits, now: float) -> Judgement:
    """Judge one condition. Evidence that was acted on is never met again."""
    old = seen.basis.shown if seen.basis else ""
    if seen.failures:
        tail = f" ({seen.failures} times in a row)" if seen.failures > 1 else ""
        error = seen.failures >= limits.errors_after
        return Judgement(watch, Finding.UNREADABLE, old, "?", f"can't be read{tail}: {seen.problem}", error)
    found = seen.latest
    assert found is not None
    changed = seen.basis is None or found.token != seen.basis.token
    finding, words = _finding(found, seen.basis, changed)
    is_change = found.met is None or found.is_change
    if finding is Finding.MET and is_change and (rested := now - seen.since) < limits.quiet_period:
        finding = Finding.SETTLING
        words += f"; it has rested for {span(rested)} of {span(limits.quiet_period)}"
    # A basis that is the first look itself shows nothing that was there before.
    first = finding is Finding.FIRST
    return Judgement(watch, finding, "" if first else old, found.shown, words)


def _finding(found: Evidence, basis: Evidence | None, changed: bool) -> tuple[Finding, str]:
    why = f": {found.why}" if found.why else ""
    if found.met is None:
        if basis is None:
            return Finding.MET, "seen for the first time"
        if basis is found:
            return Finding.FIRST, "first look, nothing to compare with yet"
        return (Finding.MET, f"changed{why}") if changed else (Finding.NOT_MET, "unchanged")
    if not found.met:
        return Finding.NOT_MET, f"no{why}"
    return (Finding.MET, f"yes{why}") if changed else (Finding.NOT_MET, f"yes, but a build was started for that{why}")


def _holds(condition: Condition, judged: Mapping[str, Judgement]) -> bool:
    """Whether a tree of conditions is met; what can't be read meets nothing."""
    if isinstance(condition, Watch):
        return judged[condition.key].finding is Finding.MET
    parts = (_holds(part, judged) for part in condition.parts)
    return any(parts) if isinstance(condition, Either) else all(parts)


def reason_of(trigger: Trigger, judged: Mapping[str, Judgement]) -> str:
    """Why the job is started, in a sentence for the build."""
    told = [
        f"{one.watch.title}: {f'{one.old} → ' if one.old and one.old != one.new else ''}{one.new}, {one.words}"
        for one in judged.values()
        if one.finding is Finding.MET
    ]
    # Names of files and values of databases: nothing that Jenkins could not keep, or a page or terminal would obey.
    return printable(f"Trigger {trigger.name}: {'; '.join(told)}")


def holding(limits: Limits, starts: list[float], now: float) -> str:
    """Why nothing may be started now, or an empty text. ``starts``: when builds were started."""
    interval = limits.minimal_interval
    if starts and interval and (passed := now - max(starts)) < interval:
        return f"held: the last start was {span(passed)} ago, {span(interval)} must lie between"
    recent = sum(1 for at in starts if now - at < DAY)
    if recent >= limits.max_per_day:
        return f"held: {recent} started within a day, {limits.max_per_day} may be"
    return ""


def problems(decision: Decision) -> list[Judgement]:
    """The conditions that need somebody to look at them."""
    return [one for one in decision.judgements if one.error]
