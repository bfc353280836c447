"""One command, measured: wall-clock seconds, peak memory of its own process, and when its lines came."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

LIMIT = 1800.0
"""Seconds after which a command is given up."""


@dataclass
class Sample:
    """One run of one contender. ``seconds``: the whole command; ``peak_mb``: highest resident memory of its process,
    in 10^6 bytes, without the kernel's; ``cells``: seconds from the first cell's start to the last one's end, where
    known; ``delays``: milliseconds from a flushed print to its line here; ``loss``: share of the printed text that
    the result lacks, 0.0 if it is whole and in order.
    """

    seconds: float
    peak_mb: float = 0.0
    cells: float | None = None
    delays: list[float] = field(default_factory=list)
    loss: float | None = None


def run(command: list[str], folder: Path, *, stamps: bool = False) -> tuple[Sample, str]:
    """Run a command in a folder; its sample and its stdout. With `stamps`, times it prints are compared with ours.

    Raises RuntimeError with the end of its output if it fails.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if stamps else subprocess.DEVNULL,
    )
    peak = _PeakMemory(process.pid)
    watchdog = threading.Timer(LIMIT, process.kill)
    watchdog.start()
    assert process.stdout is not None
    chunks: list[bytes] = []
    delays: list[float] = []
    while chunk := os.read(process.stdout.fileno(), 1 << 20):
        if stamps:
            arrived = time.time_ns()
            delays += [(arrived - int(stamp)) / 1e6 for stamp in re.findall(rb"\b\d{19}\b", chunk)]
        chunks.append(chunk[-4096:])
    code = process.wait()
    seconds = time.perf_counter() - begun
    watchdog.cancel()
    process.stdout.close()
    output = b"".join(chunks).decode(errors="replace")
    if code:
        raise RuntimeError(f"{' '.join(command[:3])} … ended with {code}: {output[-2000:]}")
    return Sample(seconds, peak.stop(), delays=delays), output


class _PeakMemory:
    """Reads a process' high-water mark of resident memory until it ends."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            try:
                match = re.search(r"VmHWM:\s+(\d+) kB", self._status.read_text())
            except OSError:
                return
            if match:
                self._peak = max(self._peak, int(match[1]) * 1024)

    def stop(self) -> float:
        """The peak, in 10^6 bytes."""
        self._over.set()
        self._thread.join()
        return self._peak / 1e6
