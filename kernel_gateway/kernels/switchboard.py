"""One poll over every kernel of a run: sockets, process pipes, and a wake-up from outside.

Single-threaded: the runner calls `step` in a loop, and every message is handed on from there in the order
in which it arrived.
"""

from __future__ import annotations

import time
from typing import Protocol

import zmq

from .kernel import Kernel
from .messages import Message

CHECK_SECONDS = 0.5
"""How often, at least, kernels are looked after; a kernel's end wakes the poll by itself."""

_CHANNELS = ("iopub", "shell", "control", "stdin", "hb")


class Listener(Protocol):
    """Whoever drives kernels: the runner, the doctor."""

    def on_message(self, kernel: Kernel, message: Message) -> None:
        """Take one message of a kernel."""

    def on_raw_output(self, kernel: Kernel, name: str, data: bytes) -> None:
        """Take what a kernel's process wrote outside the protocol to ``stdout`` or ``stderr``."""


class Switchboard:
    """Kernels that are polled together. ``wake_fd``: a pipe whose content makes `step` return early."""

    def __init__(self, listener: Listener, wake_fd: int | None = None) -> None:
        self._listener = listener
        self._poller = zmq.Poller()
        self._sources: dict[object, tuple[Kernel, str]] = {}
        self._kernels: list[Kernel] = []
        self._checked = 0.0
        if wake_fd is not None:
            self._poller.register(wake_fd, zmq.POLLIN)

    def add(self, kernel: Kernel) -> None:
        """Begin to poll a launched kernel."""
        self._kernels.append(kernel)
        for channel in _CHANNELS:
            socket = kernel.sockets[channel]
            self._poller.register(socket, zmq.POLLIN)
            self._sources[socket] = (kernel, channel)
        if kernel.farewell is not None:
            self._poller.register(kernel.farewell, zmq.POLLIN)
            self._sources[kernel.farewell] = (kernel, "farewell")
        for fd, name in kernel.fds.items():
            self._poller.register(fd, zmq.POLLIN)
            self._sources[fd] = (kernel, name)

    def remove(self, kernel: Kernel) -> None:
        """Stop polling a kernel; call it before `Kernel.close`."""
        if kernel in self._kernels:
            self._kernels.remove(kernel)
        for source in [source for source, (owner, _) in self._sources.items() if owner is kernel]:
            self._forget(source)

    def _forget(self, source: object) -> None:
        del self._sources[source]
        self._poller.unregister(source)

    def step(self, timeout: float, busy: Kernel | None = None) -> bool:
        """Wait up to `timeout` seconds for something and hand it on; true if there was anything.

        `busy` is the kernel that runs a cell. Raises what `Kernel.check` and `Kernel.receive` raise.
        """
        ready = dict(self._poller.poll(max(0, int(timeout * 1000))))
        died = False
        for source in ready:
            if source not in self._sources:  # the wake-up, or a kernel removed meanwhile
                continue
            kernel, name = self._sources[source]
            if name in _CHANNELS:
                for message in kernel.receive(name):
                    self._listener.on_message(kernel, message)
            elif name == "status":
                died = True
            elif name == "farewell":
                self._forget(source)  # it stays readable; `Kernel.left` looks at it
            else:
                self._read(source, kernel, name)
        if died:
            # A dying process' last words are older than its death.
            self._read_pipes(self._kernels)
        now = time.monotonic()
        if died or now - self._checked > CHECK_SECONDS:
            self._checked = now
            for kernel in list(self._kernels):
                kernel.check(busy=kernel is busy)
        return bool(ready)

    def _read(self, source: object, kernel: Kernel, name: str) -> bool:
        """Hand on a piece of what stands in a pipe; whether there was one."""
        assert isinstance(source, int)
        data = kernel.read_pipe(source)
        if data is None:
            self._forget(source)
        elif data:
            self._listener.on_raw_output(kernel, name, data)
        return bool(data)

    def read_pipes(self, kernel: Kernel) -> None:
        """Hand on what a kernel's process has written outside the protocol so far. Does not raise."""
        for source, (owner, name) in list(self._sources.items()):
            while owner is kernel and name in ("stdout", "stderr") and self._read(source, kernel, name):
                pass

    def drain(self, kernel: Kernel, quiet: float = 0.05, limit: float = 10.0) -> None:
        """Hand on what a dying kernel still sent, until it is gone or silent for `quiet` seconds. Does not raise."""
        deadline = time.monotonic() + limit
        iopub, poller = kernel.sockets["iopub"], zmq.Poller()
        for socket in filter(None, (iopub, kernel.farewell)):
            poller.register(socket, zmq.POLLIN)
        while time.monotonic() < deadline:
            ready = dict(poller.poll(int(quiet * 1000)))
            for message in kernel.receive("iopub"):
                self._listener.on_message(kernel, message)
            if iopub not in ready:
                break  # with a farewell nothing more can come, without one we don't wait for it
        self._read_pipes([kernel])

    def _read_pipes(self, kernels: list[Kernel]) -> None:
        for source, (owner, name) in list(self._sources.items()):
            if owner in kernels and name in ("stdout", "stderr"):
                self._read(source, owner, name)
