"""What processes use of the machine, from ``/proc`` (proc(5)). Linux only; elsewhere, and of a process that is gone,
everything is 0.
"""

from __future__ import annotations

import os

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of memory that a process holds, those that it shares with others in full. Takes some microseconds."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * PAGE
    except (OSError, ValueError, IndexError):
        return 0


def proportional(pid: int) -> int:
    """The same, but of memory that is shared with n processes the nth part (PSS). Takes milliseconds a gigabyte."""
    return _kilobytes(f"/proc/{pid}/smaps_rollup", b"Pss:") or resident(pid)


def highest_resident(pid: int) -> int:
    """The most bytes that a process ever held, as the system counted it."""
    return _kilobytes(f"/proc/{pid}/status", b"VmHWM:")


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process, and of the children that it has waited for."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS
    except (OSError, ValueError):
        return 0.0


def _kilobytes(path: str, key: bytes) -> int:
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.startswith(key):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return 0
