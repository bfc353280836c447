"""Starts a build exactly once. What is to be done is written down first; who finds that looks before doing it again.

    decided → the intent is on the disk → Jenkins is asked to build → the start is on the disk

Killed before the first arrow nothing was decided; after the last all is done. In between the next check finds the
intent, and Jenkins, asked for a build with the intent's id, says whether the request has come through.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum

from . import memory as memories
from .builds import Builds
from .conditions import Decision
from .evidence import Evidence
from .memory import Intent, Memory
from .plan import Trigger
from .state import State

SETTLE_SECONDS = 3.0
"""Between two questions for a build that may be on its way, to the queue or from there to its job."""


def new_id(now: float) -> str:
    """An id for a start, which tells when it was decided."""
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(8)}"


def intend(decision: Decision, memory: Memory, now: float) -> Intent:
    """The intent that a decision makes."""
    bases: Mapping[str, Evidence] = {
        key: seen.latest for key, seen in memory.seen.items() if seen.latest is not None and not seen.failures
    }
    trigger = decision.trigger
    return Intent(new_id(now), now, decision.reason, trigger.job, dict(trigger.parameters), bases)


def start(state: State, name: str, decision: Decision, builds: Builds, now: float) -> list[str]:
    """Start the build that was decided; returns remarks. Raises `GatewayError`: the intent, if written, stays."""
    memory = state[name]
    remarks = builds.check(decision.trigger.job, decision.trigger.parameters)
    state.remember(name, memories.intended(memory, intend(decision, memory, now)))
    _carry_out(state, name, builds, now)
    return remarks


class End(StrEnum):
    """What has become of an intent that an earlier check left."""

    FOUND = "is there"
    STARTED = "has been started now"
    GIVEN_UP = "is given up"


def finish(
    state: State, trigger: Trigger, builds: Builds, now: float, sleep: Callable[[float], None] = time.sleep
) -> End:
    """Bring an intent of an earlier check to its end. Raises `GatewayError`: the intent stays.

    One that has not come through is given up where the file says otherwise by now: Jenkins may have refused what stood
    there, a value that a parameter does not take for example, and would for ever.
    """
    memory = state[trigger.name]
    intent = memory.intent
    assert intent is not None
    found = builds.find(intent.job, intent.id)
    if found is None:
        sleep(SETTLE_SECONDS)
        found = builds.find(intent.job, intent.id)
    if found is not None:
        state.remember(trigger.name, memories.started(memory, found, intent.at))
        return End.FOUND
    if (intent.job, dict(intent.parameters)) != (trigger.job, dict(trigger.parameters)):
        state.remember(trigger.name, memories.forgotten(memory))
        return End.GIVEN_UP
    builds.check(intent.job, intent.parameters)
    _carry_out(state, trigger.name, builds, now)
    return End.STARTED


def _carry_out(state: State, name: str, builds: Builds, now: float) -> None:
    memory = state[name]
    intent = memory.intent
    assert intent is not None
    build = builds.start(intent.job, intent.parameters, intent.id, intent.reason)
    state.remember(name, memories.started(memory, build, now))
