"""What is kept of ended runs, and for how long; the blobs that nothing needs any more go with them.

The dispatcher calls `collect_garbage` now and then. A run's folder is its own; a blob may serve many runs. Which
blobs a run needs stands in its request and its event log: everything there that looks like a digest counts, so
that at worst a blob is kept too long.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from logging import Logger
from pathlib import Path

import orjson

from .blobs import BlobStore
from .records import RetentionPolicy, RunRecord
from .runs import RunStore

BLOB_GRACE = 3600.0
"""Seconds since a blob was last sent or used before it may go: its run may be about to be submitted."""

_INVENTORY = ".inventory.json"
_DOOMED = ".deleting-"
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True)
class Collected:
    """What a collection removed: runs, blobs, and the bytes of both."""

    runs: int
    blobs: int
    bytes: int


@dataclass(frozen=True)
class _Inventory:
    """What a run's folder takes on disk, in bytes, and the blobs that it names."""

    size: int
    blobs: frozenset[str]


def collect_garbage(runs: RunStore, data: Path, policy: RetentionPolicy, log: Logger) -> Collected:
    """Remove what `policy` does not keep below the data folder: ended runs, then blobs that no run names.

    A live or queued run is never touched, nor one whose folder something is still writing to. Killed at any
    moment, it leaves nothing that the next call does not finish. What can't be removed is logged and left;
    raises `sqlalchemy.exc.DBAPIError` while the database does not answer.
    """
    return _Collection(runs, data, log).collect(policy)


