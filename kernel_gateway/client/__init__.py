"""A gateway's HTTP API for Python: what the command line stands on, and scripts may use.

from kernel_gateway import GatewayClient

with GatewayClient("http://gateway.example:8888", token=os.environ["KERNEL_GATEWAY_TOKEN"]) as gateway:
    run = gateway.submit(Path("train.ipynb"), parameters={"epochs": 20}, require=["accuracy >= 0.92"])
    for event in gateway.events(run.id):
        ...
    assert gateway.wait(run.id).succeeded
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, Unpack

from ..errors import NotFoundError, UsageError
from ..events import Event
from ..settings import PREFIX
from .downloads import artifact_path, blob_path, download
from .request import FIELDS_OF_BLOBS, Request, RunFields, env_entry, make_request
from .response import no_gateway
from .run import Run
from .stream import Follower, Line
from .transport import Answer, Patience, Remark, Timeouts, Transport
from .uploads import Blob, Tell, missing, upload
from .workspace import Found, WorkspaceFile, find_files, hash_files, workspace_root

API = "/api/v1"

SETTLE_SECONDS = 60.0
"""How long a gateway may take after a run's last event to write its results."""

__all__ = [
    "Artifact",
    "ConsoleText",
    "Found",
    "GatewayClient",
    "Patience",
    "Run",
    "RunFields",
    "Submitted",
    "Timeouts",
    "WorkspaceFile",
    "find_files",
    "hash_files",
    "workspace_root",
]


class Artifact(NamedTuple):
    """A file that a run brought back; ``size`` in bytes."""

    path: str
    sha256: str
    size: int
    media_type: str = "application/octet-stream"

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Artifact:
        """What a list of artifacts or an event of one says. Raises `UnreachableError` if it lacks a field."""
        path, sha256, size = entry.get("path"), entry.get("sha256"), entry.get("size")
        if not isinstance(path, str) or not isinstance(sha256, str) or not isinstance(size, int):
            raise no_gateway("what it says of an artifact lacks its path, digest or size")
        return cls(path, sha256, size, str(entry.get("media_type") or cls._field_defaults["media_type"]))


class ConsoleText(NamedTuple):
    """A run's console from an offset on. ``end`` is the offset to go on from; ``more`` whether more will come."""

    text: str
    end: int
    more: bool


class Submitted(NamedTuple):
    """A run that was asked for. ``is_ours``: queued by this request, as far as can be told, not by an earlier one."""

    run: Run
    is_ours: bool


