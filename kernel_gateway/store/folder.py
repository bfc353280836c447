"""A run's folder: the event log, blobs and artifacts as they come, the result files at the end."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO, Self

from ..errors import StorageError, UsageError
from ..projections import PROJECTIONS
from ..settings import Settings
from .blobs import BlobStore
from .eventlog import EventLog, read_events

RESERVE = 256 * 1024
"""Bytes kept free from the start for the end of a run whose disk fills up."""

RESULT_FILES = (*PROJECTIONS, "console.log", "events.jsonl")
RESULT_FOLDERS = ("report", "artifacts", "blobs")


class RunFolder:
    """The folder of one run, opened for writing; results of an earlier run in it are removed, nothing else is.

    A folder that has other things of their names is refused.
    With `shared`, blobs that all runs share, the folder of a run whose log has begun is opened instead, to go
    on with it. Raises `UsageError` when the folder can't be used: not writable, another run is at work in it …
    """

    def __init__(self, path: Path, settings: Settings, *, shared: BlobStore | None = None) -> None:
        self.path = path.absolute()
        self._settings = settings
        self._lock = -1
        reserve = self.path / ".reserve"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            if shared is None:
                self._check_ours()
                self._clean()
            reserve.write_bytes(b"\0" * RESERVE)
        except (OSError, StorageError) as error:
            self.release()
            detail = error.strerror if isinstance(error, OSError) else error
            raise UsageError(
                f"The output folder {path} can't be used: {detail}. Name another with --output-dir.", field="output_dir"
            ) from error
        self._reserve = reserve
        self.blobs = shared or BlobStore(self.path / "blobs")
        log = self.path / "events.jsonl"
        self.log = EventLog(log, reserve=reserve) if shared is None else EventLog.resume(log, reserve=reserve)

    @property
    def artifacts(self) -> Path:
        """Where artifacts are copied."""
        return self.path / "artifacts"

    def _take_lock(self) -> None:
        path = self.path / ".lock"
        while True:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its holder may have removed the file between the two calls: then it guards nothing any more.
                if os.fstat(lock).st_ino == path.stat().st_ino:
                    self._lock = lock
                    return
            except FileNotFoundError:
                pass
            except BlockingIOError:
                os.close(lock)
                raise StorageError("another run is writing its results there") from None
            os.close(lock)

    def _check_ours(self) -> None:
        """Raises `StorageError` for a folder with files that go by our names and are no earlier run's: a user's own.

        Empty ones are nobody's loss: a shell makes ``OUTPUT/console.log`` that way before it starts us.
        """
        if any((self.path / name).exists() for name in ("events.jsonl", "run.json")):
            return
        for name in (*RESULT_FILES, *RESULT_FOLDERS):
            place = self.path / name
            empty = not any(place.iterdir()) if place.is_dir() else place.is_file() and not place.stat().st_size
            if os.path.lexists(place) and not empty:
                raise StorageError(f"its {name}, which would be replaced, is of no earlier run")

    def _clean(self) -> None:
        for name in RESULT_FILES:
            (self.path / name).unlink(missing_ok=True)
        for name in RESULT_FOLDERS:
            folder = self.path / name
            if folder.is_symlink():
                folder.unlink()
            elif folder.exists():
                from shutil import rmtree

                rmtree(folder)
        for left in self.path.glob(".*.part"):
            left.unlink(missing_ok=True)

    def write_results(self) -> None:
        """Compute every result file from the event log, which is closed. Raises `StorageError` for what could not be
        written.

        Each file is written whole or not at all, and one that fails does not stop the others.
        """
        from ..projections.console import Console
        from ..projections.report import Report

        self._reserve.unlink(missing_ok=True)
        failures: list[str] = []
        reducers = {name: factory(self._settings, self.blobs.get) for name, factory in PROJECTIONS.items()}
        report = Report(self._settings, self.blobs.get)
        with _Part(self.path / "console.log", failures) as console_log:
            console = Console(self._settings)
            for event in read_events(self.log.path):
                for reducer in reducers.values():
                    reducer.feed(event)
                report.feed(event)
                console_log.write(console.feed(event).encode("utf-8", "replace"))
            console_log.write(console.finish().encode("utf-8", "replace"))
        # The largest comes last: on a full disk the small ones still fit, and say why.
        for name, reducer in sorted(reducers.items(), key=lambda item: item[0] == "executed.ipynb"):
            with _Part(self.path / name, failures) as file:
                file.write(reducer.result().encode("utf-8", "replace"))
        for name, content in report.files():
            with _Part(self.path / "report" / name, failures) as file:
                file.write(content)
        if failures:
            raise StorageError(f"Not all results could be written: {'; '.join(failures[:3])}.")

    def release(self) -> None:
        """Let others use the folder."""
        if self._lock >= 0:
            (self.path / ".lock").unlink(missing_ok=True)
            (self.path / ".reserve").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1


def load_projections(settings: Settings) -> None:
    """Import what `RunFolder.write_results` needs, ahead of time: whoever waits for a run has time for it."""
    from ..projections.report import Report

    Report(settings, _no_blob)
    for factory in PROJECTIONS.values():
        factory(settings, _no_blob)


def _no_blob(digest: str) -> bytes:
    raise KeyError(digest)


class _Part:
    """A file that appears whole at the end of its ``with`` block; if it can't be written, that is noted instead."""

    def __init__(self, path: Path, failures: list[str]) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._failures = failures
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("wb")
        except OSError as error:
            self._fail(error)
        return self

    def write(self, content: bytes) -> None:
        """Add content; nothing more happens once a write has failed."""
        if self._file is not None:
            try:
                self._file.write(content)
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._failures.append(f"{self._path.name}: {error.strerror}")
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        self._part.unlink(missing_ok=True)

    def __exit__(self, *exception: object) -> None:
        try:
            if self._file is not None:
                self._file.close()
                self._part.replace(self._path)
        except OSError as error:
            self._file = None
            self._fail(error)
