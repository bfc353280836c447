"""The pages' own files: one style sheet, one script, one icon. Anybody may have them: the login needs them too."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources

from flask import Response

from ...errors import NotFoundError
from ..auth import PUBLIC, scope
from .blueprint import pages

TYPES = {
    "web.css": "text/css; charset=utf-8",
    "web.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

YEAR = 365 * 24 * 3600


@functools.cache
def content(name: str) -> bytes:
    """A file's content. Raises KeyError for a name that is not in `TYPES`."""
    if name not in TYPES:
        raise KeyError(name)
    return resources.files(__package__).joinpath("static", name).read_bytes()


@pages.app_template_global("asset")
def address(name: str) -> str:
    """Where a file is found; the address changes with its content, so that browsers may keep it."""
    return f"/static/{name}?v={hashlib.sha256(content(name)).hexdigest()[:12]}"


@pages.get("/static/<name>")
@scope(PUBLIC)
def static(name: str) -> Response:
    """One of the files."""
    try:
        response = Response(content(name), content_type=TYPES[name])
    except KeyError:
        raise NotFoundError(f"There is no file {name!r}.") from None
    response.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable"
    return response
