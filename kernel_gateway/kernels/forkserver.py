"""A fork server: a process that has imported what kernels need, and forks a kernel whenever it is asked to.

`ForkServers` of the agents start it as a script of its own, in the interpreter of a kernelspec whose command runs
ipykernel: ``python forkserver.py LISTENER MODULES``, where LISTENER is the descriptor of a listening Unix socket and
MODULES a comma-separated list of what to import beforehand. Standard library only, besides ipykernel.

It never runs a line of a user's program, so every kernel begins in the same clean state. It has no threads, since a
fork copies none: a module that starts one when it is imported makes it end with an error.

Protocol. Lines on stdout: ``warning TEXT``, ``failed TEXT``, ``ready``, and ``alive`` whenever something comes by its
stdin. That is its lifeline, too: at its end the server goes; kernels that it forked go on, for each has a guard of its
own. A connection to the socket is one request, answered with a pid: a single message ``fork`` with six descriptors: a
file with the request as JSON, the guard's control and status pipes, the kernel's stdout and stderr, and what the guard
only keeps open (see `guard`). The JSON: ``argv`` (the kernel's options), ``cwd``, ``environ``, ``folder`` (its
connection folder), ``sandbox`` (null, or `namespaces.start`'s).
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import threading
import types
from collections.abc import Callable
from typing import Any

COMMAND = ["-m", "ipykernel_launcher"]
"""What a kernelspec's command runs, behind its interpreter, that a fork server can fork."""

FDS = 6
"""Descriptors of a request at most."""

LONGEST_MESSAGE = 4096

REQUEST_SECONDS = 1.0
"""How long a request may take to come once somebody has connected: nobody who hangs may hold up the others."""

PACKAGE = "_kernel_gateway_start"
"""Name that our neighbours in this folder go by here: the kernel's interpreter does not know the gateway."""


PARTS = frozenset(
    {"IPython", "asttokens", "comm", "debugpy", "decorator", "executing", "ipykernel", "jedi", "jupyter_client"}
    | {"jupyter_core", "matplotlib_inline", "parso", "pexpect", "prompt_toolkit", "psutil", "ptyprocess", "pure_eval"}
    | {"pygments", "stack_data", "tornado", "traitlets", "wcwidth", "zmq"}
)
"""Packages that make up a kernel; `rehearse` imports more of them, but nothing else of the user's."""


FORKING_THREADS = {"jemalloc_bg_thd"}
"""Threads that see to forks by themselves (pthread_atfork(3)): that of jemalloc, which comes with pyarrow."""

OPENBLAS = [(name, suffix) for name in ("openblas", "scipy_openblas") for suffix in ("", "64_", "_64")]
"""How the functions of OpenBLAS are called, depending on who built it."""


def neighbours() -> None:
    """Make this script's folder a package, so that `guard` and others can be imported from it."""
    package = types.ModuleType(PACKAGE)
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules[PACKAGE] = package


_channel = 1


def keep_channel() -> None:
    """Keep stdout for `tell`: what modules print when they are imported goes to stderr from here on."""
    global _channel
    _channel = os.dup(1)
    os.dup2(2, 1)


def tell(line: str) -> None:
    """Say something to whoever started us; with nobody there, the server ends."""
    try:
        os.write(_channel, line.replace("\n", " ").encode() + b"\n")
    except BrokenPipeError:
        raise SystemExit(0) from None


# -- importing ---------------------------------------------------------------------------------------


