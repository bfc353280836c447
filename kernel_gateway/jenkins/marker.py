"""The ownership marker: a sentence at the end of a job's description, which people see and every Jenkins keeps.

`jobs apply` changes and deletes only jobs that carry it, and deletes only those whose set it works on.
"""

from __future__ import annotations

import re

from ..errors import UsageError

DEFAULT_SET = "kernel-gateway"
"""Name of the set of jobs when nobody names one."""

_SET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_MARKER = re.compile(
    r"\s*This job is written by `kernel-gateway jobs apply` \(set (?P<set>[A-Za-z0-9][A-Za-z0-9_.-]*)\):"
    r" change its YAML, not this page\.\s*\Z"
)


def check_set(name: str) -> str:
    """The name of a set. Raises `UsageError` for one that has other characters than letters, digits and ``_.-``."""
    if not _SET.match(name):
        raise UsageError(
            f"{name!r} can't be the name of a set of jobs: up to 64 letters, digits and _ . - are allowed.", field="set"
        )
    return name


def mark(description: str, set_name: str) -> str:
    """A job's description with the marker of a set at its end, instead of any that is there."""
    text = _MARKER.sub("", description).rstrip()
    marker = f"This job is written by `kernel-gateway jobs apply` (set {set_name}): change its YAML, not this page."
    return f"{text}\n\n{marker}" if text else marker


def set_of(description: str | None) -> str | None:
    """The set that a job's description names; None when it has no marker, so that the job is not ours."""
    match = _MARKER.search((description or "").replace("\r", ""))
    return match["set"] if match else None
