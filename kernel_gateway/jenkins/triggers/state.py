"""The file of what triggers remember: whole or as it was before, whatever is killed; for one check at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import StorageError, UsageError
from .memory import Memory

VERSION = 1
LOCK_SECONDS = 30.0
"""How long a check waits for another one to end."""


class State:
    """The memories of all triggers of a file, by name. Made by `opened`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._memories = _read(path)

    def __getitem__(self, name: str) -> Memory:
        """What is remembered of a trigger; nothing of one that is new."""
        return self._memories.get(name, Memory())

    def remember(self, name: str, memory: Memory) -> None:
        """Keep it: when this returns, it is on the disk. Raises `StorageError`."""
        if self._memories.get(name) == memory:
            return
        self._memories[name] = memory
        content = {
            "version": VERSION,
            "triggers": {name: one.to_dict() for name, one in self._memories.items()},
        }
        try:
            _write(self.path, content)
        except OSError as error:
            raise StorageError(f"What triggers remember can't be written to {self.path}: {error.strerror}.") from error


@contextlib.contextmanager
def opened(path: Path, *, only_read: bool = False) -> Iterator[State]:
    """The state in a file, which need not exist, for this process alone; or, to look at only, as it is.

    Raises `UsageError` when another check is at work with it for too long, or the file is none of ours.
    """
    if only_read:
        yield State(path)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(f"{path}.lock", "w")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"--state: {path} can't be used: {error.strerror}.", field="state") from error
    with lock:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UsageError(
                        f"Another check is at work with {path} for {LOCK_SECONDS:g} s. Let it end.", field="state"
                    ) from None
                time.sleep(0.1)
        yield State(path)


def _read(path: Path) -> dict[str, Memory]:
    try:
        content: Mapping[str, Any] = json.loads(path.read_bytes())
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']!r}")
        return {name: Memory.from_dict(one) for name, one in content["triggers"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"--state: {path} can't be read: {error.strerror}.", field="state") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not what triggers remember, or that of a later version ({error!r}). Move it away to begin "
            "anew: the next check then only looks.",
            field="state",
        ) from error


def _write(path: Path, content: Mapping[str, Any]) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
