"""How far a long transfer is: a bar on a terminal, a line now and then in a build's log."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO

FIRST_AFTER = 2.0
"""Seconds before a bar appears; most transfers are over by then."""

REDRAW = 0.2
LINE_EVERY = 5.0

_WIDTH = 24


class Progress:
    """Tells on stderr how many of so many bytes are done. `tell` may be called from several threads."""

    def __init__(self, what: str, total: int, stream: TextIO | None = None) -> None:
        """``what``: the beginning of the line, e.g. ``sending 12 files``; ``total`` in bytes."""
        self._what = what
        self._total = total
        self._done = 0
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._due = self._started + (FIRST_AFTER if self._is_terminal else LINE_EVERY)
        self._drawn = False

    def tell(self, count: int) -> None:
        """So many bytes more are done; fewer than none when something begins anew."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now >= self._due:
                self._due = now + (REDRAW if self._is_terminal else LINE_EVERY)
                self._show(now)

    def close(self) -> None:
        """No more comes: leave a last line if anything was shown."""
        with self._lock:
            if self._drawn:
                self._show(time.monotonic())
                if self._is_terminal:
                    self._write("\n")
                self._drawn = False

    def _show(self, now: float) -> None:
        self._drawn = True
        share = min(max(self._done / self._total, 0.0), 1.0) if self._total else 1.0
        rate = self._done / max(now - self._started, 1e-3)
        text = f"{self._what}: {share:4.0%} of {size_text(self._total)}, {size_text(int(rate))}/s"
        if self._is_terminal:
            full = round(share * _WIDTH)
            self._write(f"\r[{'#' * full}{'.' * (_WIDTH - full)}] {text}\x1b[K")
        else:
            self._write(f"kernel-gateway: {text}\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads it


def size_text(size: int) -> str:
    """Bytes for people: ``512 B``, ``1.4 MiB``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
