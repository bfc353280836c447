"""The guard: a small process between a runner and a kernel that lets nothing outlive the run.

`launch.py` starts it as a script of its own (``python -I -S guard.py``), once a kernel; a fork server (`forkserver.py`)
forks one instead, in the kernel's own interpreter. It is a child subreaper (prctl(2)), so that whatever the kernel
starts stays below it, also after setsid and double forks. When its control pipe closes, because the runner stopped the
kernel or was itself killed with -9, or when the kernel ends, it kills everything below itself and goes. If the guard is
killed, the kernel dies by its parent-death signal, and the runner, a subreaper too, can sweep what is left.

Standard library only and few imports: it is started for every kernel (about 15 ms).

``guard.py CONTROL STATUS[,KEPT…] FOLDER COMMAND…``: descriptors of the two pipes, and those that it only keeps open as
long as there is anything below it, such as the locks of GPUs; the kernel gets none of them. FOLDER goes at the end.

Protocol. Control pipe (runner to guard), one byte a command: ``i`` SIGINT to the kernel's process group,
``t`` SIGTERM, ``k`` SIGKILL, ``h`` SIGHUP to the kernel and everything below it; end of file: kill all.
Status pipe (guard to runner), one line each:
``pid N`` after the start, ``failed TEXT`` if the command can't be executed, ``exit CODE OOM`` at the end:
CODE is negative for a signal, as in `subprocess`; OOM is 1 if the control group counted an out-of-memory
kill meanwhile.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
SWEEP_SECONDS = 0.01
TERM_GRACE = 0.5

SANDBOXES = ("bwrap", "kernel-init")
"""Names of processes that stand between a guard and a sandboxed kernel: bubblewrap's, and `namespaces`' own."""


def become_subreaper() -> None:
    """Make orphans below this process its children. Linux only; elsewhere nothing happens."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(number: int) -> None:
    """Have this process get a signal when the one that started it is gone. Linux only; elsewhere nothing happens."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def set_name(name: str) -> None:
    """What process lists call this process, up to 15 characters. Linux only; elsewhere nothing happens."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def children(pid: int) -> list[int]:
    """Process ids of a process' children, all threads' ones; empty when it is gone."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += map(int, file.read().split())
    except OSError:
        pass
    return found


def descendants(pid: int) -> list[int]:
    """Process ids of all processes below one, parents before children."""
    found: list[int] = []
    waiting = children(pid)
    while waiting:
        child = waiting.pop()
        found.append(child)
        waiting += children(child)
    return found


def signal_all(pids: list[int], number: int) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass


def reap() -> dict[int, int]:
    """Collect ended children without waiting: pid → exit code, negative for a signal."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def sweep(grace: float, spare: frozenset[int] = frozenset()) -> dict[int, int]:
    """End every process below this one: SIGTERM, up to `grace` seconds, then SIGKILL until none is left.

    The processes of `spare` and what is below them are left alone. Returns the exit codes of those
    that were our children.
    """
    ended: dict[int, int] = {}
    deadline = time.monotonic() + grace
    number = signal.SIGTERM if grace > 0 else signal.SIGKILL
    told: set[int] = set()
    while True:
        ended.update(reap())
        below = [pid for child in children(os.getpid()) if child not in spare for pid in (child, *descendants(child))]
        if not below:
            return ended
        if number == signal.SIGTERM and time.monotonic() > deadline:
            number = signal.SIGKILL
        signal_all([pid for pid in below if number == signal.SIGKILL or pid not in told], number)
        told.update(below)
        time.sleep(SWEEP_SECONDS)


def oom_kills() -> int:
    """How often the system's out-of-memory killer struck in our control group (v2 or v1), or, where that does not
    tell, on the whole machine; 0 if unknown.
    """
    try:
        with open("/proc/self/cgroup") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return 0
    for _, controllers, path in groups:
        names = (
            [f"/sys/fs/cgroup{path}/memory.events"]
            if controllers == ""
            else [f"/sys/fs/cgroup/memory{path}/memory.oom_control"]
            if "memory" in controllers.split(",")
            else []
        )
        for name in names:
            try:
                with open(name) as file:
                    for line in file:
                        if line.startswith("oom_kill "):
                            return int(line.split()[1])
            except (OSError, ValueError):
                pass
    try:
        with open("/proc/vmstat") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    except (OSError, ValueError):
        return 0


