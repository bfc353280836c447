"""A network of its own: a loopback device and nothing else, so a cluster in it reaches nobody."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
UP_AND_RUNNING = 0x1 | 0x40


def unshare() -> None:
    """Give this thread, and what it starts, such a network. Raises OSError, e.g. without the right to."""
    _call("unshare", CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH", b"lo", UP_AND_RUNNING))


@contextmanager
def inside(pid: int) -> Iterator[None]:
    """Be in the network of a process for a while."""
    ours, theirs = (os.open(f"/proc/{name}/ns/net", os.O_RDONLY) for name in ("thread-self", str(pid)))
    try:
        _call("setns", theirs, CLONE_NEWNET)
        yield
    finally:
        _call("setns", ours, CLONE_NEWNET)
        os.close(ours)
        os.close(theirs)


def _call(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
