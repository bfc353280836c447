"""One command, measured: its seconds, when its first output came, and how late the lines were that told their time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kernel_gateway.kernels.guard import descendants, signal_all

OUTPUT = "output.txt"
"""File in the command's folder that gets what it prints, errors included."""

LIMIT = 1800.0
"""Seconds after which a command is given up."""

STAMP = re.compile(rb"\b\d{19}\b")
LONGEST_LINE = 4096

_running: set[subprocess.Popen[bytes]] = set()


class CommandFailed(Exception):
    """A contestant that ended with an error, or did not do what it was told; with its own last words."""


@dataclass
class Outcome:
    """What a command took. ``seconds``: from its start to its end; ``first``: until the marker was printed, None if
    it never was; ``delays``: milliseconds from a time that it printed to the line's arrival here.
    """

    seconds: float
    first: float | None = None
    delays: list[float] = field(default_factory=list)


def start(command: list[str], folder: Path, environ: Mapping[str, str], **options: object) -> subprocess.Popen[bytes]:
    """A process of its own session, so that Ctrl-C at the terminal reaches this program alone, which then ends it."""
    process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
        command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, start_new_session=True, **options
    )
    _running.add(process)
    return process


def stop(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """End a process that `start` made, and whatever it leaves below itself."""
    below = descendants(process.pid) if process.poll() is None else []
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        signal_all(below, signal.SIGKILL)
        _running.discard(process)
        if process.stdout is not None:
            process.stdout.close()


def stop_all() -> None:
    """End every process that is still there; for the end of the program, whatever it is."""
    for process in list(_running):
        stop(process)


def run(
    command: list[str],
    folder: Path,
    environ: Mapping[str, str],
    *,
    marker: str | None = None,
    stamps: bool = False,
    begun: Callable[[int], None] = lambda pid: None,
) -> Outcome:
    """Run a command in a folder to its end; ``begun`` gets its pid.

    ``marker``: text whose first arrival is timed. ``stamps``: compare each 19-digit time (nanoseconds) that is printed
    with the clock. Raises CommandFailed, with the end of its output, if it ends with an error or not at all.
    """
    at = time.perf_counter()
    process = start(command, folder, environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    begun(process.pid)
    watchdog = threading.Timer(LIMIT, process.kill)
    watchdog.daemon = True
    watchdog.start()
    outcome = Outcome(0.0)
    reader = _Reader(outcome, at, marker.encode() if marker else None, stamps)
    assert process.stdout is not None
    try:
        with (folder / OUTPUT).open("wb") as copy:
            while chunk := os.read(process.stdout.fileno(), 1 << 20):
                reader.feed(chunk)
                copy.write(chunk)
        code = process.wait()
        outcome.seconds = time.perf_counter() - at
    finally:
        watchdog.cancel()
        stop(process)
    if code:
        raise CommandFailed(f"{_shown(command)} ended with {code}: {_without_folders(tail(folder / OUTPUT))}")
    return outcome


class _Reader:
    """Looks at chunks of output as they come; a word may lie across two of them."""

    def __init__(self, outcome: Outcome, begun: float, marker: bytes | None, stamps: bool) -> None:
        self._outcome, self._begun, self._marker, self._stamps = outcome, begun, marker, stamps
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        if not self._marker and not self._stamps:
            return
        arrived, seen = time.time_ns(), time.perf_counter()
        text = self._rest + chunk
        if self._marker and self._marker in text:
            self._outcome.first = seen - self._begun
            self._marker = None
        whole, newline, self._rest = text.rpartition(b"\n")
        self._rest = self._rest[-LONGEST_LINE:]
        if self._stamps and newline:
            self._outcome.delays += [(arrived - int(stamp)) / 1e6 for stamp in STAMP.findall(whole)]


def tail(path: Path, size: int = 2000) -> str:
    """The end of a file, as text."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace").strip()
    return ""


def _without_folders(text: str) -> str:
    """Text in which absolute paths begin with …: results are published, and where they were made is not."""
    return re.sub(r"(?<![\w./])/(?:[^\s\"':/]+/)+", "…/", text)


def _shown(command: list[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:3]]) + (" …" if len(command) > 3 else "")
