"""``/blobs``: content by its SHA-256. Clients send what the gateway lacks, and fetch large outputs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO

from flask import Response, request, send_file
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from werkzeug.exceptions import ClientDisconnected

from ..errors import NotFoundError, StorageError, UsageError
from .answers import json_answer
from .auth import scope
from .problems import answers
from .schemas import PREFIX, BlobPath, BlobView, MissingRequest, MissingView
from .service import Gateway, gateway
from .submit import touch

CHUNK = 1 << 20
"""Bytes of an upload that are in memory at a time."""


BODY = {"required": True, "content": {"application/octet-stream": {"schema": {}}}}

blobs = APIBlueprint(
    "blobs",
    __name__,
    url_prefix=PREFIX,
    abp_tags=[Tag(name="blobs", description="Content by its SHA-256.")],
    abp_security=[{"token": []}],
    abp_responses=answers(),
)


@blobs.post("/blobs/missing", responses={"200": MissingView, **answers(413, 415)})
@scope("run")
def missing(body: MissingRequest) -> Response:
    """Which of these blobs does the gateway lack? The others are kept for an hour at least."""
    store = gateway().blobs
    lacking = [digest for digest in dict.fromkeys(body.sha256) if not touch(store.path(digest))]
    return json_answer(MissingView(missing=lacking))


@blobs.put(
    "/blobs/<string(length=64):sha256>",
    openapi_extensions={"requestBody": BODY},
    responses={"200": BlobView, "201": BlobView, **answers(404, 413, 507)},
)
@scope("run")
def send(path: BlobPath) -> Response:
    """Send a blob. 201 when it is new, 200 when the gateway has it already; its content is not looked at then."""
    size, is_new = keep(gateway(), path.sha256)
    return json_answer(BlobView(sha256=path.sha256, size=size), 201 if is_new else 200)


@blobs.get(
    "/blobs/<string(length=64):sha256>",
    responses={
        "200": {
            "description": "The content; ranges are served.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        **answers(404, 416),
    },
)
@scope("read")
def fetch(path: BlobPath) -> Response:
    """A blob's content, e.g. of an output that was too large for its event."""
    file = gateway().blobs.path(path.sha256)
    if not file.is_file():
        raise NotFoundError(f"There is no blob {path.sha256}.")
    response = send_file(
        file,
        mimetype="application/octet-stream",
        as_attachment=True,
        download_name=path.sha256,
        conditional=True,
        etag=path.sha256,
        max_age=0,
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


def keep(service: Gateway, digest: str) -> tuple[int, bool]:
    """Keep what the request sends as the blob of a digest; its bytes, and whether it is new.

    The content of one that is there already is not looked at. Raises as `_receive` does.
    """
    target = service.blobs.path(digest)
    request.max_content_length = service.settings.max_blob_mb << 20
    if touch(target):
        _drain(request.stream)
        return target.stat().st_size, False
    return _receive(request.stream, target, digest), True


def _drain(stream: IO[bytes]) -> None:
    """Read an upload that is not needed: a client still sending it would find a broken connection, not the answer."""
    while _next(stream):
        pass


def _receive(stream: IO[bytes], target: Path, digest: str) -> int:
    """Write an upload to its place in the blob store; returns its bytes.

    The file appears there whole or not at all, also when several send it at once. Raises `UsageError` when the
    content has another digest, `StorageError` when it can't be written, and what `stream` raises.
    """
    summed = hashlib.sha256()
    size = 0
    part = None
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
            part = file.name
            while chunk := _next(stream):
                summed.update(chunk)
                size += len(chunk)
                file.write(chunk)
        if summed.hexdigest() != digest:
            raise UsageError(
                f"The content has the digest {summed.hexdigest()}, not {digest}. "
                "It may have changed while it was sent; send it again.",
                field="sha256",
            )
        os.chmod(part, 0o644)
        os.replace(part, target)
        part = None
    except OSError as error:
        raise StorageError(f"The blob can't be written: {error.strerror or error}.") from error
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                os.unlink(part)
    return size


def _next(stream: IO[bytes]) -> bytes:
    try:
        return stream.read(CHUNK)
    except OSError as error:  # the connection broke; without this it would look like a full disk
        raise ClientDisconnected() from error
