"""A kernel made ready before there is a run for it: started, answering, its warm-up paid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import KernelStartError
from ..kernels.kernel import Kernel
from ..kernels.messages import Message
from ..kernels.sandbox import Sandbox
from ..kernels.specs import Kernelspec
from ..kernels.switchboard import Switchboard
from ..settings import Settings
from .driver import lossless_context
from .entering import rehearsal

TICK = 0.5


class WarmKernel:
    """Starts a kernel and keeps it until a run takes it, or `close`. ``wake_fd``: makes `idle` return.

    `environ` and `cwd` are those of no run yet; `KernelSet` makes them the run's. Raises `KernelError` when the
    kernel does not start or breaks.
    """

    def __init__(
        self,
        spec: Kernelspec,
        *,
        cwd: Path,
        environ: Mapping[str, str],
        settings: Settings,
        sandbox: Sandbox | None,
        fork_servers: Mapping[str, Path],
        wake_fd: int,
    ) -> None:
        self.context = lossless_context()
        self.kernel = Kernel(
            spec,
            cwd=cwd,
            environ=environ,
            settings=settings,
            context=self.context,
            sandbox=sandbox,
            fork_servers=fork_servers,
        )
        self._switchboard = Switchboard(self, wake_fd)
        self._idle: set[str] = set()
        self._failed = ""

    def start(self) -> None:
        """Start the kernel and wait until it is ready, its quirk's warm-up included."""
        self.kernel.launch()
        self._switchboard.add(self.kernel)
        while not self.kernel.ready:
            self._switchboard.step(TICK)
        if code := self.kernel.quirks.warm_up or rehearsal(self.kernel):
            request = self.kernel.execute(code, silent=True)
            while request not in self._idle:
                self._switchboard.step(TICK, self.kernel)
            if self._failed:
                raise KernelStartError(f"Kernel {self.kernel.name!r} can't be made warm: {self._failed}")

    def idle(self) -> None:
        """Look after the kernel for half a second, or until something comes by ``wake_fd``."""
        self._switchboard.step(TICK)

    def hand_over(self) -> None:
        """Stop looking after the kernel: the run does that from now on, or `close` ends it."""
        self._switchboard.remove(self.kernel)

    def close(self) -> None:
        """End the kernel. Not after it was handed over."""
        self.hand_over()
        self.kernel.close()
        self.context.term()

    def on_message(self, kernel: Kernel, message: Message) -> None:
        """Note the end of the warm-up; nothing else that an idle kernel says is of interest."""
        if message.type == "status" and message.content.get("execution_state") == "idle":
            self._idle.add(message.parent)
        elif message.type == "execute_reply" and message.content.get("status") == "error":
            self._failed = f"{message.content.get('ename')}: {message.content.get('evalue')}"

    def on_raw_output(self, kernel: Kernel, name: str, data: bytes) -> None:
        """What its process says of itself; `Kernel.raw_text` keeps the end of it."""
