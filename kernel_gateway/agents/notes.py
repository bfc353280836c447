"""Notes by which a dispatcher finds the runners that an earlier one has started."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from .capacity import Share

RUNNER_NOTE = "runner.pid"
"""File in a run's folder with its runner's pid and start time, and a third word once that has begun with the run.

It is there before a runner gets what it needs to begin. Also in the place of a warm kernel.
"""


SHARE_NOTE = "share.json"
"""File in a run's folder with the GPUs, CPUs and memory that its runner was given; there before the runner's note."""


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it is gone. With the pid that names a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def find_runner(folder: Path) -> int | None:
    """The living runner of a run's folder, by its note; None if it is gone."""
    try:
        pid, ticks = map(int, (folder / RUNNER_NOTE).read_text().split()[:2])
    except (OSError, ValueError):
        return None
    return pid if start_ticks(pid) == ticks else None


def was_begun(folder: Path) -> bool:
    """Whether a runner has begun with this run, so that it may have done something; it takes SIGTERM for a cancel then,
    of which it would have died before.
    """
    try:
        return len((folder / RUNNER_NOTE).read_text().split()) == 3
    except OSError:
        return False


def leave_note(folder: Path, pid: int, *words: str) -> None:
    """Write the note of a runner, whole or not at all. Raises OSError."""
    part = folder / f".{RUNNER_NOTE}.{os.getpid()}"
    part.write_text(" ".join([str(pid), str(start_ticks(pid)), *words]))
    part.replace(folder / RUNNER_NOTE)


def leave_share(folder: Path, share: Share) -> None:
    """Write down what a run was given, whole or not at all. Raises OSError."""
    part = folder / f".{SHARE_NOTE}.{os.getpid()}"
    part.write_bytes(orjson.dumps(share.to_dict()))
    part.replace(folder / SHARE_NOTE)


def find_share(folder: Path) -> Share | None:
    """What a run was given, by its note; None if there is none."""
    try:
        return Share.from_dict(orjson.loads((folder / SHARE_NOTE).read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return None
