"""Ports that kernels lose: jupyter_client chooses them, and gives them up again, before the kernel binds them.

Until then, for a JVM some seconds, any other process of the machine may get one. Deno and ipykernel end of it; R's and
Java's kernels say so and never answer. Another kernel, with other ports, is the way out.
"""

from __future__ import annotations

import errno
import re
import socket
import time

import zmq

from .kernel import Kernel

PATIENCE = 3.0
"""Seconds that a kernel which spoke of a port in use may take to answer nevertheless: it may have meant another."""

_SAID = "ddress already in use"
"""What most kernels say of it on stderr, in C's and Java's words."""

_TCP = re.compile(r"tcp://(?P<ip>[^:]+):(?P<port>\d+)")


class PortWatch:
    """Looks at a kernel that is starting. `KernelSet` asks, to start another."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._said: float | None = None

    @property
    def lost(self) -> bool:
        """Whether one of its ports was taken, now that it has ended or was given up.

        By its own words, or, once its process is gone, by a port that is still taken: some say nothing, or say it in
        the user's language. False for kernels elsewhere, and those that use no ports.
        """
        kernel = self._kernel
        if kernel.guard_pid is None:
            return False
        return _SAID in kernel.raw_text or (kernel.ended and any(map(_is_taken, kernel.sockets.values())))

    def is_stuck(self) -> bool:
        """Whether it has said so `PATIENCE` seconds ago, and still lives. Ask now and then while waiting for it."""
        if self._said is None and _SAID in self._kernel.raw_text:
            self._said = time.monotonic()
        return self._said is not None and time.monotonic() - self._said > PATIENCE


def _is_taken(connected: zmq.Socket[bytes]) -> bool:
    """Whether another process listens where this socket connects to."""
    found = _TCP.match(connected.get(zmq.LAST_ENDPOINT).decode())  # type: ignore[union-attr]
    if found is None:
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that the kernel closed don't count
        try:
            probe.bind((found["ip"], int(found["port"])))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
