"""What a ``triggers.yaml`` says, as data: triggers, the tree of their conditions, their limits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MINIMAL_INTERVAL = 600.0
MAX_PER_DAY = 10
ERRORS_AFTER = 3

DAY = 86400.0


@dataclass(frozen=True)
class Watch:
    """One source to look at. ``kind`` is the registry's name for it, ``settings`` its checked fields by name.

    ``line`` is where it stands in the file.
    """

    kind: str
    settings: Mapping[str, Any]
    title: str
    line: int = 0

    @property
    def key(self) -> str:
        """By what its memory is found again: the same for the same condition, another one when it is rewritten."""
        text = json.dumps([self.kind, dict(self.settings)], sort_keys=True, default=str)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Every:
    """``all``: met when each of its parts is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Either:
    """``any``: met when one of its parts is."""

    parts: tuple[Condition, ...]


Condition = Watch | Every | Either


def watches(condition: Condition) -> Iterator[Watch]:
    """The sources in a tree of conditions, in order."""
    if isinstance(condition, Watch):
        yield condition
    else:
        for part in condition.parts:
            yield from watches(part)


@dataclass(frozen=True)
class Limits:
    """How often a trigger may start its job. Seconds and counts.

    ``quiet_period``: how long a change must have rested. ``errors_after``: consecutive failures of a source from
    which on that is an error.
    """

    minimal_interval: float = MINIMAL_INTERVAL
    quiet_period: float = 0.0
    max_per_day: int = MAX_PER_DAY
    fire_on_first: bool = False
    errors_after: int = ERRORS_AFTER


@dataclass(frozen=True)
class Trigger:
    """One entry: when the condition is met, the Jenkins job is started with these parameters."""

    name: str
    job: str
    when: Condition
    parameters: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()

    def watches(self) -> list[Watch]:
        """Its sources; one that stands there twice comes once."""
        return list({watch.key: watch for watch in watches(self.when)}.values())


@dataclass(frozen=True)
class Plan:
    """A whole file. ``folder`` is what relative paths in it start from; ``jenkins`` its URL, if it names one."""

    folder: str
    triggers: tuple[Trigger, ...]
    jenkins: str | None = None
    user: str | None = None
