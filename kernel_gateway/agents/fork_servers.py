"""Processes that fork others on demand, as the dispatcher keeps them: one for runners, one for each interpreter."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from ..kernels.descriptors import allow_as_before

log = logging.getLogger("kernel_gateway.agents")

FORK_SECONDS = 5.0
"""How long a fork may take; it needs some milliseconds."""

STOP_SECONDS = 2.0

BEGIN_SECONDS = 600.0
"""How long a server may import what it is to have; one that is not ready by then hangs."""

ASK_SECONDS = 2.0
"""How often a server is asked for a sign of life."""

ANSWER_SECONDS = 5.0
"""How long it may take to give one; it does nothing that takes longer than some hundredths."""

EXITS = 1000
"""How many exit codes are kept that nobody has asked for; most runs say by themselves how they ended."""
LONGEST_PAUSE = 60.0
BACKLOG = 256


class ForkServer:
    """One fork server. ``command`` gets the descriptor of its listening socket as its last argument but `arguments`.

    The dispatcher's loop calls `poll`. A server that ends or hangs is started again, after ever longer pauses; one that
    says that it can't work (``failed``) is not. Meanwhile whoever needs a process starts it in another way.
    """

    def __init__(
        self, name: str, command: list[str], arguments: list[str], path: Path, environ: Mapping[str, str]
    ) -> None:
        self.name = name
        self.path = path
        self.ready = False
        self.problem = ""
        self.failures = 0
        self.exits: dict[int, int] = {}
        self._command = command
        self._arguments = arguments
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._pause = 0.5
        self._again = 0.0
        self._heard = 0.0
        self._asked = False
        self._try_again()

    def start(self) -> None:
        """Start the process. It is `ready` some time later."""
        self.path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(self.path))
            listener.listen(BACKLOG)
            self._process = subprocess.Popen(
                [*self._command, str(listener.fileno()), *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self._environ,
                cwd="/",
                pass_fds=(listener.fileno(),),
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        allow_as_before(self._process.pid)
        for pipe in (self._process.stdin, self._process.stdout):
            os.set_blocking(pipe.fileno(), False)
        self._rest = b""
        self._heard, self._asked = time.monotonic(), False

    def _try_again(self) -> None:
        try:
            self.start()
        except OSError as error:
            # It only saves time: a full disk or table of descriptors must not keep runs from being looked after.
            log.error("the fork server of %s can't be started: %s", self.name, error)
            self._put_off()

    def _put_off(self) -> None:
        self.failures += 1
        self._again = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    @property
    def starting(self) -> bool:
        """Whether it is about to be ready: worth waiting for, unless it has ended before it ever was."""
        return not self.ready and not self.problem and not self.failures

    @property
    def fds(self) -> list[int]:
        """What to wait for before `poll` is worth a call."""
        return [self._process.stdout.fileno()] if self._process is not None and self._process.stdout else []

    def poll(self) -> None:
        """Take in what it said, and start it again if it ended."""
        if self._process is None:
            if not self.problem and time.monotonic() > self._again:
                self._try_again()
            return
        assert self._process.stdout is not None
        ended = False
        try:
            while chunk := os.read(self._process.stdout.fileno(), 65536):
                self._rest += chunk
            ended = True
        except BlockingIOError:
            pass
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._hear(line.decode(errors="replace"))
        if lines:
            self._heard, self._asked = time.monotonic(), False
        if ended:
            self._note_end()
        else:
            self._watch()

    def _watch(self) -> None:
        """Ask for a sign of life now and then, and end a server that gives none: `poll` starts another."""
        assert self._process is not None
        assert self._process.stdin is not None
        silent = time.monotonic() - self._heard
        if silent > (ASK_SECONDS + ANSWER_SECONDS if self.ready else BEGIN_SECONDS):
            log.warning("the fork server of %s hangs and is killed", self.name)
            self.ready = False
            self._process.kill()
        elif self.ready and not self._asked and silent > ASK_SECONDS:
            self._asked = True
            with contextlib.suppress(OSError):  # its end will be read
                os.write(self._process.stdin.fileno(), b"?")

    def _hear(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "ready":
            self.ready, self._pause, self.failures = True, 0.5, 0
        elif word == "warning":
            log.warning("fork server of %s: %s", self.name, rest)
        elif word == "failed":
            self.problem = rest
            log.error("fork server of %s: %s. Kernels are started one by one.", self.name, rest)
        elif word == "exit":
            pid, code = rest.split()
            self.exits[int(pid)] = int(code)
            while len(self.exits) > EXITS:
                del self.exits[next(iter(self.exits))]

    def _note_end(self) -> None:
        self._stop()
        self._put_off()
        if not self.problem:
            log.warning("the fork server of %s ended and is started again", self.name)

    def fork(self, message: bytes, fds: list[int]) -> int | None:
        """Have a process forked; its pid, or None if that does not work now."""
        if not self.ready:
            return None
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
                server.settimeout(FORK_SECONDS)
                server.connect(str(self.path))
                socket.send_fds(server, [message], fds)
                pid = int(server.recv(32))
                self.exits.pop(pid, None)  # of an earlier process by that number
                return pid
        except (OSError, ValueError) as error:
            log.warning("the fork server of %s does not fork: %s", self.name, error)
            if self._process is not None:
                self._process.kill()  # a new one is started
            return None

    def close(self) -> None:
        """End it; what it forked goes on."""
        self.problem = self.problem or "closed"
        self._stop()
        self.path.unlink(missing_ok=True)

    def _stop(self) -> None:
        process, self._process, self.ready = self._process, None, False
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
