"""A folder on this machine that follows a run on a gateway: its events, console, large outputs and artifacts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..client import Artifact, GatewayClient
from ..client.response import no_gateway
from ..client.stream import Line
from ..client.transport import Stopped
from ..errors import GatewayError, StorageError
from ..events import Event, EventType, now
from ..runner.ending import Cancellation
from ..settings import Settings
from ..store.eventlog import encode
from ..store.folder import RunFolder
from .printer import ConsolePrinter, print_text

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from ..runner.masking import Masker

DOWNLOAD_THREADS = 3


class Mirror:
    """The local copy of one run; written from one thread, ended from another.

    What the gateway sent is masked once more before it is written, for whoever runs this command knows the secrets.
    """

    def __init__(self, path: Path, settings: Settings, client: GatewayClient, masker: Masker | None) -> None:
        """Raises `UsageError` when the folder can't be used."""
        self._path = path
        self._settings = settings
        self._client = client
        self._masker = masker
        self._lock = threading.Lock()
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._folder = RunFolder(self._path, self._settings)
        self._printer = ConsolePrinter(self._folder.log, self._settings)
        self._downloads = _Downloads()
        self._seq = 0
        self.finished: Event | None = None
        self.failure: GatewayError | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no event has come."""
        return self._seq == 0

    def write(self, run: str, batch: list[Line]) -> None:
        """Add events of a run, and fetch what they refer to. A full disk is told once; the rest is then left out.

        Raises `UnreachableError` for an event that no gateway would send.
        """
        with self._lock:
            if self._closed or self.finished is not None:
                return
            try:
                for line in batch:
                    self._fetch(run, line.event)  # first: an event that it refuses would break the results
                    self._append(line)
                self._folder.log.flush()
            except StorageError as error:
                if self.failure is None:
                    self.failure = error
                    click.echo(f"kernel-gateway: {error} The run goes on.", err=True)

    def _append(self, line: Line) -> None:
        event = line.event
        self._seq = event["seq"]
        if event["type"] == EventType.RUN_FINISHED:
            self.finished = event
        raw = line.line
        if self._masker:
            fields = {name: value for name, value in event.items() if name not in ("seq", "time", "type")}
            masked = self._masker.mask_event(event["type"], fields)
            if masked != fields:
                raw = encode({"seq": event["seq"], "time": event["time"], "type": event["type"], **masked})
        self._folder.log.append_raw(event["type"], event["seq"], raw)

    def add(self, type: EventType, **fields: Any) -> None:
        """An event of our own: how the run ended as seen from here, when the gateway can't say."""
        event = {"seq": self._seq + 1, "time": now(), "type": type.value, **fields}
        self.write("", [Line(event, encode(event))])

    def _fetch(self, run: str, event: Event) -> None:
        """Begin to bring back the blobs or the artifact that an event names. Raises `UnreachableError` for nonsense."""
        if event["type"] == EventType.ARTIFACT and run:
            artifact = Artifact.from_dict(event)
            fetch = partial(self._client.download_artifact, run, artifact, self._folder.artifacts)
            self._downloads.start(artifact.path, fetch, again=True)
        for blob in (event.get("blobs") or {}).values():
            try:
                digest = blob["sha256"]
                target = self._folder.blobs.path(digest)
            except (KeyError, TypeError, ValueError):
                raise no_gateway(f"event {event['seq']} names a blob without its digest") from None
            fetch_blob = partial(self._client.download_blob, digest, target)
            self._downloads.start(digest, partial(fetch_blob, blob.get("size", -1)))

    def fetch_rest(self) -> None:
        """Wait until all is here; what could not be brought back becomes the `failure`."""
        problems = self._downloads.join()
        for name, error in problems[:10]:
            click.echo(f"kernel-gateway: {name} could not be brought back: {error}", err=True)
        if problems and self.failure is None:
            self.failure = problems[0][1]

    def restart(self, cancel: Cancellation) -> None:
        """Another run takes the place of this one: begin anew in the same folder."""
        with self._lock:
            if self._closed:
                return
            self._downloads.join()
            self._folder.log.close()
            self._printer.join(cancel)
            self._folder.release()
            self._begin()

    def finish(self, cancel: Cancellation, patience: float) -> None:
        """Write the results and print the end. ``patience``: seconds for a reader who has stopped, after a cancel."""
        with self._lock:
            self._closed = True
        try:
            self._folder.log.close()
        except StorageError as error:
            self.failure = self.failure or error
        self._downloads.remove_parts(self._folder.path)
        try:
            self._folder.write_results()
        except StorageError as error:
            click.echo(f"kernel-gateway: {error}", err=True)
        self._printer.join(cancel, patience)
        try:
            from .summary import summary  # not before the run is submitted

            print_text(summary(self._folder.path) + "\n")
        except OSError:
            pass  # nobody reads it any more

    def release(self) -> None:
        """Let others use the folder."""
        self._folder.release()


class _Downloads:
    """Files on their way here, a few at a time."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._jobs: dict[str, Future[Any]] = {}

    def start(self, name: str, job: Callable[[], Any], *, again: bool = False) -> None:
        """Begin with one, unless it is here; ``again``: what is under way by that name comes first."""
        earlier = self._jobs.get(name)
        if earlier is not None and not again:
            return
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(DOWNLOAD_THREADS, thread_name_prefix="download")
        self._jobs[name] = self._pool.submit(_after, earlier, job)

    def join(self) -> list[tuple[str, GatewayError]]:
        """Wait for all; those that failed, with why."""
        if self._pool is None:
            return []
        from concurrent.futures import wait

        wait(self._jobs.values())
        self._pool.shutdown()
        return list(_failed(self._jobs.items()))

    def remove_parts(self, folder: Path) -> None:
        """Remove what those that were given up have left below a folder."""
        if self._pool is not None:
            from ..client.downloads import remove_parts

            remove_parts(folder)


def _after(earlier: Future[Any] | None, job: Callable[[], Any]) -> Any:
    if earlier is not None:
        earlier.exception()
    return job()


def _failed(jobs: Iterable[tuple[str, Future[Any]]]) -> Iterable[tuple[str, GatewayError]]:
    for name, job in jobs:
        error = job.exception()
        if isinstance(error, GatewayError):
            yield name, error
        elif isinstance(error, Stopped):
            yield name, GatewayError("the command was ended before it was here.")
        elif error is not None:
            raise error
