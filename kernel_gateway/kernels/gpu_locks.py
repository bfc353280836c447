"""Locks by which everything of this user on this machine keeps from each other's GPUs, services and single runs alike.

A file for each GPU in a folder of the user's, locked (flock(2)) by the process that runs a run on it, and by the guard
of each of its kernels (`keep_with`). The system takes the lock back when all of them are gone, whatever ends them: a
lock whose process was killed lasts as long as the last process of its kernels. Only GPUs that NVML knows have one;
other names are a service's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from weakref import WeakSet

from ..errors import KernelStartError, ResourceError
from .nvml import UUID
from .sandbox import SHORT_FOLDER, make_short_folder

FOLDER = SHORT_FOLDER / "gpus"

_held: set[int] = set()
"""Descriptors of the locks that this process has."""

_keepers: WeakSet[socket.socket] = WeakSet()
"""Sockets to those who are to hold them too."""


def lockable(gpu: str) -> bool:
    """Whether a GPU is one that others know by the same name: one with a UUID."""
    return UUID.fullmatch(gpu) is not None


def try_lock(gpu: str) -> int | None:
    """Take a GPU's lock; returns a descriptor that holds it until it is closed, None if somebody else has it.

    Raises `ResourceError` when locks can't be made at all.
    """
    path = FOLDER / gpu
    try:
        make_short_folder()
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if not _flock(fd, fcntl.LOCK_EX):
                os.close(fd)
                return None
            if _is_at(fd, path):
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
                return fd
            os.close(fd)  # somebody tidied the folder up in between
    except (OSError, KernelStartError) as error:
        raise ResourceError(f"The lock of GPU {gpu} can't be made: {error}", field="gpus") from error


def _flock(fd: int, mode: int) -> bool:
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def _is_at(fd: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(fd), os.stat(path))
    return False


def is_taken(gpu: str) -> bool:
    """Whether somebody holds a GPU's lock."""
    if not lockable(gpu):
        return False
    try:
        fd = os.open(FOLDER / gpu, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def holder(gpu: str) -> str:
    """Who holds a GPU, for people: ``process 4711``."""
    with contextlib.suppress(OSError):
        if pid := (FOLDER / gpu).read_text().strip():
            return f"process {pid}"
    return "another process"


def keep_with(keeper: socket.socket) -> None:
    """Have whoever has a socket's other end hold this process' locks too: those that it has and those that are to come.

    Nobody needs to read there: a descriptor that is under way is open until the other end is closed (unix(7)), and with
    it goes the lock. Called for the guard of each kernel before it is started. Raises OSError.
    """
    if _held:
        socket.send_fds(keeper, [b"l"], list(_held))
    _keepers.add(keeper)


class GpuLocks:
    """GPUs that this process holds, until `release` or its end, and that of its kernels."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def take(self, count: int, gpus: Sequence[str]) -> list[str]:
        """Take the first `count` of some GPUs that nobody holds, all or none; returns them, or an empty list.

        Those that have no lock count as free. Raises `ResourceError` when locks can't be made.
        """
        taken: list[str] = []
        try:
            for gpu in gpus:
                if len(taken) == count:
                    break
                if gpu in self._held or not lockable(gpu):
                    taken.append(gpu)
                elif (fd := try_lock(gpu)) is not None:
                    self._held[gpu] = fd
                    taken.append(gpu)
        except ResourceError:
            self.release()
            raise
        if len(taken) < count:
            self.release()
            return []
        self._share()
        return taken

    def _share(self) -> None:
        """Have the kernels that are there already hold what was taken."""
        new = [fd for fd in self._held.values() if fd not in _held]
        _held.update(new)
        for keeper in _keepers if new else ():
            with contextlib.suppress(ConnectionError):  # its kernel has ended
                socket.send_fds(keeper, [b"l"], new)

    def release(self) -> None:
        """Give all back."""
        for fd in self._held.values():
            _held.discard(fd)
            os.close(fd)
        self._held.clear()


def holders(gpus: Sequence[str]) -> Iterator[str]:
    """Which of some GPUs are held, and by whom, for people."""
    for gpu in gpus:
        if is_taken(gpu):
            yield f"{gpu} by {holder(gpu)}"
