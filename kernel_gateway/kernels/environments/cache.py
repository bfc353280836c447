"""The environments that were built on this machine: found by digest, lent to processes, removed when nobody wants them.

An environment is a folder below the cache, named by its digest. It counts once it has its marker, which is written
last; whoever uses the environment holds a shared lock (flock(2)) on the marker, which goes with the process, however
that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...errors import EnvironmentBuildError
from ...settings import Settings
from ..sandbox import Sandbox
from ..specs import Kernelspec

POLL_SECONDS = 0.1
"""How often `check` is called while something is waited for."""

DAY = 86400.0

Log = Callable[[str], None]
Check = Callable[[], None]

_MARKER = ".complete"
_NAME_LENGTH = 32
_LISTS = ("PATH", "R_LIBS")
_GONE = ".gone-"


class Lease:
    """A shared lock on an environment's marker, until this object or the process goes. Raises OSError."""

    def __init__(self, marker: Path) -> None:
        self._fd = os.open(marker, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        # Whoever removes an environment moves it away first, while nobody else has the lock.
        if not os.path.samestat(os.fstat(self._fd), marker.stat()):
            raise FileNotFoundError(marker)

    def __del__(self) -> None:
        if fd := getattr(self, "_fd", 0):
            os.close(fd)

    def touch(self) -> None:
        """Note that the environment is used now, if we may."""
        with contextlib.suppress(OSError):
            os.utime(self._fd)


@dataclass(frozen=True)
class Environment:
    """A ready environment: its folder, its interpreter (Python's only), what is installed (name → version), and the
    digest it is known by. ``variables``: what kernels in it find in their environment. It is not removed as long as
    this object lives.
    """

    folder: Path
    language: str
    python: Path | None
    packages: dict[str, str]
    digest: str
    variables: dict[str, str] = field(default_factory=dict)
    lease: Lease | None = field(default=None, compare=False, repr=False)

    def serves(self, kernelspec: Kernelspec) -> bool:
        """Whether kernels of a kernelspec run in it."""
        if self.language == "python":
            return kernelspec.takes_interpreter
        return str(kernelspec.spec.language).lower() == self.language

    def environ(self, base: Mapping[str, str]) -> dict[str, str]:
        """The variables of a kernel in it: `base` with the environment's own, and its folders before all others."""
        given = {"PATH": os.defpath, **base}
        return {**base, **{name: _added(name, value, given) for name, value in self.variables.items()}}

    def within(self, sandbox: Sandbox | None) -> Sandbox | None:
        """The sandbox of a kernel in it, which may read it and not change it: the next run shall find it as it is."""
        return None if sandbox is None else replace(sandbox, readable=(*sandbox.readable, self.folder))


@dataclass(frozen=True)
class Entry:
    """One environment of a cache, for a list. ``size``: bytes; ``used``: seconds since the epoch."""

    folder: Path
    file: str
    language: str
    packages: int
    size: int
    used: float
    complete: bool


@dataclass(frozen=True)
class Cache:
    """The folder of environments, and how many are kept: ``days`` without use, ``gigabytes`` in all; 0: no limit."""

    folder: Path
    days: float = 30.0
    gigabytes: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> Cache:
        """The cache that the settings name."""
        folder = Path(settings.env_cache) if settings.env_cache else default_folder()
        return cls(folder.absolute(), settings.env_cache_days, settings.env_cache_gb)

    def place(self, digest: str) -> Path:
        """The folder of an environment, whether it is there or not."""
        return self.folder / digest[:_NAME_LENGTH]

    def find(self, digest: str) -> Environment | None:
        """A complete environment, lent to this process and noted as used now; None if there is none."""
        folder = self.place(digest)
        try:
            lease = Lease(folder / _MARKER)
            content = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
            if content["digest"] != digest:
                return None
            python = folder / "bin" / "python" if content["language"] == "python" else None
            # The interpreter is a link to one of the system, which may be gone after an upgrade.
            if not all(Path(needed).exists() for needed in [*content["needs"], *([python] if python else [])]):
                return None
            lease.touch()
            return Environment(
                folder, content["language"], python, content["packages"], digest, content["variables"], lease
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def complete(self, digest: str, content: dict[str, Any]) -> Environment:
        """Put the marker into a folder that is built. Raises `EnvironmentBuildError` if it is not what it should be."""
        folder = self.place(digest)
        new = folder / f"{_MARKER}.new"
        new.write_text(json.dumps({**content, "digest": digest, "bytes": _size(folder)}, indent=1), encoding="utf-8")
        new.replace(folder / _MARKER)
        found = self.find(digest)
        if found is None:
            raise EnvironmentBuildError(f"The environment in {folder} was built, but can't be used.")
        return found

    @contextlib.contextmanager
    def locked(self, digest: str, log: Log, check: Check) -> Iterator[int]:
        """Be the only one who builds an environment; yields the lock's descriptor.

        Whoever has a copy of it holds the lock too: a build that was orphaned keeps others out until it is gone.
        """
        path = self.folder / f"{digest[:_NAME_LENGTH]}.lock"
        told = False
        while True:
            with path.open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if not told:
                        log("Another run is building this environment; waiting for it.")
                        told = True
                    check()
                    time.sleep(POLL_SECONDS)
                    continue
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                        yield file.fileno()
                        return

    def entries(self) -> list[Entry]:
        """What is there, the least recently used first."""
        found = []
        for folder in self.folder.iterdir() if self.folder.is_dir() else ():
            if len(folder.name) == _NAME_LENGTH and folder.is_dir():
                with contextlib.suppress(OSError):
                    found.append(_entry(folder))
        return sorted(found, key=lambda entry: entry.used)

    def prune(self, days: float | None = None, *, patience: float | None = None) -> list[Entry]:
        """Remove what was not used for so long, what is over the size, and what was never finished; returns it.

        Nothing is removed that a process uses or builds. `patience`: as `empty` has it.
        """
        limit = self.days if days is None else days
        entries = self.entries()
        total = sum(entry.size for entry in entries)
        removed = []
        for entry in entries:
            old = (limit > 0 or days is not None) and time.time() - entry.used > limit * DAY
            large = self.gigabytes > 0 and total > self.gigabytes * (1 << 30)
            if (old or large or not entry.complete or not _is_usable(entry)) and self._remove(entry):
                removed.append(entry)
                total -= entry.size
        self.empty(patience)
        return removed

    def discard(self, folder: Path) -> None:
        """Take away what is below an environment's name and counts no more; `empty` removes it, which takes longer."""
        try:
            folder.rename(self.folder / f"{_GONE}{secrets.token_hex(8)}")
        except FileNotFoundError:
            pass
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)

    def empty(self, patience: float | None = None) -> None:
        """Remove the files of what was taken away. After `patience` seconds, if given, that goes on in a thread.

        What is left when this process ends, the next one removes that prunes.
        """
        if gone := list(self.folder.glob(f"{_GONE}*")):
            remover = threading.Thread(target=_remove_all, args=(gone,), name="remover", daemon=True)
            remover.start()
            remover.join(patience)

    def _remove(self, entry: Entry) -> bool:
        lock, marker = self.folder / f"{entry.folder.name}.lock", entry.folder / _MARKER
        with contextlib.ExitStack() as stack:
            try:
                for path in (lock, marker):
                    # Looked at behind the first lock: what was incomplete in the list may be in use by now.
                    if path is lock or marker.exists():
                        file = stack.enter_context(path.open("a" if path is lock else "r"))
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                entry.folder.rename(self.folder / f"{_GONE}{secrets.token_hex(8)}")
            except OSError:
                return False  # in use, or gone
            lock.unlink(missing_ok=True)
        return True


def _remove_all(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _added(name: str, value: str, given: Mapping[str, str]) -> str:
    """A variable of an environment; a list of folders goes before what is there already."""
    return os.pathsep.join(filter(None, (value, given.get(name)))) if name in _LISTS else value


def default_folder() -> Path:
    """Where environments are kept unless a setting says otherwise: below the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kernel-gateway" / "environments"


def _entry(folder: Path) -> Entry:
    marker = folder / _MARKER
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        used = marker.stat().st_mtime
        return Entry(
            folder, content["file"], content["language"], len(content["packages"]), content["bytes"], used, True
        )
    except (OSError, ValueError, KeyError, TypeError):
        return Entry(folder, "", "", 0, 0, folder.stat().st_mtime, False)


def _is_usable(entry: Entry) -> bool:
    """Whether what it rests on outside of its folder is still there."""
    try:
        needs = json.loads((entry.folder / _MARKER).read_text(encoding="utf-8"))["needs"]
    except (OSError, ValueError, KeyError):
        return False
    return all(Path(path).exists() for path in needs)


def _size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total
