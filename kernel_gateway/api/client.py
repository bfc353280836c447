"""``/client/``: wheels of the command and, if its owner likes, of all that it needs, for agents that have only Python.

The page lists them as PEP 503 has it, so that any pip reads it by ``--find-links``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import html
import io
import re
from pathlib import Path

from flask import Response, send_file
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, Field

from ..errors import NotFoundError
from .auth import PUBLIC, scope
from .problems import answers
from .service import gateway
from .wheel import own_wheel

WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+!]*(?:-[A-Za-z0-9_.+!]+){4,5}\.whl")
"""File names of wheels; nothing else in the folder is served."""

client = APIBlueprint("client", __name__, abp_tags=[Tag(name="client", description="The command line, as a wheel.")])


class WheelPath(BaseModel):
    """A wheel's file name in the path."""

    name: str = Field(description="File name of a wheel, as the page lists it.")


@client.get(
    "/client/",
    responses={"200": {"description": "Links to wheels.", "content": {"text/html": {"schema": {"type": "string"}}}}},
)
@scope(PUBLIC)
def list_wheels() -> Response:
    """The command's wheel, of the gateway's own version, and those in the data folder: a page as PEP 503 has it."""
    own = own_wheel()
    links = [_link(own.name, own.sha256, own.requires_python)]
    for name, path in _wheels().items():
        with contextlib.suppress(OSError):  # it has gone meanwhile
            stat = path.stat()
            if name != own.name:
                links.append(_link(name, _sha256(path, stat.st_size, stat.st_mtime_ns)))
    page = (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><meta name="pypi:repository-version" content="1.0">'
        "<title>Client of the kernel gateway</title></head><body>\n" + "\n".join(links) + "\n</body></html>\n"
    )
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


@client.get(
    "/client/<string:name>",
    responses={
        "200": {
            "description": "The wheel; ranges are served.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        **answers(404, 416),
    },
)
@scope(PUBLIC)
def fetch_wheel(path: WheelPath) -> Response:
    """One of the wheels that the page lists."""
    own = own_wheel()
    if path.name == own.name:
        source: io.BytesIO | Path = io.BytesIO(own.content)
        etag: str | bool = own.sha256
    else:
        found = _wheels().get(path.name)
        if found is None:
            raise NotFoundError(f"There is no wheel {path.name}. GET /client/ lists those that there are.")
        source, etag = found, True
    response = send_file(
        source,
        mimetype="application/octet-stream",
        as_attachment=True,
        download_name=path.name,
        conditional=True,
        etag=etag,
        max_age=0,
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _link(name: str, sha256: str, requires_python: str = "") -> str:
    requires = f' data-requires-python="{html.escape(requires_python)}"' if requires_python else ""
    return f'<a href="{html.escape(name)}#sha256={sha256}"{requires}>{html.escape(name)}</a><br>'


def _wheels() -> dict[str, Path]:
    """Wheels that the gateway's owner put into the data folder, for agents that reach no package index."""
    folder = gateway().data.wheels
    try:
        return {path.name: path for path in sorted(folder.iterdir()) if WHEEL.fullmatch(path.name) and path.is_file()}
    except OSError:
        return {}


@functools.lru_cache(maxsize=4096)
def _sha256(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file; `size` and `changed` (nanoseconds) tell one content from the next."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
