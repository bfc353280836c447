"""Memory of process trees, by Linux' own counters."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kernel_gateway.kernels.guard import descendants

PERIOD = 0.05


def proportional(roots: list[int]) -> float:
    """PSS of all processes at and below some, in 10^6 bytes: memory that several share counts once, in parts."""
    total = 0
    for pid in tree(roots):
        with suppress(OSError):
            found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) * 1024 if found else 0
    return total / 1e6


def tree(roots: list[int]) -> list[int]:
    """Processes at and below some."""
    return list(dict.fromkeys(pid for root in roots for pid in (root, *descendants(root))))


def command_line(pid: int) -> str:
    """A process' command line, words separated by spaces; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


class MemoryWatch:
    """Watches trees of processes from `watch` to `stop`: the peak of those that handle messages, and of all together.

    ``handles`` says of a pid whether it is the runner: the process between kernel and result. A peak of one process
    is the kernel's own high-water mark, so that none is missed; that of all is the largest sum of resident memory
    that was seen, twenty times a second, in which shared pages count for each who has them.
    """

    def __init__(self, handles: Callable[[int], bool]) -> None:
        self.runner: float | None = None
        self.tree = 0.0
        self._handles = handles
        self._known: dict[int, bool] = {}
        self._roots: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def watch(self, roots: list[int]) -> None:
        """Begin. The high-water marks of what is there already are set back, as far as that is allowed."""
        for pid in tree(roots):
            with suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._roots = roots
        self._thread.start()

    def stop(self) -> None:
        """End; `runner` is None if no process was it."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(PERIOD):
            total = 0
            for pid in tree(self._roots):
                total += resident(pid)
                if self._is_runner(pid) and (peak := high_water(pid)):
                    self.runner = max(self.runner or 0.0, peak / 1e6)
            self.tree = max(self.tree, total / 1e6, self.runner or 0.0)

    def _is_runner(self, pid: int) -> bool:
        # Looked at again while it is not one: between fork and exec a process has the name of its parent.
        if not self._known.get(pid):
            self._known[pid] = self._handles(pid)
        return self._known[pid]


def resident(pid: int) -> int:
    """Resident memory of a process in bytes; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def high_water(pid: int) -> int:
    """The most resident memory that a process ever had, in bytes; 0 when it is gone."""
    with suppress(OSError):
        if found := re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()):
            return int(found[1]) * 1024
    return 0
