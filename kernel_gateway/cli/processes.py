"""The service's processes as its supervisor keeps them: started, started again when they end, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import click

RESTART_PAUSE = 0.5
LONGEST_PAUSE = 30.0


@dataclass
class Child:
    """A process that is started again when it ends. ``environ``: its environment; ``pass_fds``: what it inherits."""

    name: str
    command: list[str]
    environ: Mapping[str, str]
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = RESTART_PAUSE

    def ensure(self) -> None:
        """Start it unless it runs; after a quick end only after a pause, which grows while that goes on."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.started and time.monotonic() - self.started < self.pause:
            return
        if self.process is not None:
            lived = time.monotonic() - self.started
            self.pause = RESTART_PAUSE if lived > LONGEST_PAUSE else min(self.pause * 2, LONGEST_PAUSE)
            with contextlib.suppress(OSError):  # a log on a full disk must not end the service
                click.echo(
                    f"kernel-gateway: the {self.name} ended ({self.process.returncode}) and is started again", err=True
                )
        self.started = time.monotonic()
        try:
            self.start()
        except OSError as error:  # no memory or no more processes: the others go on, and it is tried again
            self.pause = min(self.pause * 2, LONGEST_PAUSE)
            with contextlib.suppress(OSError):
                click.echo(f"kernel-gateway: the {self.name} can't be started: {error.strerror}", err=True)

    def await_answer(self, deadline: float, stopping: Callable[[], bool]) -> None:
        """Wait until it does its work, where others would fail without it. Not by itself: most need nobody to wait."""

    def start(self) -> None:
        """Start it."""
        self.process = subprocess.Popen(self.command, env=self.environ, pass_fds=self.pass_fds, start_new_session=True)

    def ask_to_end(self) -> None:
        """Ask it to end; `wait` does the rest."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended; after so many seconds it is killed."""
        if self.process is None:
            return
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class GuardedChild(Child):
    """A process of somebody else's program: a guard ends it, and all that it started, when we end, however we do."""

    control: int = -1

    def start(self) -> None:
        """Start the guard, which starts it."""
        from ..kernels import guard

        self._let_go()
        control, self.control = os.pipe()
        status = os.open(os.devnull, os.O_WRONLY)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(control), str(status), "", *self.command],
                env=self.environ,
                pass_fds=(control, status, *self.pass_fds),
                stdin=subprocess.DEVNULL,
                # What it says of itself belongs in the log; what it prints is not ours to read.
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(control)
            os.close(status)

    def ask_to_end(self) -> None:
        """Have the guard end everything."""
        self._let_go()

    def _let_go(self) -> None:
        if self.control >= 0:
            os.close(self.control)
            self.control = -1
