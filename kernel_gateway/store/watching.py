"""Waiting for a file to grow, by Linux' inotify, so that a reader learns of it at once and a quiet file costs nothing.

Interface: inotify(7). Where the system has no more instances of it to give (``fs.inotify.max_user_instances``), or does
not tell of changes, as on a network file system that another machine writes to, the file is looked at often instead.
"""

from __future__ import annotations

import ctypes
import os
import select
import time
from functools import cache
from pathlib import Path

from .eventlog import LOOK_SECONDS

DOUBT_SECONDS = 0.25
"""How often a file is looked at although it should be told of; a change that wasn't told ends the trust in it."""

_MODIFIED, _ATTRIBUTES = 0x2, 0x4
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_ROOM = 4096


class FileWatch:
    """Waits for one file to change. Used from one thread; close it.

    A change before it was made is not told, so look at the file once after making it.
    """

    def __init__(self, path: Path) -> None:
        """A file that isn't there, or can't be watched, is looked at every `LOOK_SECONDS`."""
        self._fd = _watch(path)
        self._told = True

    def wait(self, seconds: float) -> None:
        """Wait until the file may have changed, at most so long, and less if that can't be told for sure."""
        if self._fd < 0:
            time.sleep(min(seconds, LOOK_SECONDS))
            return
        self._told = self._is_told(min(seconds, DOUBT_SECONDS))
        if self._told:
            os.read(self._fd, _ROOM)

    def found(self) -> None:
        """The reader found a change after the last `wait`. If that was not told, don't trust in being told."""
        if not self._told and not self._is_told(0.0):
            self.close()

    def _is_told(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    @property
    def is_told(self) -> bool:
        """Whether the system tells of changes; otherwise the file is looked at often."""
        return self._fd >= 0

    def close(self) -> None:
        """Give the watch back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _watch(path: Path) -> int:
    """An inotify instance that watches the file; -1 where there is none to be had."""
    library = _library()
    if library is None:
        return -1
    fd: int = library.inotify_init1(_FLAGS)
    if fd >= 0 and library.inotify_add_watch(fd, os.fsencode(path), _MODIFIED | _ATTRIBUTES) < 0:
        os.close(fd)
        return -1
    return fd


@cache
def _library() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    if not hasattr(library, "inotify_init1"):  # not Linux
        return None
    library.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
    return library