def preload(names: list[str]) -> bool:
    """Import ipykernel and the modules; whether forking is still safe. What can't be imported is told and left out."""
    # A thread pool would not survive a fork; `unleash` gives kernels theirs.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Read when matplotlib is imported; ipykernel sets it later.
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    opened = os.listdir("/proc/self/fd")
    for name in ["ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.iostream", *names]:
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 — whatever a foreign module raises, SystemExit too
            if name.startswith("ipykernel"):
                tell(f"failed ipykernel can't be imported: {error!r}")
                return False
            tell(f"warning {name} can't be imported beforehand: {error!r}")
        if threading.active_count() > 1 or not foreign_threads() <= FORKING_THREADS:
            tell(f"failed {name} starts threads when it is imported; take it off the list of modules to preload")
            return False
        if len(os.listdir("/proc/self/fd")) > len(opened):
            # A kernel has other files by these numbers, and the module would write to them.
            tell(f"failed {name} keeps a file or connection open; take it off the list of modules to preload")
            return False
    return True


def foreign_threads() -> set[str]:
    """Names of this process' threads but for the first."""
    names = set()
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            with open(f"/proc/self/task/{task}/comm") as file:
                names.add(file.read().strip())
    return names


def rehearse() -> None:
    """Import what a kernel imports while it starts: a first one, forked and thrown away, tells."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for fd in (1, 2):
                os.dup2(os.open(os.devnull, os.O_RDWR), fd)
            known = set(sys.modules)
            start_and_compute()
            os.write(writer, "\n".join(name for name in sys.modules if name not in known).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as file:
        names = file.read().split("\n")
    os.waitpid(pid, 0)
    for name in names:
        if name.partition(".")[0] in PARTS or name.partition(".")[0] in sys.stdlib_module_names:
            try:
                importlib.import_module(name)
            except Exception:  # noqa: BLE001 — it only saves time
                continue


def start_and_compute() -> None:
    """Start a kernel as far as it goes without a client, in a folder of its own, and have it compute something."""
    from ipykernel.kernelapp import IPKernelApp

    with tempfile.TemporaryDirectory() as folder:
        os.environ["IPYTHONDIR"] = folder
        app = IPKernelApp.instance(connection_file=os.path.join(folder, "kernel.json"))
        app.initialize(["--HistoryManager.hist_file=:memory:", "--log-level=CRITICAL"])
        app.kernel.shell.run_cell("import sys\n1 + 1")
        app.kernel.shell.run_cell("1 / 0")


# -- serving -----------------------------------------------------------------------------------------


class ForkServer:
    """Forks a process for each connection until the lifeline, our stdin, ends.

    `become` is what the new process does with the request's message and descriptors; it does not return.
    """

    def __init__(self, listener: socket.socket, become: Callable[[bytes, list[int]], None]) -> None:
        self._listener = listener
        self._become = become
        self._woken, self._waker = os.pipe()
        for fd in (self._woken, self._waker):
            os.set_blocking(fd, False)

    def serve(self) -> None:
        """Say that we are ready, and serve."""
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        poller = select.poll()
        for source in (self._listener.fileno(), self._woken, 0):
            poller.register(source, select.POLLIN)
        gc.collect()
        gc.freeze()  # the collector would touch, and so copy, every page that processes share
        tell("ready")
        while True:
            for fd, _ in poller.poll():
                if fd == 0:
                    if not os.read(0, 512):
                        return
                    tell("alive")
                if fd == self._woken:
                    os.read(self._woken, 512)
                    self.on_child_ended()
                if fd == self._listener.fileno():
                    self._accept()

    def on_child_ended(self) -> None:
        """Collect the processes that ended."""
        raise NotImplementedError

    def on_forked(self, pid: int) -> None:
        """Take note of a process that was forked."""

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(REQUEST_SECONDS)
            try:
                message, fds, _, _ = socket.recv_fds(connection, LONGEST_MESSAGE, FDS)
            except OSError:
                return
            try:
                pid = os.fork()
                if pid == 0:
                    self._begin(message, fds)
                self.on_forked(pid)
                connection.send(str(pid).encode())
            except OSError:
                pass  # whoever asked is gone
            finally:
                for fd in fds:
                    os.close(fd)

    def _begin(self, message: bytes, fds: list[int]) -> None:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            self._become(message, fds)
        except BaseException:  # noqa: BLE001 — nothing may return into the server's loop
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)


class KernelServer(ForkServer):
    """Forks guards, which fork kernels."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener, become_guard)
        self._guards: set[int] = set()
        guard_module().become_subreaper()
        # Not when they are needed: the files may be of another version by then.
        for name in ("namespaces", "python_start"):
            importlib.import_module(f"{PACKAGE}.{name}")

    def on_forked(self, pid: int) -> None:
        """Know a guard from a stray."""
        self._guards.add(pid)

    def on_child_ended(self) -> None:
        """Collect guards, and end what one left that was killed itself."""
        guard = guard_module()
        self._guards -= set(guard.reap())
        guard.signal_all([child for child in guard.children(os.getpid()) if child not in self._guards], signal.SIGKILL)