class GatewayClient:
    """A gateway service. May be used from several threads; gives its connections back when closed.

    Every method waits for a gateway that is away or busy, as `Patience` says, and raises a `GatewayError` whose
    text is a sentence for people: `UnreachableError` when it stays away, `AuthError` and `ForbiddenError` for
    the token, `UsageError` for a request that it can't carry out, `NotFoundError` for a run that it doesn't have.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float | None = None,
        ca_file: str | None = None,
        patience: Patience | None = None,
        remark: Remark | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """``timeout``: seconds without a byte after which a connection counts as broken. ``ca_file``: certificate
        of the CA that signed the gateway's. ``remark`` takes sentences about outages. ``stop``: when it is set,
        waiting ends with `transport.Stopped`.
        """
        timeouts = Timeouts() if timeout is None else Timeouts(min(timeout, Timeouts().connect), timeout, timeout)
        self._transport = Transport(
            url, token, timeouts=timeouts, patience=patience, ca_file=ca_file, remark=remark, stop=stop
        )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ, **options: Any) -> Self:
        """The gateway that KERNEL_GATEWAY_URL and KERNEL_GATEWAY_TOKEN name. Raises `UsageError` without the first."""
        url = environ.get(PREFIX + "URL")
        if not url:
            raise UsageError("No gateway is named: set KERNEL_GATEWAY_URL, or give --gateway URL.", field="gateway")
        return cls(url, environ.get(PREFIX + "TOKEN") or None, **options)

    @property
    def url(self) -> str:
        """The gateway's URL, without the API's prefix."""
        return self._transport.url

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- runs ----------------------------------------------------------------------------------------

    def submit(
        self,
        source: str | Path,
        *,
        workspace: Sequence[WorkspaceFile] = (),
        idempotency_key: str | None = None,
        **fields: Unpack[RunFields],
    ) -> Run:
        """Queue a run. ``source``: code as text, or the path of a file, which need not be in ``workspace``.

        Its files are sent first, as far as the gateway lacks them. A source file's name in the workspace is the
        one that it has there, else its bare name. The same ``idempotency_key`` gives the same run again.
        """
        if isinstance(source, Path):
            content = _read(source)
            path = next((file.path for file in workspace if _same(file.file, source)), source.name)
            fields.setdefault("name", source.stem)
            root = source.absolute().parent.resolve()
        else:
            content, path, root = source.encode(), None, Path.cwd()
            fields.setdefault("name", "snippet")
        env = env_entry(fields.get("env"), root)
        request = make_request(content, path, workspace, env, fields)
        self.upload(request.blobs)
        # Without a key of the caller's, one of ours keeps a lost answer from starting a second run.
        return self.post_run(request, idempotency_key or os.urandom(16).hex()).run

    def post_run(self, request: Request, idempotency_key: str) -> Submitted:
        """Queue a prepared request, whose blobs were sent before."""
        headers = {"idempotency-key": idempotency_key}
        try:
            answer = self._call("POST", f"{API}/runs", json=request.body, headers=headers)
        except UsageError as error:
            # Blobs that were there when asked for may be gone by now: once more.
            field = (error.field or "").split(".")[0]
            if field not in FIELDS_OF_BLOBS or not self.upload(request.blobs)[0]:
                raise
            answer = self._call("POST", f"{API}/runs", json=request.body, headers=headers)
        return Submitted(Run.from_dict(answer.json()), answer.status == 201 or answer.lost > 0)

    def run(self, id: str) -> Run:
        """A run as it is now."""
        return Run.from_dict(self._call("GET", _run_path(id)).json())

    def runs(
        self,
        *,
        name: str | None = None,
        status: str | None = None,
        build: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Run]:
        """Runs, newest first, page by page as they are asked for; at most ``limit`` of them."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            size = 100 if left is None else min(left, 100)
            query = {"name": name, "status": status, "build": build, "limit": size, "cursor": cursor}
            answer = self._call("GET", f"{API}/runs", query=query)
            found = answer.entries("runs")[:left]
            yield from map(Run.from_dict, found)
            cursor = answer.json().get("next")
            left = None if left is None else left - len(found)
            if not cursor:
                return

    def cancel(self, id: str, *, patience: float | None = None, timeout: float | None = None) -> Run:
        """Ask for a run's end. Asking a second time kills what an interrupt didn't end."""
        return Run.from_dict(
            self._call("POST", f"{_run_path(id)}/cancel", json={}, patience=patience, timeout=timeout).json()
        )

    def wait(self, id: str) -> Run:
        """Wait for a run's end, its results included."""
        for _ in self.lines(id):
            pass
        return self.settled(id)

    def settled(self, id: str, seconds: float = SETTLE_SECONDS) -> Run:
        """A run whose last event has come, once the gateway has written its results and counts it as ended.

        Waits so many seconds at most, and then gives the run as it is.
        """
        deadline = time.monotonic() + seconds
        pause = 0.05
        while True:
            left = max(0.0, deadline - time.monotonic())
            run = Run.from_dict(self._call("GET", _run_path(id), patience=left).json())
            if run.is_finished or not left:
                return run
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    # -- what a run wrote ----------------------------------------------------------------------------

    def events(self, id: str, after: int = 0) -> Iterator[Event]:
        """A run's events with a ``seq`` above ``after``, each once and in order, until ``run_finished``.

        Reconnects by itself when the connection breaks or the gateway restarts, from the last event seen.
        """
        for batch in self.lines(id, after):
            for line in batch:
                yield line.event

    def lines(self, id: str, after: int = 0) -> Iterator[list[Line]]:
        """As `events`, in batches as they arrive, with the lines of the gateway's log that they stand in."""
        return iter(Follower(self._transport, _checked(id), after))

    def console(self, id: str, start: int = 0) -> ConsoleText:
        """The text that a person reads, from a byte offset on."""
        answer = self._call("GET", f"{_run_path(id)}/console", query={"start": start})
        size = answer.headers.get("x-text-size")
        return ConsoleText(
            answer.content.decode("utf-8", "replace"),
            int(size) if size and size.isdecimal() else start + len(answer.content),
            answer.headers.get("x-more-data", "").lower() == "true",
        )

    def metrics(self, id: str) -> dict[str, Any]:
        """The run's ``metrics.json``."""
        metrics: dict[str, Any] = self._call("GET", f"{_run_path(id)}/metrics").json()
        return metrics

    def record(self, id: str) -> dict[str, Any]:
        """The run's ``run.json``: what was run, where, with what."""
        record: dict[str, Any] = self._call("GET", f"{_run_path(id)}/record").json()
        return record

    def artifacts(self, id: str) -> list[Artifact]:
        """The files that the run produced so far."""
        answer = self._call("GET", f"{_run_path(id)}/artifacts")
        return [Artifact.from_dict(item) for item in answer.entries("artifacts")]

    def download_artifact(self, id: str, artifact: Artifact, folder: Path) -> Path:
        """Bring an artifact back below a folder, checked against its digest; returns where it lies.

        A broken connection is resumed. Raises `UsageError` for a path that would leave the folder.
        """
        from ..agents.workspace import safe_path

        target = folder / safe_path(artifact.path)
        download(
            self._transport,
            artifact_path(_checked(id), artifact.path),
            target,
            sha256=artifact.sha256,
            size=artifact.size,
        )
        return target

    def download_blob(self, digest: str, target: Path, size: int = -1) -> None:
        """Bring a blob, such as a large output, back to a file, checked against its digest."""
        download(self._transport, blob_path(digest), target, sha256=digest, size=size)

    # -- files ---------------------------------------------------------------------------------------

    def missing(self, digests: Sequence[str]) -> set[str]:
        """Those that the gateway lacks."""
        return missing(self._transport, digests)

    def upload(self, blobs: Sequence[Blob], *, begin: Callable[[int, int], Tell] | None = None) -> tuple[int, int]:
        """Send what the gateway lacks of these; how many blobs and bytes that were."""
        return upload(self._transport, blobs, begin=begin) if blobs else (0, 0)

    def upload_workspace(self, files: Sequence[WorkspaceFile]) -> list[dict[str, Any]]:
        """Send what the gateway lacks of these files; the entries for a request's ``workspace``."""
        self.upload([Blob.of(file) for file in files])
        return [file.to_dict() for file in files]

    # -- the gateway ---------------------------------------------------------------------------------

    def kernelspecs(self) -> list[dict[str, Any]]:
        """The kernels that runs may use: ``name``, ``display_name``, ``language``."""
        return self._call("GET", f"{API}/kernelspecs").entries("kernelspecs")

    def agents(self) -> list[dict[str, Any]]:
        """Where runs are executed: ``name``, ``slots``, ``busy``, ``gpus``, ``labels``, ``alive``."""
        return self._call("GET", f"{API}/agents").entries("agents")

    def _call(self, method: str, path: str, **options: Any) -> Answer:
        return self._transport.request(method, path, **options)


def _checked(id: str) -> str:
    """A run's id, which becomes a part of a URL. Raises `NotFoundError` for what can be none."""
    if not id.replace("-", "").isalnum() or not id.isascii():
        raise NotFoundError(f"There is no run {id!r}; `kernel-gateway runs list` shows all.")
    return id


def _run_path(id: str) -> str:
    return f"{API}/runs/{_checked(id)}"


def _read(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except OSError as error:
        raise UsageError(f"{source} can't be read: {error.strerror}.", field="source") from error


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
