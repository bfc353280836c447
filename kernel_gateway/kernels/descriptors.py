"""Waiting for descriptors, however many there are and however high their numbers: select(2) takes none above 1,023."""

from __future__ import annotations

import contextlib
import math
import resource
import select
import sys
from collections.abc import Iterable

MOST = 65536
"""Descriptors that a process is allowed at most; more would only make programs slow that close all they might have."""


_limits: list[tuple[int, int]] = []
"""What this process was allowed before `allow_many`."""


def readable(fds: Iterable[int], seconds: float) -> list[int]:
    """Wait, at most so long, until one of these has something to read or has come to its end; those that have."""
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    return [fd for fd, _ in poller.poll(math.ceil(max(0.0, seconds) * 1000))]


def allow_many() -> None:
    """Let this process have as many descriptors as the system gives its user, `MOST` at most.

    What it starts has as many too; `allow_as_before` takes that back, for programs that use select(2) break with them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        _limits.append((soft, hard))


def allow_as_before(pid: int) -> None:
    """Give a process that was just started as many descriptors as this one had before `allow_many`. Linux only."""
    if _limits and sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):  # it has ended already
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _limits[0])
