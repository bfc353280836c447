"""Files from a gateway to disk: resumed where a connection broke, checked, and in place only when whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO
from urllib.parse import quote

from ..errors import StorageError, UnreachableError
from .transport import NotNow, Outage, Transport

READ = 1 << 20
TRIES_FOR_DIGEST = 2


def download(transport: Transport, path: str, target: Path, *, sha256: str | None = None, size: int = -1) -> None:
    """GET ``path`` (quoted) into a file, whose folder is made. ``sha256`` and ``size`` are checked where known.

    Raises `StorageError` when the file can't be written, `UnreachableError` when the gateway stays away or what
    comes is not what was asked for, `NotFoundError` when it has no such file.
    """
    part = target.with_name(f".{target.name[-200:]}{_part_suffix()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb+") as file:
            for _ in range(TRIES_FOR_DIGEST):
                file.seek(0)
                file.truncate()
                if _fill(transport, path, file, size) in (sha256, "") or sha256 is None:
                    break
            else:
                raise UnreachableError(
                    f"{target.name} came back damaged from the gateway at {transport.url}: its SHA-256 differs."
                )
        os.replace(part, target)
    except OSError as error:
        raise StorageError(f"{target} can't be written: {error.strerror}.") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _fill(transport: Transport, path: str, file: IO[bytes], size: int) -> str:
    """Write the whole content; returns its digest."""
    import hashlib

    digest = hashlib.sha256()
    outage = Outage(transport)
    etag: str | None = None
    while True:
        have = file.tell()
        headers: dict[str, str] = {}
        if have:
            headers["range"] = f"bytes={have}-"
            if etag:
                headers["if-range"] = etag
        try:
            with transport.stream(path, headers=headers) as response:
                if have and response.status != 206:  # changed since, or no ranges there: from the start
                    file.seek(0)
                    file.truncate()
                    digest = hashlib.sha256()
                etag = response.headers.get("etag")
                while content := response.read1(READ):
                    outage.over()
                    digest.update(content)
                    file.write(content)
                    if transport.stop.is_set():
                        raise NotNow("The download was stopped.")
            if size < 0 or file.tell() == size:
                return digest.hexdigest()
            trouble = NotNow(f"The gateway at {transport.url} sent {file.tell()} bytes instead of {size}.")
            if file.tell() > size:
                raise UnreachableError(str(trouble))
        except NotNow as error:
            trouble = error
            if have < size == file.tell():
                return digest.hexdigest()  # the break came after the last byte
        outage.wait(trouble, trouble.retry_after)


def _part_suffix() -> str:
    return f".{os.getpid()}.part"


def remove_parts(folder: Path) -> None:
    """Remove what downloads of this process that were given up have left below a folder."""
    for part in folder.rglob(f".*{_part_suffix()}"):
        with contextlib.suppress(OSError):
            part.unlink()


def artifact_path(run: str, path: str) -> str:
    """The URL path of a run's artifact."""
    return f"/api/v1/runs/{run}/artifacts/{quote(path)}"


def blob_path(digest: str) -> str:
    """The URL path of a blob, such as a large output."""
    return f"/api/v1/blobs/{quote(digest, safe='')}"
