"""One log line for each request, as fields for `agents.logs.JsonFormatter`. Never a token, body or query string."""

from __future__ import annotations

import logging
import time

from flask import Flask, Response, g, request

log = logging.getLogger("kernel_gateway.http")

QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that machines ask for all the time; like the fragments of open pages they are logged at debug level while all
is well.
"""


def install(app: Flask) -> None:
    """Have an application log its requests."""
    app.before_request(_begin)
    app.after_request(_write)


def _begin() -> None:
    g.begun = time.perf_counter()


def _write(response: Response) -> Response:
    token = g.get("token")
    polled = request.path.removeprefix("/api/v1") in QUIET or request.path.endswith("/fragment")
    quiet = polled and response.status_code < 400
    log.log(
        logging.DEBUG if quiet else logging.INFO,
        "%s %s",
        request.method,
        request.path,
        extra={
            "fields": {
                "method": request.method,
                "path": request.path,
                "status": response.status_code,
                "ms": round((time.perf_counter() - g.begun) * 1000, 1),
                "token": token.name if token is not None else None,
            }
        },
    )
    return response