def guard_module() -> types.ModuleType:
    """Our neighbour `guard`."""
    return importlib.import_module(f"{PACKAGE}.guard")


def become_guard(message: bytes, fds: list[int]) -> None:
    """In a forked process: guard a kernel that is forked from here once more. Does not return."""
    from _kernel_gateway_start import guard, namespaces, python_start  # type: ignore[import-not-found]

    with open(fds[0], "rb", closefd=False) as file:
        request = json.loads(file.read())
    null = os.open(os.devnull, os.O_RDONLY)
    control, status, *kept = arrange([null, fds[3], fds[4], fds[1], fds[2], *fds[5:]])[3:]
    poller = select.poll()
    poller.register(control, 0)
    if poller.poll(0):
        return  # whoever asked did not wait, and has started another kernel with the same connection folder

    def become_kernel(writer: int) -> None:
        for fd in (control, status, *kept):
            os.close(fd)
        enter(request)
        guard.set_name("ipykernel")
        os.close(writer)
        python_start.run_ipykernel(request["argv"])

    def start() -> int:
        sandbox = request["sandbox"]
        return int(guard.start(become_kernel) if sandbox is None else namespaces.start(sandbox, become_kernel))

    guard.run(control, status, request["folder"], start)
    os._exit(0)


def arrange(fds: list[int]) -> list[int]:
    """Make these our descriptors 0, 1, 2 … and close all others: those of the server are nobody's business."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in fds]
    for target, fd in enumerate(high):
        os.dup2(fd, target)
    os.closerange(len(fds), os.sysconf("SC_OPEN_MAX"))
    return list(range(len(fds)))


# -- being a kernel ----------------------------------------------------------------------------------


def enter(request: dict[str, Any]) -> None:
    """Take on a kernel's working folder and environment, and make what must differ between kernels. Raises OSError."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # as an interpreter that starts does: errors instead of death
        signal.signal(number, signal.SIG_IGN)
    tempfile.tempdir = None
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()
    if "multiprocessing.process" in sys.modules:
        sys.modules["multiprocessing.process"].current_process().authkey = os.urandom(32)
    unleash()


def unleash() -> None:
    """Give OpenBLAS its threads back, as many as it would have taken without `preload`."""
    wish = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    threads = int(wish) if wish.isdigit() else len(os.sched_getaffinity(0))
    with open("/proc/self/maps") as file:
        paths = {line.split(None, 5)[5].strip() for line in file if "openblas" in line and "/" in line}
    for path in paths:
        library = ctypes.CDLL(path)
        setters = [getattr(library, f"{name}_set_num_threads{suffix}", None) for name, suffix in OPENBLAS]
        for setter in filter(None, setters):
            setter(threads)


def main(listener: int, modules: str) -> int:
    """Entry point of the process."""
    keep_channel()
    neighbours()
    guard_module().die_with_parent(signal.SIGKILL)  # one that is stopped does not see the end of its lifeline
    del sys.path[0]  # this script's folder
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
    if not preload([name for name in modules.split(",") if name]):
        return 1
    rehearse()
    if not foreign_threads() <= FORKING_THREADS:
        tell("failed ipykernel starts threads when it is imported")
        return 1
    KernelServer(socket.socket(fileno=listener)).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
