"""Start a local kernel below a guard, as a jupyter_client provisioner.

`Kernel` uses it for every kernelspec that names no provisioner of its own; those that do (Kubernetes,
Docker, SSH …) start as their provisioner says.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from ..errors import KernelStartError
from . import guard
from .sandbox import Sandbox

_COMMANDS = {signal.SIGINT: b"i", signal.SIGTERM: b"t", signal.SIGKILL: b"k", signal.SIGHUP: b"h"}


class GuardedProvisioner(LocalProvisioner):
    """`LocalProvisioner` whose process is a guard with the kernel below it.

    ``folder`` is the kernel's private connection folder, removed at its end; ``sandbox`` hides
    things from it. ``output`` and ``errors``
    are the reading ends of the kernel process' own stdout and stderr, ``status_fd`` that of the guard's
    status pipe; all are non-blocking and belong to the caller once the kernel was launched.
    """

    folder: str = ""
    sandbox: Sandbox | None = None
    output = -1
    errors = -1
    status_fd = -1
    exit_code: int | None = None
    out_of_memory = False
    _control = -1
    _status = b""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the guard. Returns at once; whether the kernel's command works shows in `read_status`."""
        control, self._control = os.pipe()
        self.status_fd, status = os.pipe()
        self.output, stdout = os.pipe()
        self.errors, stderr = os.pipe()
        if self.sandbox is not None:
            cmd = self.sandbox.wrap(cmd, Path(self.folder), Path(kwargs.get("cwd") or "."))
        argv = [sys.executable, "-I", "-S", guard.__file__, str(control), str(status), self.folder, *cmd]
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=kwargs.get("env"),
                cwd=kwargs.get("cwd"),
                pass_fds=(control, status),
                start_new_session=True,
            )
        except OSError as error:
            raise KernelStartError(f"The kernel can't be started: {error}.") from error
        finally:
            for fd in (control, status, stdout, stderr):
                os.close(fd)
        for fd in (self.status_fd, self.output, self.errors):
            os.set_blocking(fd, False)
        self.pid = self.process.pid
        self.cwd = kwargs.get("cwd")
        return self.connection_info

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

    async def poll(self) -> int | None:
        """None while the kernel lives, else its exit code, negative for a signal."""
        if self.process is None:
            return 0
        if self.exit_code is None and self.status_fd >= 0:
            self.read_status()
        return self.exit_code

    async def wait(self) -> int | None:
        """Wait for the guard's end, and so for that of everything below it."""
        if self.process is not None:
            while self.process.poll() is None:
                await asyncio.sleep(0.01)
            self.process = None
        return self.exit_code

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


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9, and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
