"""Files and other content to a gateway: only what it lacks, several at a time, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import GatewayError, TooLargeError, UnreachableError, UsageError
from .transport import UPLOAD_BLOCK, Stopped, Transport
from .workspace import WorkspaceFile, hash_file

CHUNK = 1000
"""Digests that are asked for in one request."""

THREADS = 4

MAX_BREAKS = 5
"""Uploads of one blob that break while the gateway answers other requests, before that is an error."""

Tell = Callable[[int], None]
"""Takes the bytes sent since the last call; negative ones when a try begins anew."""


class Blob(NamedTuple):
    """Content to send: bytes, or a file that is read when it is sent."""

    sha256: str
    size: int
    content: bytes | Path

    @property
    def name(self) -> str:
        """What people know it by."""
        return str(self.content) if isinstance(self.content, Path) else "the source"

    @classmethod
    def of(cls, file: WorkspaceFile) -> Blob:
        """A workspace file's content."""
        return cls(file.sha256, file.size, file.file)


class _ArrivedError(Exception):
    """A blob is on the gateway although no answer said so."""


def missing(transport: Transport, digests: Iterable[str]) -> set[str]:
    """Those that the gateway lacks."""
    wanted = sorted(set(digests))
    lacking: set[str] = set()
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        answer = transport.request("POST", "/api/v1/blobs/missing", json={"sha256": chunk}).json()
        told = answer.get("missing") if isinstance(answer, dict) else None
        if not isinstance(told, list):
            raise UnreachableError(f"The gateway at {transport.url} does not say which files it lacks; is it newer?")
        lacking.update(digest for digest in told if digest in set(chunk))
    return lacking


def upload(
    transport: Transport, blobs: Sequence[Blob], *, begin: Callable[[int, int], Tell] | None = None
) -> tuple[int, int]:
    """Send what the gateway lacks; returns how many blobs and bytes that were.

    ``begin`` is called with these two numbers before the first is sent, and gives a function to tell progress to.
    Raises `UsageError` when a file changed since it was hashed, and what requests raise.
    """
    by_digest = {blob.sha256: blob for blob in blobs}
    lacking = missing(transport, by_digest)
    # The largest first, so that none is left alone at the end.
    todo = sorted((by_digest[digest] for digest in lacking), key=lambda blob: -blob.size)
    total = sum(blob.size for blob in todo)
    if not todo:
        return 0, 0
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    tell = begin(len(todo), total) if begin else _ignore
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        jobs = [pool.submit(put, transport, blob, tell) for blob in todo]
        done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
        failed = next((job for job in done if job.exception()), None)
        if failed is not None:
            for job in jobs:
                job.cancel()
            failed.result()
    return len(todo), total


def _ignore(count: int) -> None:
    pass


def put(transport: Transport, blob: Blob, tell: Tell = _ignore) -> None:
    """Send one blob. A broken upload is sent anew, from the start."""
    sent = 0
    tries = 0

    def content() -> Iterator[bytes]:
        nonlocal tries
        tries += 1
        # A gateway that has the blob by now, or doesn't want it, may hang up before we can read its answer.
        if tries > 1 and not missing(transport, [blob.sha256]):
            raise _ArrivedError
        if tries > MAX_BREAKS:
            raise UnreachableError(
                f"The gateway at {transport.url} broke off the upload of {blob.name} ({blob.size:,} bytes) "
                f"{MAX_BREAKS} times. Is it larger than the gateway (setting max_blob_mb) or a proxy before it takes?"
            )
        return pieces()

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        tell(-sent)
        sent = 0
        for piece in _pieces(blob):
            if transport.stop.is_set():
                raise Stopped
            yield piece
            sent += len(piece)
            tell(len(piece))

    try:
        transport.request("PUT", f"/api/v1/blobs/{blob.sha256}", content=content, size=blob.size)
    except _ArrivedError:
        pass
    except TooLargeError as error:
        raise TooLargeError(f"{blob.name} ({blob.size:,} bytes) can't be sent: {error}") from error
    except GatewayError as error:
        if isinstance(error, UsageError) and isinstance(blob.content, Path):
            _check_unchanged(blob, blob.content)
        raise
    tell(blob.size - sent)  # an answer that came before all was sent


def _pieces(blob: Blob) -> Iterator[bytes]:
    if isinstance(blob.content, bytes):
        yield from (blob.content[start : start + UPLOAD_BLOCK] for start in range(0, blob.size, UPLOAD_BLOCK))
        return
    left = blob.size
    try:
        with blob.content.open("rb", buffering=0) as file:
            while left and (piece := file.read(min(UPLOAD_BLOCK, left))):
                left -= len(piece)
                yield piece
    except OSError as error:
        raise UsageError(f"{blob.content} can't be read: {error.strerror}.", field="input") from error
    if left:
        raise changed(blob.content)


def _check_unchanged(blob: Blob, path: Path) -> None:
    now = hash_file("", path)
    if now is None or now.sha256 != blob.sha256:
        raise changed(path)


def changed(path: Path) -> UsageError:
    """The error for a file that something else writes to."""
    return UsageError(f"{path} changed while it was being sent. Run again when nothing writes to it.", field="input")


def entries(files: Iterable[WorkspaceFile]) -> list[dict[str, Any]]:
    """The workspace as a request carries it."""
    return [file.to_dict() for file in files]
