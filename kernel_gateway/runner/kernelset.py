"""The kernels of one run: each started on first use, all owned, all ended here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import KernelError
from ..events import EventSink, EventType
from ..kernels.kernel import NO_FORK_SERVERS, Kernel
from ..kernels.ports import PortWatch
from ..kernels.sandbox import Sandbox
from ..kernels.specs import Kernelspec, with_interpreter
from ..settings import Settings
from .driver import Driver, Request
from .entering import entering_code

if TYPE_CHECKING:
    from ..kernels.environments.build import Environment

ENTER_SECONDS = 5.0
"""How long a warm kernel may take to become one of the run; it needs some milliseconds."""

STARTS = 4
"""How often a kernel is started at most until it answers."""

_LOST = "a port that was chosen for it was taken"


class KernelSet:
    """Kernels by kernelspec. ``cwd`` and ``environ`` are what each is started with; ``before_cell(kernel, fresh)``:
    code that a kernel is sent silently before its next cell, if any; fresh before its first one, also after a restart.
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
        fork_servers: Mapping[str, Path] = NO_FORK_SERVERS,
        warm: Kernel | None = None,
    ) -> None:
        self._driver = driver
        self._sink = sink
        self._settings = settings
        self._cwd = cwd
        self._environ = environ
        self._sandbox = sandbox
        self._fork_servers = fork_servers
        self._warm = warm
        self._warmed: set[Kernel] = set()
        self._environment: Environment | None = None
        self._live: dict[str, Kernel] = {}
        self._set_up: set[str] = set()
        self._setups: list[Request] = []
        self._begun: set[Kernel] = set()
        self._leaving: list[Kernel] = []
        self.before_cell: Callable[[Kernel, bool], str] = lambda kernel, fresh: ""

    def use(self, environment: Environment) -> None:
        """Have the kernels of an environment's language run in it. Call it before any of them has run a cell."""
        self._environment = environment
        for kernel in [kernel for kernel in self._live.values() if environment.serves(kernel.spec)]:
            self.kill(kernel, 0.0)  # started on a guess

    @property
    def live(self) -> list[Kernel]:
        """The kernels that were started and not ended yet."""
        return list(self._live.values())

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
            kernel = self._await(spec, kernel)
            on_ready(kernel)
            self.set_up(kernel)
            self._set_up.add(_key(spec))
        code = self.before_cell(kernel, kernel not in self._begun)
        self._begun.add(kernel)
        if code:
            self._setups.append(self._driver.send(kernel, code))
        return kernel

    def set_up(self, kernel: Kernel) -> None:
        """Run the quirks' own code: the warm-up is waited for, the setup goes just ahead of the first cell."""
        if kernel.quirks.warm_up and kernel not in self._warmed:
            self._driver.finish(self._driver.send(kernel, kernel.quirks.warm_up))
        if kernel.quirks.setup:
            self._setups.append(self._driver.send(kernel, kernel.quirks.setup))
        self._begun.discard(kernel)  # set up anew after a restart, which has forgotten all

    def start_of(self, kernel: Kernel) -> str:
        """How a kernel came to be: ``warm``, ``forked`` or ``cold``."""
        return "warm" if kernel in self._warmed else "forked" if kernel.forked else "cold"

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
        if kernel.left:
            kernel.let_go()
            self._leaving.append(kernel)
        else:
            kernel.close()

    def shut_down(self) -> None:
        """End all kernels: politely, so that exit handlers run and their output is kept; after the grace, by force.

        Nothing of the program runs any more after that; `close` then waits for what the system has to put away.
        """
        asked = [kernel for kernel in self._live.values() if kernel.ready]
        for kernel in asked:
            kernel.request_shutdown()
        deadline = time.monotonic() + self._settings.shutdown_grace
        while time.monotonic() < deadline and not all(kernel.ended or kernel.left for kernel in asked):
            try:
                self._driver.switchboard.step(0.02)
            except KernelError:
                continue  # ended, as asked
        if self._warm is not None:
            self._warm.close()  # not what the run needed; nothing ran on it
            self._warm = None
        for kernel in list(self._live.values()):
            self.kill(kernel)

    def close(self) -> None:
        """End all kernels, and wait until no process of theirs is left."""
        self.shut_down()
        while self._leaving:
            self._leaving.pop().wait()

    def _await(self, spec: Kernelspec, kernel: Kernel) -> Kernel:
        """A kernel that answers: this one, or one started from nothing where that may help. Raises as `ensure` does."""
        for _ in range(STARTS - 1):
            problem = self._problem(kernel)
            if not problem:
                return kernel
            self._sink.append(EventType.LOG, level="warning", message=f"{problem}; another one is started.")
            self.kill(kernel)
            kernel = self._start(self._spec(spec), NO_FORK_SERVERS)
        self._driver.wait(lambda: kernel.ready)
        return kernel

    def _problem(self, kernel: Kernel) -> str:
        """Wait for a kernel; why another is needed: this one was warm or forked and is of no use, or lost a port.

        Empty if it is as it should be. Raises `KernelError` for a kernel that another one would resemble.
        """
        ports = PortWatch(kernel)
        try:
            self._driver.wait(lambda: kernel.ready or ports.is_stuck())
            if not kernel.ready:
                return f"Kernel {kernel.name!r} does not answer: {_LOST}"
            if kernel not in self._warmed or self._enter(kernel):
                return ""
            return f"Warm kernel {kernel.name!r} could not be given the run's folder and environment"
        except KernelError as error:
            if ports.lost:
                return f"{str(error).rstrip('.')}: {_LOST}"
            if kernel not in self._warmed and not kernel.forked:
                raise
            return str(error).rstrip(".")

    def _enter(self, kernel: Kernel) -> bool:
        """Give a warm kernel the run's folder and environment; whether that is done."""
        code = entering_code(kernel, self._cwd, self._within(kernel.spec)[1])
        if not code:
            kernel.check(busy=False)  # nothing is sent that would tell whether it still lives
            return code is not None
        request = self._driver.send(kernel, code)
        self._driver.wait(lambda: request.done or time.monotonic() - request.sent > ENTER_SECONDS)
        return request.done and (request.reply or {}).get("status") == "ok"

    def _launch(self, spec: Kernelspec) -> Kernel:
        """The warm kernel if it is of this kernelspec, else a new one."""
        wanted = self._spec(spec)
        warm = self._warm
        if warm is not None and warm.quirks == wanted.quirks and warm.spec.spec.argv == wanted.spec.argv:
            self._warm = None
            self._warmed.add(warm)
            return self._own(spec, warm)
        return self._start(wanted, self._fork_servers)

    def _spec(self, spec: Kernelspec) -> Kernelspec:
        environment = self._environment
        return spec if environment is None or environment.python is None else with_interpreter(spec, environment.python)

    def _within(self, spec: Kernelspec) -> tuple[Sandbox | None, Mapping[str, str]]:
        """The sandbox and the environment variables of a kernel."""
        if self._environment is None or not self._environment.serves(spec):
            return self._sandbox, self._environ
        return self._environment.within(self._sandbox), self._environment.environ(self._environ)

    def _start(self, spec: Kernelspec, fork_servers: Mapping[str, Path]) -> Kernel:
        sandbox, environ = self._within(spec)
        kernel = Kernel(
            spec,
            cwd=self._cwd,
            environ=environ,
            settings=self._settings,
            context=self._driver.context,
            sandbox=sandbox,
            fork_servers=fork_servers,
        )
        try:
            kernel.launch()
        except KernelError:
            kernel.close()
            raise
        return self._own(spec, kernel)

    def _own(self, spec: Kernelspec, kernel: Kernel) -> Kernel:
        self._live[_key(spec)] = kernel
        self._driver.switchboard.add(kernel)
        return kernel


def _key(spec: Kernelspec) -> str:
    # SQL cells and Python cells run on separate kernels of one kernelspec: they are set up differently.
    return f"{spec.name}:{spec.language}" if spec.language == "sql" else spec.name
