"""A sandbox for a process that is there already: the same walls as `sandbox.Sandbox` puts up by bubblewrap.

bubblewrap executes a command; a kernel that a fork server forks executes none, so it makes its namespaces by itself
(namespaces(7), mount(2)). Standard library only, of any Python 3: it runs in the kernel's interpreter.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from . import guard

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_SLAVE = 4096, 16384, 1 << 19

PR_SET_NO_NEW_PRIVS = 38
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 1, 0x40
CAPABILITY_VERSION_3 = 0x20080522

ROOTS_CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_NET_BIND_SERVICE": 10,
}
"""What a sandboxed kernel of root keeps (capabilities(7)): files and users are its own, the walls are not."""

LAST_CAPABILITY = 63
PR_CAPBSET_DROP = 24

KNOBS = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus")
"""What only root may write, and bubblewrap lets nobody write."""

libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library. Raises OSError with what it says."""
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def separate(network: bool) -> bool:
    """Give this process' next child processes of its own, and this process a network of its own unless `network`.

    Whoever may not do that becomes what root is, but in a user namespace that nobody else is in; true then.
    Raises OSError where the system forbids it.
    """
    flags = CLONE_NEWPID | (0 if network else CLONE_NEWNET)
    user, group = os.geteuid(), os.getegid()
    unprivileged = user != 0
    _call("unshare", flags | (CLONE_NEWUSER if unprivileged else 0))
    if unprivileged:
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(line)
    if not network:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP | IFF_RUNNING))
    return unprivileged


def wall_in(hidden: list[str], visible: list[str]) -> None:
    """Hide folders from this process and those it starts, but for the `visible` ones. Raises OSError."""
    _call("unshare", CLONE_NEWNS)
    _mount("none", "/", None, MS_REC | MS_SLAVE)
    # By descriptors, since what they are to be mounted over will hide them first.
    opened = [(path, os.open(path, os.O_PATH | os.O_DIRECTORY)) for path in visible]
    for path in hidden:
        if os.path.isdir(path):
            _mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV)
    for path, fd in opened:
        os.makedirs(path, exist_ok=True)
        _mount(f"/proc/self/fd/{fd}", path, None, MS_BIND | MS_REC)
        os.close(fd)
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for path in filter(lambda path: os.access(path, os.W_OK), KNOBS):
        _mount(path, path, None, MS_BIND | MS_REC)
        _mount("none", path, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    _call("mount", source.encode(), os.fsencode(target), kind.encode() if kind else None, flags, None)


def drop_privileges(kept: list[int]) -> None:
    """Give up all capabilities but some, so that nothing can be mounted or unmounted any more. Raises OSError."""

    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    for number in set(range(LAST_CAPABILITY + 1)) - set(kept):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)  # what a program that root executes would have again
    mask = sum(1 << number for number in kept)
    header = Header(CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable ones, the lower 32 and then the upper.
    sets = (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0)
    _call("capset", ctypes.byref(header), ctypes.byref(sets))


def start(sandbox: dict[str, Any], become_kernel: Callable[[int], None]) -> int:
    """Fork a kernel in a sandbox: ``hidden``, ``visible``, ``network``, ``memory`` as in `sandbox.Sandbox`.

    A guard calls it. Returns the pid of the kernel's init process, which ends with the kernel and with its exit code,
    128 and more for a signal. `become_kernel` is what `guard.start` takes. Raises OSError with what went wrong.
    """
    reader, writer = os.pipe()  # carries what went wrong; closed by a kernel that begins
    unprivileged = separate(sandbox["network"])
    pid = os.fork()
    if pid == 0:
        try:
            guard.die_with_parent(signal.SIGKILL)
            guard.set_name(guard.SANDBOXES[1])
            wall_in(sandbox["hidden"], sandbox["visible"])
            kernel = os.fork()
            if kernel == 0:
                os.close(reader)
                guard.begin_session(1)
                libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                drop_privileges([] if unprivileged else list(ROOTS_CAPABILITIES.values()))
                if sandbox["memory"]:
                    resource.setrlimit(resource.RLIMIT_DATA, (sandbox["memory"], sandbox["memory"]))
                become_kernel(writer)
            os._exit(_reap_until(kernel))
        except OSError as error:
            os.write(writer, f"the sandbox can't be made: {error}".encode())
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


def _reap_until(kernel: int) -> int:
    """Be the init process: collect whoever ends until the kernel does; the exit code as a shell tells it."""
    # The kernel can see them, and one of root's can open them: neither the guard's pipes nor its own may be among them.
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))
    for _ in range(3):
        os.open(os.devnull, os.O_RDWR)
    while True:
        pid, status = os.wait()
        if pid == kernel:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
