"""Start a local kernel below a guard, or have a fork server do it, as a jupyter_client provisioner.

`Kernel` uses it for every kernelspec that names no provisioner of its own; those that do (Kubernetes,
Docker, SSH …) start as their provisioner says.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from ..errors import KernelStartError
from . import forkserver, gpu_locks, guard
from .sandbox import Sandbox

_GUARD_SECONDS = 10.0
"""How long a guard may take to end after its control pipe was closed; it needs some hundredths."""

_FORK_SECONDS = 2.0
"""How long a fork server may take to answer; it needs some milliseconds. One that hangs costs a cold start."""

_COMMANDS = {signal.SIGINT: b"i", signal.SIGTERM: b"t", signal.SIGKILL: b"k", signal.SIGHUP: b"h"}


class GuardedProvisioner(LocalProvisioner):
    """`LocalProvisioner` whose process is a guard with the kernel below it.

    ``folder`` is the kernel's private connection folder, removed at its end; ``sandbox`` hides
    things from it; ``fork_server`` is the socket of the one that shall fork it, if any. ``output`` and ``errors``
    are the reading ends of the kernel process' own stdout and stderr, ``status_fd`` that of the guard's
    status pipe; all are non-blocking and belong to the caller once the kernel was launched. ``guard_pid`` is the
    process below which everything of the kernel's is found.
    """

    folder: str = ""
    sandbox: Sandbox | None = None
    fork_server: Path | None = None
    forked = False
    output = -1
    errors = -1
    status_fd = -1
    exit_code: int | None = None
    guard_pid: int | None = None
    out_of_memory = False
    _control = -1
    _kept: socket.socket | None = None
    _status = b""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the guard. Returns at once; whether the kernel's command works shows in `read_status`."""
        self.forked = self._through_pipes(self._fork, cmd, **kwargs)
        if not self.forked:
            # By new pipes: a fork server that was late must not take them for a second kernel.
            await self.cleanup()
            self._through_pipes(self._spawn, cmd, **kwargs)
        for fd in (self.status_fd, self.output, self.errors):
            os.set_blocking(fd, False)
        self.cwd = kwargs.get("cwd")
        return self.connection_info

    def _through_pipes(self, start: Callable[..., bool], cmd: list[str], **kwargs: Any) -> bool:
        """Make the pipes and start the guard with their other ends; what `start` says."""
        control, self._control = os.pipe()
        self.status_fd, status = os.pipe()
        self.output, stdout = os.pipe()
        self.errors, stderr = os.pipe()
        self._kept, kept = socket.socketpair()
        with kept:
            try:
                gpu_locks.keep_with(self._kept)
                return start(cmd, (control, status, stdout, stderr, kept.fileno()), **kwargs)
            finally:
                for fd in (control, status, stdout, stderr):
                    os.close(fd)

    def _fork(self, cmd: list[str], pipes: tuple[int, int, int, int, int], **kwargs: Any) -> bool:
        """Ask the fork server for the guard and its kernel; whether there is one that took the request."""
        module = cmd[2:4]  # behind the interpreter and `python_start`
        if self.fork_server is None or module != forkserver.COMMAND:
            return False
        folder, cwd = Path(self.folder), Path(kwargs.get("cwd") or ".")
        request = {
            "argv": cmd[4:],
            "cwd": str(cwd),
            "environ": dict(kwargs.get("env") or os.environ),
            "folder": self.folder,
            "sandbox": self.sandbox.walls(folder, cwd) if self.sandbox is not None else None,
        }
        content = os.memfd_create("request")
        try:
            with open(content, "wb", closefd=False) as file:
                file.write(json.dumps(request).encode())
            os.lseek(content, 0, os.SEEK_SET)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
                server.settimeout(_FORK_SECONDS)
                server.connect(str(self.fork_server))
                socket.send_fds(server, [b"fork"], [content, *pipes])
                answer = server.recv(32)
                self.guard_pid = int(answer) if answer else None
                return bool(answer)
        except OSError:
            return False
        finally:
            os.close(content)

    def _spawn(self, cmd: list[str], pipes: tuple[int, int, int, int, int], **kwargs: Any) -> bool:
        control, status, stdout, stderr, kept = pipes
        if self.sandbox is not None:
            cmd = self.sandbox.wrap(cmd, Path(self.folder), Path(kwargs.get("cwd") or "."))
        argv = [sys.executable, "-I", "-S", guard.__file__, str(control), f"{status},{kept}", self.folder, *cmd]
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=kwargs.get("env"),
                cwd=kwargs.get("cwd"),
                pass_fds=(control, status, kept),
                start_new_session=True,
            )
        except OSError as error:
            raise KernelStartError(f"The kernel can't be started: {error}.") from error
        self.pid = self.guard_pid = self.process.pid
        return True

    def read_status(self) -> None:
        """Take in what the guard reported. Raises `KernelStartError` if the command can't be executed."""
        try:
            while chunk := os.read(self.status_fd, 4096):
                self._status += chunk
            if self.exit_code is None and b"exit " not in self._status and b"failed " not in self._status:
                self.exit_code = -signal.SIGKILL  # the guard itself was killed, and the kernel with it
        except BlockingIOError:
            pass
        *lines, self._status = self._status.split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word == "pid":
                self.pid = int(rest)
            elif word == "failed":
                self.exit_code = 127
                raise KernelStartError(f"The kernel's command can't be executed: {rest}.")
            elif word == "exit":
                code, _, oom = rest.partition(" ")
                self.exit_code, self.out_of_memory = int(code), oom == "1"

    @property
    def has_process(self) -> bool:
        """As jupyter_client asks for it: whether the kernel was started and its end not waited for yet."""
        return self.forked or self.process is not None

    def how_it_ended(self) -> str:
        """The kernel's exit code or signal in words, with a blank and in brackets; empty if nobody knows."""
        code = self.exit_code
        if code is None:
            return ""
        if code > 128 and self.sandbox is not None:
            code = 128 - code  # as a shell tells it
        if code >= 0:
            return f" (exit code {code})"
        if self.out_of_memory and code == -signal.SIGKILL:
            return f" (killed by {signal_name(-code)}, by the system's out-of-memory killer)"
        hint = "; the system does this when memory runs out" if code == -signal.SIGKILL else ""
        return f" (killed by {signal_name(-code)}{hint})"

    async def poll(self) -> int | None:
        """None while the kernel lives, else its exit code, negative for a signal."""
        if not self.has_process:
            return 0
        if self.exit_code is None and self.status_fd >= 0:
            self.read_status()
        return self.exit_code

    async def wait(self) -> int | None:
        """Wait for the guard's end, and so for that of everything below it."""
        await asyncio.to_thread(self.wait_for_guard)
        return self.exit_code

    @property
    def is_alone(self) -> bool:
        """Whether below the guard there is no process but the kernel and the sandbox around it."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                above = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            return False  # it is gone: `read_status` will say so
        below = guard.descendants(above)
        return sum(not guard.is_sandbox(pid) for pid in below) <= 1

    def wait_for_guard(self) -> None:
        """Wait for the guard's end, and so for that of everything below it. Returns at once when called again."""
        if self.process is not None:
            try:
                self.process.wait(_GUARD_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()  # somebody stopped it; the kernel dies with it
                self.process.wait()
            self.process = None
        elif self.forked and self.status_fd >= 0:
            # Not our child: its end shows as that of its pipe.
            poller = select.poll()
            poller.register(self.status_fd, select.POLLIN)
            deadline = time.monotonic() + _GUARD_SECONDS
            while (left := deadline - time.monotonic()) > 0:
                if poller.poll(left * 1000) and not os.read(self.status_fd, 4096):
                    break
        self.forked = False

    def signal_kernel(self, number: int) -> None:
        """Have the guard send SIGINT, SIGTERM or SIGKILL to the kernel's process group, or SIGHUP to all below it."""
        try:
            os.write(self._control, _COMMANDS[signal.Signals(number)])
        except OSError:
            pass  # the guard is gone, and with it the kernel

    async def send_signal(self, signum: int) -> None:
        """As jupyter_client calls it."""
        self.signal_kernel(signum)

    async def kill(self, restart: bool = False) -> None:
        """Kill the kernel and everything below it."""
        self.release()

    async def cleanup(self, restart: bool = False) -> None:
        """Give back the pipes."""
        self.release()
        for name in ("status_fd", "output", "errors"):
            fd = getattr(self, name)
            if fd >= 0:
                os.close(fd)
                setattr(self, name, -1)

    def release(self) -> None:
        """Close the control pipe: the guard kills what is left and goes."""
        if self._control >= 0:
            os.close(self._control)
            self._control = -1
        if self._kept is not None:
            self._kept.close()
            self._kept = None


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9, and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
