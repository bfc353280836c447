"""Starting runner processes: forked by a server that has imported everything, or as new interpreters where it can't."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..kernels.descriptors import allow_as_before, readable
from ..settings import PREFIX
from .fork_servers import ForkServer
from .layout import DataFolder

EXIT_SECONDS = 1.0
"""How long after a runner's end its exit code may be on its way."""


PIPE_SIZE = 4096
"""Bytes that any pipe takes without a reader."""

_Begun = tuple[int, "subprocess.Popen[bytes] | None"]
"""A new process' pid, and how to wait for it if it is our child."""


@dataclass
class RunnerProcess:
    """A runner. ``fd`` turns readable at its end; ``stdin`` and ``status`` are our ends of its pipes."""

    pid: int
    fd: int
    stdin: int
    status: int
    process: subprocess.Popen[bytes] | None
    server: ForkServer | None

    def hand(self, content: bytes) -> None:
        """Write its input and close it. A runner that has died takes nothing; its end is noticed as any other."""
        stdin, self.stdin = self.stdin, -1

        def write() -> None:
            with contextlib.suppress(OSError), open(stdin, "wb") as pipe:
                pipe.write(content)

        if len(content) <= PIPE_SIZE:
            write()
        else:  # a runner that hangs must not hold up the dispatcher
            threading.Thread(target=write, name="hand-over", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self.ends_within(0.0)

    def ends_within(self, seconds: float) -> bool:
        """Wait until it is gone, at most so long; whether it is."""
        return bool(readable([self.fd], seconds))

    def exit_code(self) -> int | None:
        """How it ended, once it has; None if nobody knows."""
        if self.process is not None:
            return self.process.wait()
        assert self.server is not None
        deadline = time.monotonic() + EXIT_SECONDS
        while self.pid not in self.server.exits and time.monotonic() < deadline:
            readable(self.server.fds, 0.05)
            self.server.poll()
        return self.server.exits.pop(self.pid, None)

    def kill(self) -> None:
        """Kill it and wait for its end; its kernel goes with it."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, signal.SIGKILL)
        self.exit_code()

    def close(self) -> None:
        """Give back the descriptors."""
        for fd in (self.fd, self.stdin, self.status):
            if fd >= 0:
                os.close(fd)
        self.fd = self.stdin = self.status = -1


class Runners:
    """Starts runners. The dispatcher's loop calls `poll`."""

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._environ = {name: value for name, value in os.environ.items() if name != PREFIX + "TOKEN"}
        command = [sys.executable, "-m", "kernel_gateway.agents.runner_server"]
        self.server = ForkServer("runners", command, [], data.fork_socket("runners"), self._environ)

    def start(self, arguments: list[str], log: Path) -> RunnerProcess:
        """Start a runner with these arguments of `runner_process`, its output to the end of `log`. Raises OSError."""
        # Another one gets pipes of its own: a fork server that was late must not have forked a second reader of them.
        runner = self._start(self._fork, arguments, log) or self._start(self._spawn, arguments, log)
        assert runner is not None
        return runner

    def _fork(self, arguments: list[str], stdin: int, log: int, status: int) -> tuple[int, None] | None:
        pid = self.server.fork("\0".join(arguments).encode(), [stdin, log, status])
        return None if pid is None else (pid, None)

    def _spawn(self, arguments: list[str], stdin: int, log: int, status: int) -> tuple[int, subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            [sys.executable, "-m", "kernel_gateway.agents.runner_process", *arguments, str(status)],
            stdin=stdin,
            stdout=log,
            stderr=log,
            env=self._environ,
            cwd="/",
            pass_fds=(status,),
            start_new_session=True,
        )
        allow_as_before(process.pid)
        return process.pid, process

    def _start(self, begin: Callable[..., _Begun | None], arguments: list[str], log: Path) -> RunnerProcess | None:
        stdin, ours = os.pipe()
        status, theirs = os.pipe()
        try:
            with log.open("ab") as file:
                begun = begin(arguments, stdin, file.fileno(), theirs)
            fd = -1 if begun is None else os.pidfd_open(begun[0])
        except OSError:
            os.close(ours)
            os.close(status)
            raise
        finally:
            os.close(stdin)
            os.close(theirs)
        if begun is None:
            os.close(ours)
            os.close(status)
            return None
        os.set_blocking(status, False)
        pid, process = begun
        return RunnerProcess(pid, fd, ours, status, process, None if process is not None else self.server)

    def close(self) -> None:
        """End the fork server; runners go on."""
        self.server.close()
