"""``/runners/{id}``: what a runner on another machine needs of the gateway. Takes the run's own pass, no token.

Nothing of it is for people, so it is not in the OpenAPI description; docs/fleet.md tells what an agent must know.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from flask import Response, g, request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import Field

from .. import __version__
from ..agents.workspace import safe_path
from ..errors import AuthError, ConflictError, NotFoundError, StorageError, UsageError
from ..events import Event, EventType
from ..settings import RUN_SETTINGS, is_loopback
from ..store import incoming
from .auth import RUNNER, scope
from .blobs import keep
from .schemas import PREFIX, BlobPath, RunPath
from .service import EVENTS, REQUEST, Gateway, gateway
from .submit import touch

LONGEST_PIECE = 32 << 20
"""Bytes of events in one request."""

runners = APIBlueprint("runners", __name__, url_prefix=PREFIX, doc_ui=False)


class RunBlobPath(RunPath, BlobPath):
    """A blob, as the runner of a run asks for it."""


class PiecePath(RunPath):
    """A piece of a run's event log."""

    offset: int = Field(ge=0, description="Bytes of the log before it.")


@runners.get("/runners/<id>")
@scope(RUNNER)
def begin(path: RunPath) -> Response:
    """What the runner is to do: request, log so far, secrets, limits. From here on the run counts as begun.

    Secrets are told until the first event comes back, for the answer may be lost on its way.
    """
    service = gateway()
    folder = service.folder(path.id)
    log = (folder / EVENTS).read_bytes()
    wanted: dict[str, Any] = orjson.loads((folder / REQUEST).read_bytes())
    secrets = _secrets(service, path.id, log)
    incoming.begin(folder, g.runner)
    service.wake()
    packet = {
        "version": __version__,
        "request": wanted,
        "log": log.decode(),
        "secrets": secrets,
        "settings": {name: getattr(service.settings, name) for name in RUN_SETTINGS} | {"mlflow": _mlflow(service)},
    }
    return Response(orjson.dumps(packet), content_type="application/json", headers={"Cache-Control": "no-store"})


def _mlflow(service: Gateway) -> str:
    """The tracking URI if it means the same on another machine: a server that is not on this one's loopback only."""
    uri = urlsplit(service.settings.mlflow)
    here = is_loopback(uri.hostname or "") and not is_loopback(urlsplit(service.settings.node_url).hostname or "")
    return service.settings.mlflow if uri.scheme in ("http", "https") and not here else ""


def _secrets(service: Gateway, id: str, log: bytes) -> Mapping[str, str]:
    first, *more = log.splitlines()
    names = orjson.loads(first)["provenance"].get("secrets")
    if not names:
        return {}
    if more:
        raise ConflictError("The run has begun; its secrets are not told again.")
    secrets = service.vault.get(id)
    if secrets is None:
        raise ConflictError("The run's secrets were lost when the service restarted. Submit it again.")
    return secrets


@runners.get("/runners/<id>/blobs/<string(length=64):sha256>")
@scope(RUNNER)
def fetch(path: RunBlobPath) -> Response:
    """A file of the run's workspace, its environment file or its source; no other blob."""
    service = gateway()
    wanted: dict[str, Any] = orjson.loads((service.folder(path.id) / REQUEST).read_bytes())
    files = [*(wanted.get("workspace") or ()), wanted.get("env") or {}, wanted["source"]]
    file = service.blobs.path(path.sha256)
    if path.sha256 not in {entry.get("sha256") for entry in files} or not touch(file):
        raise NotFoundError(f"The run has no file {path.sha256}, or the gateway has it no more.")
    from flask import send_file

    return send_file(file, mimetype="application/octet-stream", etag=path.sha256, max_age=0)


@runners.put("/runners/<id>/blobs/<string(length=64):sha256>")
@scope(RUNNER)
def send(path: RunBlobPath) -> Response:
    """Keep an output or artifact of the run, before the event that names it."""
    return _size(keep(gateway(), path.sha256)[0])


@runners.post("/runners/<id>/events/<int:offset>")
@scope(RUNNER)
def append(path: PiecePath) -> Response:
    """Take the next piece of the run's event log; answers the log's size, from which the runner goes on.

    A piece that does not begin there is not taken, and is no error: an empty one asks for the size.
    """
    service = gateway()
    request.max_content_length = LONGEST_PIECE
    folder = service.folder(path.id)
    piece = request.get_data()
    size, events = incoming.take(folder, g.runner, path.offset, piece, lambda event: _accept(service, folder, event))
    types = {event["type"] for event in events}
    if types & {EventType.RUN_STARTED, EventType.CELL_STARTED, EventType.RUN_FINISHED}:
        service.wake()
    return _size(size)


def _accept(service: Gateway, folder: Path, event: Event) -> None:
    """See that the content is here that an event names, and put artifacts in their place. Raises `UsageError`."""
    try:
        for blob in (event.get("blobs") or {}).values():
            _have(service, blob["sha256"])
        if event["type"] == EventType.ARTIFACT:
            content = _have(service, event["sha256"])
            _place(content, folder / "artifacts" / safe_path(event["path"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(f"The event {event['seq']} names its content wrongly.", field="events") from None


def _have(service: Gateway, digest: str) -> Path:
    path = service.blobs.path(digest)
    if not touch(path):
        raise UsageError(f"The content {digest} must be sent before the event that names it.", field="events")
    return path


def _place(content: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
        try:
            os.link(content, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(content, target)
    except OSError as error:
        raise StorageError(f"The artifact can't be kept: {error.strerror}.") from error


def _size(size: int) -> Response:
    return Response(orjson.dumps({"size": size}), content_type="application/json")


def check(plain: str) -> None:
    """Let a runner in that has the pass of the run which its request is about. Raises `AuthError`."""
    assert request.view_args is not None
    folder = gateway().data.run(request.view_args["id"])
    if not incoming.check(folder, plain):
        raise AuthError("The run's pass counts no more: the run has ended, or was given to another runner.")
    g.runner = plain
