"""What is remembered of a trigger, and how a check changes it. Data in, data out; `state` keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .evidence import Evidence
from .plan import DAY, Trigger

KEPT_STARTS = 200
"""Starts that are remembered, however old they are; those of a day, which `max_per_day` counts, all are."""


@dataclass(frozen=True)
class Start:
    """A build that was started. ``at``: seconds since 1970; ``build``: its URL or that of its place in the queue."""

    id: str
    at: float
    reason: str
    build: str = ""


@dataclass(frozen=True)
class Seen:
    """What is remembered of one condition.

    ``basis``: the evidence last acted on, or found first. ``latest`` was there since ``since`` (seconds since 1970).
    ``failures``: looks that failed since the last one that did not, and ``problem``, why.
    """

    basis: Evidence | None = None
    latest: Evidence | None = None
    since: float = 0.0
    failures: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Intent:
    """A start that was decided, and perhaps carried out: written down before Jenkins is asked.

    ``id`` goes to Jenkins as a parameter of the build, by which it is found again. ``bases``: what to remember of the
    conditions once the build is there.
    """

    id: str
    at: float
    reason: str
    job: str
    parameters: Mapping[str, str]
    bases: Mapping[str, Evidence]


@dataclass(frozen=True)
class Memory:
    """All that is remembered of one trigger. ``seen``: by the condition's key."""

    seen: Mapping[str, Seen] = field(default_factory=dict)
    starts: tuple[Start, ...] = ()
    intent: Intent | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Memory:
        """What `to_dict` gave. Raises KeyError, TypeError or ValueError for anything else."""
        intent = data["intent"]
        bases = {key: Evidence(**one) for key, one in intent["bases"].items()} if intent else {}
        return cls(
            {key: _seen(one) for key, one in data["seen"].items()},
            tuple(Start(**start) for start in data["starts"]),
            Intent(**{**intent, "bases": bases}) if intent else None,
        )


def _seen(data: Mapping[str, Any]) -> Seen:
    evidence = {name: Evidence(**data[name]) if data[name] else None for name in ("basis", "latest")}
    return Seen(**{**data, **evidence})


def observed(memory: Memory, trigger: Trigger, found: Mapping[str, Evidence | str], now: float) -> Memory:
    """What is remembered after a look at all sources; a text stands for the reason of a failure.

    What a condition finds first becomes its basis, unless the trigger is to fire on it. Conditions that are no longer
    in the file are forgotten. What lies in the future, since the clock was set back, counts from now on: it would hold
    everything else until then.
    """
    starts = tuple(replace(start, at=min(start.at, now)) for start in memory.starts)
    seen = {}
    for watch in trigger.watches():
        before = memory.seen.get(watch.key, Seen())
        now_found = found[watch.key]
        if isinstance(now_found, str):
            seen[watch.key] = replace(before, failures=before.failures + 1, problem=now_found)
            continue
        same = before.latest is not None and before.latest.token == now_found.token
        basis = before.basis
        if basis is None and now_found.met is None and not trigger.limits.fire_on_first:
            basis = now_found
        seen[watch.key] = Seen(basis, now_found, min(before.since, now) if same else now)
    return replace(memory, seen=seen, starts=starts)


def intended(memory: Memory, intent: Intent) -> Memory:
    """A start was decided."""
    return replace(memory, intent=intent)


def forgotten(memory: Memory) -> Memory:
    """The start that was intended can take place no more."""
    return replace(memory, intent=None)


def started(memory: Memory, build: str, at: float) -> Memory:
    """The start that was intended has taken place: what was found then is what changes are told from."""
    intent = memory.intent
    assert intent is not None
    seen = {
        key: replace(one, basis=intent.bases[key]) if key in intent.bases else one for key, one in memory.seen.items()
    }
    starts = (*memory.starts, Start(intent.id, at, intent.reason, build))
    kept = tuple(
        start for place, start in enumerate(starts, KEPT_STARTS - len(starts)) if place >= 0 or at - start.at < DAY
    )
    return Memory(seen, kept)
