"""The kernels of one run: each started on first use, all owned, all ended here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import KernelError
from ..events import EventSink, EventType
from ..kernels.kernel import Kernel
from ..kernels.sandbox import Sandbox
from ..kernels.specs import Kernelspec, with_interpreter
from ..settings import Settings
from .driver import Driver, Request


class KernelSet:
    """Kernels by kernelspec. ``cwd`` and ``environ`` are what each is started with; ``interpreter``: a Python
    that kernels of Python run in instead of their own.
    """

    def __init__(
        self,
        driver: Driver,
        sink: EventSink,
        settings: Settings,
        *,
        cwd: Path,
        environ: Mapping[str, str],
        sandbox: Sandbox | None = None,
    ) -> None:
        self._driver = driver
        self._sink = sink
        self._settings = settings
        self._cwd = cwd
        self._environ = environ
        self._sandbox = sandbox
        self.interpreter: Path | None = None
        self._live: dict[str, Kernel] = {}
        self._set_up: set[str] = set()
        self._setups: list[Request] = []

    def prelaunch(self, spec: Kernelspec) -> None:
        """Start a kernel that the run will probably use, without waiting. Failures show on first use."""
        self._launch(spec)

    def ensure(self, spec: Kernelspec, on_ready: Callable[[Kernel], None] = lambda kernel: None) -> Kernel:
        """The live kernel for a spec: started if need be, answering, its setup sent.

        `on_ready` is called when a kernel has answered for the first time. Raises `KernelError`,
        or `Ending` if the run ends while waiting.
        """
        kernel = self._live.get(_key(spec)) or self._launch(spec)
        if _key(spec) not in self._set_up:
            self._driver.wait(lambda: kernel.ready)
            on_ready(kernel)
            self.set_up(kernel)
            self._set_up.add(_key(spec))
        return kernel

    def set_up(self, kernel: Kernel) -> None:
        """Run the quirks' own code: the warm-up is waited for, the setup goes just ahead of the first cell."""
        if kernel.quirks.warm_up:
            self._driver.finish(self._driver.send(kernel, kernel.quirks.warm_up))
        if kernel.quirks.setup:
            self._setups.append(self._driver.send(kernel, kernel.quirks.setup))

    def report_setups(self) -> None:
        """Say which setups failed, once their replies are there; the cell behind it fails with less of a hint."""
        for request in [request for request in self._setups if request.reply is not None]:
            self._setups.remove(request)
            reply = request.reply or {}
            if reply.get("status") == "error":
                self._sink.append(
                    EventType.LOG,
                    level="warning",
                    message=f"Kernel {request.kernel.name!r} could not be set up: "
                    f"{reply.get('ename')}: {reply.get('evalue')}",
                )

    def kill(self, kernel: Kernel, quiet: float = 0.05) -> None:
        """End a kernel that does not listen any more, after what it still sent was taken in: until nothing
        came for `quiet` seconds.
        """
        for key, live in list(self._live.items()):
            if live is kernel:
                del self._live[key]
                self._set_up.discard(key)
        try:
            self._driver.switchboard.drain(kernel, quiet)
        except KernelError:
            pass
        self._driver.switchboard.remove(kernel)
        kernel.close()

    def shut_down(self) -> None:
        """End all kernels: politely, so that exit handlers run and their output is kept; after the grace, by force."""
        asked = [kernel for kernel in self._live.values() if kernel.ready]
        for kernel in asked:
            kernel.request_shutdown()
        deadline = time.monotonic() + self._settings.shutdown_grace
        while time.monotonic() < deadline and not all(kernel.ended for kernel in asked):
            try:
                self._driver.switchboard.step(0.02)
            except KernelError:
                continue  # ended, as asked
        for kernel in list(self._live.values()):
            # One that ended in good order had sent all before it ended.
            self.kill(kernel, 0.01 if kernel.ended else 0.05)

    def _launch(self, spec: Kernelspec) -> Kernel:
        kernel = Kernel(
            spec if self.interpreter is None else with_interpreter(spec, self.interpreter),
            cwd=self._cwd,
            environ=self._environ,
            settings=self._settings,
            context=self._driver.context,
            sandbox=self._sandbox,
        )
        try:
            kernel.launch()
        except KernelError:
            kernel.close()
            raise
        self._live[_key(spec)] = kernel
        self._driver.switchboard.add(kernel)
        return kernel


def _key(spec: Kernelspec) -> str:
    # SQL cells and Python cells run on separate kernels of one kernelspec: they are set up differently.
    return f"{spec.name}:{spec.language}" if spec.language == "sql" else spec.name
