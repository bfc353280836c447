"""One check of all triggers: look at the sources, decide, start builds, remember."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import GatewayError, UsageError
from ...tracking.mlflow_client import Refused, Unavailable
from . import memory as memories
from . import starting
from .builds import Builds
from .conditions import Decision, decide, problems
from .evidence import Context, Evidence, Unreadable
from .memory import Memory
from .plan import Plan, Trigger, Watch
from .sources import KINDS
from .sources.data import shown_place
from .state import State

SOURCE_SECONDS = 120.0
"""How long one source may take."""

SOURCE_THREAD = "source "
"""Beginning of the names of threads that look at a source."""

STARTED_CODE = 3
"""Exit code of a check that has started a build, or would have."""

ERROR_CODE = 1
"""Exit code of a check with a source that could not be read too many times."""


@dataclass
class Outcome:
    """What a check has done with one trigger.

    ``started``: a build was started, or with a dry run would be; ``resumed``: an earlier check's start was brought to
    its end, in these words. ``failure``: why it could not be started.
    """

    decision: Decision
    started: bool = False
    build: str = ""
    resumed: str = ""
    remarks: list[str] = field(default_factory=list)
    failure: GatewayError | None = None


@dataclass
class Surroundings:
    """What a check is given. ``builds``, ``catalogue``: connect at first use and raise `GatewayError`.

    ``clock``: seconds since 1970.
    """

    environ: Mapping[str, str]
    builds: Callable[[], Builds]
    catalogue: Callable[[], Any]
    gateway_success: Callable[[str], float | None]
    clock: Callable[[], float] = time.time
    source_seconds: float = SOURCE_SECONDS


def check(plan: Plan, state: State, surroundings: Surroundings, *, dry_run: bool = False) -> list[Outcome]:
    """Evaluate all triggers in order. With `dry_run` nothing is started or remembered. Raises `StorageError`."""
    return [_check_one(trigger, plan, state, surroundings, dry_run) for trigger in plan.triggers]


def exit_code(outcomes: list[Outcome]) -> int:
    """What the command exits with: the code of the first failure, else 1 for a source in error, 3 for a start, 0."""
    if failed := next((one.failure for one in outcomes if one.failure is not None), None):
        return failed.exit_code
    if any(problems(one.decision) for one in outcomes):
        return ERROR_CODE
    return STARTED_CODE if any(one.started for one in outcomes) else 0


def _check_one(trigger: Trigger, plan: Plan, state: State, surroundings: Surroundings, dry_run: bool) -> Outcome:
    outcome = Outcome(Decision(trigger, (), False))
    if state[trigger.name].intent is not None:
        _finish(outcome, trigger, state, surroundings, dry_run)
        if outcome.failure is not None or dry_run:
            return outcome
    memory = state[trigger.name]
    now = surroundings.clock()
    found = {watch.key: _look(watch, trigger, memory, plan, surroundings, now) for watch in trigger.watches()}
    memory = memories.observed(memory, trigger, found, now)
    outcome.decision = decision = decide(trigger, memory, now)
    if dry_run:
        outcome.started = decision.start
        return outcome
    state.remember(trigger.name, memory)
    if not decision.start:
        return outcome
    try:
        outcome.remarks += starting.start(state, trigger.name, decision, surroundings.builds(), now)
    except GatewayError as error:
        outcome.failure = error
        return outcome
    outcome.started, outcome.build = True, state[trigger.name].starts[-1].build
    return outcome


def _finish(outcome: Outcome, trigger: Trigger, state: State, surroundings: Surroundings, dry_run: bool) -> None:
    intent = state[trigger.name].intent
    assert intent is not None
    if dry_run:
        outcome.resumed = "an earlier check was interrupted while it started a build; the next one will look after it"
        outcome.decision = replace(outcome.decision, reason=intent.reason)
        outcome.started = True
        return
    try:
        end = starting.finish(state, trigger, surroundings.builds(), surroundings.clock())
    except GatewayError as error:
        if isinstance(error, UsageError) and intent.job != trigger.job:
            state.remember(trigger.name, memories.forgotten(state[trigger.name]))
            outcome.remarks.append(f"a start that an earlier check began is given up: {error}")
            return
        outcome.failure = error
        outcome.resumed = "an earlier check was interrupted while it started a build"
        return
    if end is starting.End.GIVEN_UP:
        outcome.remarks.append(
            f"a start of {intent.job!r} that an earlier check began is given up: the file names another job or other "
            "parameters by now."
        )
        return
    outcome.started, outcome.build = end is starting.End.STARTED, state[trigger.name].starts[-1].build
    outcome.resumed = f"the build of an earlier check that was interrupted {end}: {intent.reason}"


def _look(
    watch: Watch, trigger: Trigger, memory: Memory, plan: Plan, surroundings: Surroundings, now: float
) -> Evidence | str:
    """What a source says, or why it can't be read: whatever goes wrong there is its own matter."""
    seen = memory.seen.get(watch.key)
    context = Context(
        folder=plan.folder,
        environ=surroundings.environ,
        now=now,
        job=trigger.job,
        builds=surroundings.builds,
        catalogue=surroundings.catalogue,
        gateway_success=surroundings.gateway_success,
        basis=seen.basis if seen else None,
        latest=seen.latest if seen else None,
    )
    result: list[Evidence | str] = []

    def look() -> None:
        try:
            result.append(KINDS[watch.kind].read(watch.settings, context))
        except (Unreadable, GatewayError) as error:
            result.append(str(error).rstrip("."))
        except (Refused, Unavailable) as error:
            result.append(f"MLflow: {str(error).rstrip('.')}")
        except Exception as error:  # noqa: BLE001 — a library's surprise must not cost other triggers their check
            result.append(shown_place(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"))

    # A thread, since libraries wait as long as they like; one that never comes back does not keep the process.
    thread = threading.Thread(target=look, name=f"{SOURCE_THREAD}{watch.key}", daemon=True)
    thread.start()
    thread.join(surroundings.source_seconds)
    return result[0] if result else f"no answer within {surroundings.source_seconds:g} s"


def hangs() -> bool:
    """Whether a source that was given up is still being looked at."""
    return any(thread.name.startswith(SOURCE_THREAD) for thread in threading.enumerate())


def chosen(plan: Plan, names: tuple[str, ...]) -> Plan:
    """The plan with only those triggers. Raises `UsageError` for a name that is not there."""
    from .values import nearest

    known = [trigger.name for trigger in plan.triggers]
    for name in names:
        if name not in known:
            raise UsageError(f"There is no trigger {name!r}{nearest(name, known)}", field="only")
    return replace(plan, triggers=tuple(one for one in plan.triggers if one.name in names)) if names else plan