def start(become: Callable[[int], None]) -> int:
    """Fork a kernel in a session of its own; returns its pid. Raises OSError with what kept it from beginning.

    `become` is called in the new process and does not return: it executes a command, or closes the descriptor
    that it is given when nothing can go wrong any more.
    """
    reader, writer = os.pipe()  # carries the error of a failing start; closed by a working one
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            begin_session(parent)
            become(writer)
        except OSError as error:
            os.write(writer, f"{error.strerror}: {error.filename}".encode())
        except BaseException:  # noqa: BLE001 — nothing may return into the guard
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(127)
    os.close(writer)
    failure = os.read(reader, 4096)
    os.close(reader)
    if failure:
        os.waitpid(pid, 0)
        raise OSError(failure.decode(errors="replace"))
    return pid


def execute(argv: list[str], inherited: list[int]) -> None:
    """Become a command, without our descriptors. Raises OSError."""
    for fd in inherited:
        os.close(fd)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or argv[0]) from None


def begin_session(parent: int) -> None:
    """Make this process, just forked, a kernel's: a session of its own, signals as usual, gone with its parent."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(127)


def is_sandbox(pid: int) -> bool:
    """Whether a process is a sandbox around a kernel rather than a kernel."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().rstrip("\n") in SANDBOXES
    except OSError:
        return False


def command(byte: bytes, pid: int) -> None:
    """Carry out one byte of the control pipe."""
    if byte == b"h":
        signal_all([*descendants(pid), pid], signal.SIGHUP)
    if byte == b"i" and is_sandbox(pid):
        # The sandbox stands first in the group and would die of it, and the kernel with it.
        signal_all([below for below in descendants(pid) if not is_sandbox(below)], signal.SIGINT)
        return
    number = {b"i": signal.SIGINT, b"t": signal.SIGTERM, b"k": signal.SIGKILL}.get(byte)
    if number is None:
        return
    try:
        os.killpg(pid, number)
    except OSError:
        pass


def supervise(control: int, pid: int) -> int | None:
    """Wait until the kernel ends, or the control pipe does (None)."""
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    poller = select.poll()
    poller.register(control, select.POLLIN)
    poller.register(woken, select.POLLIN)
    while True:
        ended = reap()
        if pid in ended:
            return ended[pid]
        for fd, _ in poller.poll():
            if fd == woken:
                os.read(woken, 512)
            else:
                byte = os.read(control, 1)
                if not byte:
                    return None
                command(byte, pid)


def main(control: int, status: int, kept: list[int], folder: str, argv: list[str]) -> None:
    """Guard a command: what this script does when it is started by itself."""
    run(control, status, folder, lambda: start(lambda writer: execute(argv, [control, status, *kept])))


def run(control: int, status: int, folder: str, start: Callable[[], int]) -> None:
    """Be a guard to the end. `start` starts the kernel and returns its pid, or raises OSError.

    `folder`, the kernel's connection folder, is removed at the end.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    become_subreaper()
    kills = oom_kills()
    try:
        pid = start()
    except OSError as error:
        tell(status, f"failed {error}")
        remove(folder)
        return
    # Our copies of the kernel's output pipes must not keep them open after its end.
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    tell(status, f"pid {pid}")
    code = supervise(control, pid)
    # A kernel that ended by itself may have children with something to tidy up; after a kill nothing waits.
    ended = sweep(0.0 if code is None else TERM_GRACE)
    if code is None:
        code = ended.get(pid, -signal.SIGKILL)
    tell(status, f"exit {code} {int(oom_kills() > kills)}")
    remove(folder)


def tell(status: int, line: str) -> None:
    """Send one line to the runner, if it is still there."""
    try:
        os.write(status, line.replace("\n", " ").encode() + b"\n")
    except OSError:
        pass


def remove(folder: str) -> None:
    """Remove the connection folder, also when the runner can't any more."""
    try:
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
    except OSError:
        pass


if __name__ == "__main__":
    status_fd, *kept_fds = map(int, sys.argv[2].split(","))
    main(int(sys.argv[1]), status_fd, kept_fds, sys.argv[3], sys.argv[4:])
