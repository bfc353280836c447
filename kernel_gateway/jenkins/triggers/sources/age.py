"""``age``: no successful run for so long: of the trigger's Jenkins job, of an MLflow experiment, or of a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..evidence import Context, Evidence, Kind
from ..values import Schema, positive_duration, span, text


def read(settings: Mapping[str, Any], context: Context) -> Evidence:
    """How long ago the last success was.

    After a start the condition holds again only when as much time has gone by once more: a job that fails is tried
    again at that pace, and not at every check.
    """
    succeeded = _last_success(settings, context)
    limit = settings["age"]
    if succeeded is None:
        last, at = "never", "none yet"
        met, why = True, "there was no successful run yet"
    else:
        passed = max(0.0, context.now - succeeded)
        last, at = str(int(succeeded)), datetime.fromtimestamp(succeeded, UTC).strftime("%Y-%m-%d %H:%M UTC")
        met, why = passed >= limit, f"{span(passed)} ago, the limit is {span(limit)}"
    basis = context.basis
    # Also where the clock was set back by less than that: a start more is worse than one that comes later.
    acted = basis.data["at"] if basis is not None and basis.met and basis.data.get("last") == last else None
    if basis is not None and acted is not None and abs(context.now - acted) < limit:
        return Evidence(basis.token, at, met, why, basis.data)
    return Evidence(f"{last} {context.now}", at, met, why, {"last": last, "at": context.now})


def _last_success(settings: Mapping[str, Any], context: Context) -> float | None:
    """Seconds since 1970, or None if there was none."""
    if "experiment" in settings:
        return context.catalogue().last_success(settings["experiment"])
    if "run" in settings:
        return context.gateway_success(settings["run"])
    return context.builds().last_success(settings.get("job", context.job))


def _title(settings: Mapping[str, Any]) -> str:
    named = [name for name in ("experiment", "run", "job") if name in settings]
    if len(named) > 1:
        raise ValueError(f"give only one of {' and '.join(map(repr, named))}")
    of = f" of {named[0]} {settings[named[0]]}" if named else ""
    return f"no success{of} for {span(settings['age'])}"


KIND = Kind(Schema(positive_duration, {"experiment": text, "run": text, "job": text}), _title, read)