class _Collection:
    def __init__(self, runs: RunStore, data: Path, log: Logger) -> None:
        self._runs = runs
        self._folders = data / "runs"
        self._blobs = BlobStore(data / "blobs")
        self._log = log
        self._removed = 0
        self._freed = 0

    def collect(self, policy: RetentionPolicy) -> Collected:
        for doomed in _entries(self._folders):
            if doomed.name.startswith(_DOOMED):
                self._remove_tree(doomed)
        for record in self._runs.expired(policy):
            self._remove_run(record)
        blobs = 0
        try:
            if policy.max_bytes > 0:
                self._remove_down_to(policy.max_bytes)
            blobs = self._remove_blobs()
        except OSError as error:
            self._log.warning("no blob is removed, for what runs need can't be read: %s", error)
        if self._removed or blobs:
            self._log.info("removed %d runs and %d blobs, %d bytes", self._removed, blobs, self._freed)
        return Collected(self._removed, blobs, self._freed)

    # -- runs ----------------------------------------------------------------------------------------

    def _remove_run(self, record: RunRecord) -> bool:
        """Remove an ended run: its folder first, so that a sudden end leaves a row, which the next call finds."""
        folder = self._folders / record.id
        if _is_in_use(folder):
            return False
        size = _size(folder)
        doomed = self._folders / f"{_DOOMED}{record.id}"
        try:
            os.rename(folder, doomed)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._log.warning("run %s can't be removed: %s", record.id, error.strerror)
            return False
        if self._runs.delete(record.id):
            self._removed += 1
            self._freed += size
        self._remove_tree(doomed)
        return True

    def _remove_tree(self, folder: Path) -> None:
        """Remove a folder with all that kernels left in it, folders without permissions too. Follows no link."""
        try:
            try:
                shutil.rmtree(folder)
            except PermissionError:
                _open_all(folder)
                shutil.rmtree(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._log.warning("the folder %s can't be removed: %s", folder, error.strerror)

    def _remove_down_to(self, limit: int) -> None:
        """Remove the runs that ended first until folders and blobs together take `limit` bytes."""
        inventories = {folder.name: inventory for folder, inventory in self._inventories()}
        sizes = {path.name: _size(path) for path in self._blob_files()}
        total = sum(sizes.values()) + sum(inventory.size for inventory in inventories.values())
        if total <= limit:
            return
        users = Counter(digest for inventory in inventories.values() for digest in inventory.blobs)
        for record in self._runs.ended():
            if total <= limit:
                return
            inventory = inventories.get(record.id, _Inventory(0, frozenset()))
            if not self._remove_run(record):
                continue
            users.subtract(inventory.blobs)
            total -= inventory.size + sum(sizes.get(digest, 0) for digest in inventory.blobs if users[digest] == 0)

    # -- blobs ---------------------------------------------------------------------------------------

    def _remove_blobs(self) -> int:
        for path in self._blob_files(partial=True):
            if path.name.startswith(_DOOMED):  # a collection that was killed between its two looks at a blob
                path.replace(path.with_name(path.name.removeprefix(_DOOMED)))
        needed = {digest for _, inventory in self._inventories() for digest in inventory.blobs}
        return sum(self._remove_blob(path) for path in self._blob_files(partial=True) if path.name not in needed)

    def _remove_blob(self, path: Path) -> bool:
        """Remove a blob unless it was used within the hour, be it in this very moment."""
        doomed = path.with_name(_DOOMED + path.name)
        try:
            if time.time() - path.stat().st_mtime < BLOB_GRACE:
                return False
            os.rename(path, doomed)
            found = doomed.stat()
            if time.time() - found.st_mtime < BLOB_GRACE:
                os.rename(doomed, path)  # used between the two looks; whoever looked in between sent it again
                return False
            doomed.unlink()
        except OSError:
            return False
        self._freed += found.st_size
        return True

    def _blob_files(self, *, partial: bool = False) -> Iterator[Path]:
        """The blobs, and with `partial` what an upload left that did not come to its end."""
        for folder in _entries(self._blobs.folder):
            for path in _entries(folder):
                if partial or not path.name.startswith("."):
                    yield path

    # -- inventories ---------------------------------------------------------------------------------

    def _inventories(self) -> Iterator[tuple[Path, _Inventory]]:
        """Of every folder of a run, whether it stands in the database or not. Raises OSError."""
        ended: set[str] | None = None
        for folder in _entries(self._folders):
            if folder.name.startswith(_DOOMED) or not folder.is_dir():
                continue
            kept = _read_inventory(folder)
            if kept is None:
                if ended is None:
                    ended = {record.id for record in self._runs.ended()}
                # Asked before the folder is read, or what is written in between would never be counted.
                final = folder.name in ended and not _is_in_use(folder)
                try:
                    kept = _take_inventory(folder)
                except FileNotFoundError:
                    continue
                if final:
                    _keep_inventory(folder, kept)
            yield folder, kept


def _entries(folder: Path) -> Iterable[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _open_all(folder: Path) -> None:
    """Give the owner access to a folder and all below it, as far as they are his."""
    folder.chmod(stat.S_IRWXU)
    for path, names, _ in os.walk(folder):
        for name in names:  # from the top down: a folder is opened before os.walk looks into it
            inner = os.path.join(path, name)
            if not os.path.islink(inner):
                os.chmod(inner, stat.S_IRWXU)


def _is_in_use(folder: Path) -> bool:
    """Whether somebody holds the lock of a run's folder (`RunFolder`): a runner may end after its run has."""
    try:
        fd = os.open(folder / ".lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; what vanishes meanwhile or can't be read counts nothing."""
    try:
        found = path.lstat()
    except OSError:
        return 0
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                pass
    return total


def _take_inventory(folder: Path) -> _Inventory:
    digests: set[bytes] = set()
    for name in ("request.json", "events.jsonl"):
        try:
            with (folder / name).open("rb") as file:
                for line in file:
                    if b"sha256" in line or b"digest" in line:
                        digests.update(_DIGEST.findall(line))
        except FileNotFoundError:
            folder.lstat()  # raises where the whole folder is gone
    return _Inventory(_size(folder), frozenset(digest.decode() for digest in digests))


def _read_inventory(folder: Path) -> _Inventory | None:
    try:
        kept = orjson.loads((folder / _INVENTORY).read_bytes())
        return _Inventory(int(kept["size"]), frozenset(kept["blobs"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep_inventory(folder: Path, inventory: _Inventory) -> None:
    """Spare the next collection the reading of a log that does not change any more."""
    part = folder / f"{_INVENTORY}.part"
    try:
        part.write_bytes(orjson.dumps({"size": inventory.size, "blobs": sorted(inventory.blobs)}))
        part.replace(folder / _INVENTORY)
    except OSError:
        part.unlink(missing_ok=True)
