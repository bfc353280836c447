"""What one round of one contestant gave, and the statistics over rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

SCHEMA = 2
"""Version of ``results.json``, which `report` and `plot` read."""

Samples = dict[str, list[dict[str, Any]]]
"""Contestant → its samples, as `Sample` has them, in the order of the rounds."""


@dataclass
class Sample:
    """One round of one contestant; None where it has no such figure.

    ``seconds``: the whole command, or all commands of a batch. ``first``: seconds until its first output, for one that
    shows nothing before the end the whole command. ``cells``: seconds from the first cell's start to the last one's
    end. ``delays``: milliseconds, one for each line or request. ``lost``: lines printed in the kernel that the result
    lacks or has garbled. ``runner_mb``: peak resident memory of the process that handles the kernel's messages;
    ``tree_mb``: of it, kernel, server and command together; ``idle_mb``, ``running_mb``: what one kernel kept ready and
    one run more take. Memory is in 10^6 bytes.
    """

    seconds: float | None = None
    first: float | None = None
    cells: float | None = None
    delays: list[float] = field(default_factory=list)
    lost: int | None = None
    runner_mb: float | None = None
    tree_mb: float | None = None
    idle_mb: float | None = None
    running_mb: float | None = None


def values(samples: Sequence[dict[str, Any]], key: str) -> list[float]:
    """A figure of all rounds that have it."""
    return [sample[key] for sample in samples if sample[key] is not None]


def delays(samples: Sequence[dict[str, Any]]) -> list[float]:
    """The delays of all rounds together."""
    return [delay for sample in samples for delay in sample["delays"]]


def middle(samples: Sequence[dict[str, Any]], key: str) -> float | None:
    """Median over the rounds; None without any."""
    found = values(samples, key)
    return median(found) if found else None


def ratio(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], key: str = "seconds") -> float | None:
    """Ours divided by theirs, the median of the rounds' own ratios: both of a round ran within the same minute, so a
    machine that is busy for a while slows both. None where a side has no such figure.
    """
    pairs = zip(ours, theirs, strict=False)
    found = [one[key] / other[key] for one, other in pairs if one[key] is not None and other[key]]
    return median(found) if found else None


def percentile(found: Sequence[float], share: float) -> float:
    """The value that ``share`` of the values do not exceed; one that occurred."""
    return sorted(found)[min(len(found) - 1, int(share * len(found)))]
