"""The HTTP API: Flask, one blueprint a resource. `create_app` makes the application; `wsgi` is what gunicorn loads.

A new resource is a file with an `APIBlueprint`, its models in `schemas`, and its name in `_blueprints`. Each view
carries the `auth.scope` that it takes; without one it is refused to everybody.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import orjson
from flask import Response, current_app, request
from flask.json.provider import DefaultJSONProvider
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from werkzeug.exceptions import BadRequest
from werkzeug.routing import PathConverter

from .. import __version__
from ..errors import UsageError
from ..settings import Settings
from . import auth, problems, requestlog
from .schemas import DEPTH_LIMIT, PREFIX, too_deep
from .service import KEY, Gateway

__all__ = ["create_app"]


def create_app(settings: Settings) -> OpenAPI:
    """The gateway's application. Its database must have been migrated; nothing is started here.

    Each web worker calls it once, after the fork: connections to the database must not be shared.
    """
    app = OpenAPI(
        "kernel_gateway",
        info=Info(title="Kernel gateway", version=__version__, description="Runs notebooks and snippets as CI jobs."),
        security_schemes={"token": {"type": "http", "scheme": "bearer"}},
        validation_error_model=problems.Problem,
        validation_error_callback=problems.validation_problem,
        doc_ui=False,
        static_folder=None,
    )
    app.json = _Json(app)
    app.url_map.converters["file"] = _FileConverter
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_mb << 20
    app.extensions[KEY] = Gateway(settings)
    requestlog.install(app)
    auth.install(app)
    problems.install(app)
    app.before_request(_check_body)
    app.after_request(_close_unsent)
    for blueprint in _blueprints():
        app.register_api(blueprint)
    from .health import health

    app.register_blueprint(health, name="health_below_prefix", url_prefix=PREFIX)
    from .pages import pages

    app.register_blueprint(pages)
    app.add_url_rule("/api/openapi.json", view_func=openapi, provide_automatic_options=False)
    return app


def _blueprints() -> Iterator[APIBlueprint]:
    from .agents import agents
    from .blobs import blobs
    from .client import client
    from .events import stream
    from .health import health
    from .kernelspecs import kernelspecs
    from .results import results
    from .runners import runners
    from .runs import runs

    yield from (runs, stream, results, blobs, kernelspecs, agents, client, runners, health)


@auth.scope(auth.PUBLIC)
def openapi() -> Response:
    """The description of this API, made of the views and their models."""
    app = current_app
    assert isinstance(app, OpenAPI)
    return Response(orjson.dumps(app.api_doc), content_type="application/json")


def _check_body() -> None:
    """Read the JSON body of a view that takes one. Raises what makes it 400, 413, 415 or 422."""
    if request.routing_exception is not None or request.endpoint is None:
        return
    if "body" not in current_app.view_functions[request.endpoint].__annotations__:
        return
    content = request.get_json()
    if not isinstance(content, dict):
        raise UsageError("The body must be a JSON object.")
    if too_deep(content):
        raise UsageError(f"The body is nested more than {DEPTH_LIMIT} levels deep.")


def _close_unsent(response: Response) -> Response:
    """Close the file or stream behind an answer that is sent without its body; Werkzeug leaves that to chance."""
    if request.method == "HEAD" or response.status_code == HTTPStatus.NOT_MODIFIED:
        response.close()
    return response


class _FileConverter(PathConverter):
    """A file's name in a URL: any but an absolute one. Werkzeug's own converter takes no line feeds."""

    regex = r"[^/][\s\S]*?"


class _Json(DefaultJSONProvider):
    """JSON as the event log takes it: no NaN, no lone surrogates; several times faster than the standard library.

    Parameters alone may be any number of Python's, as they are without a gateway.
    """

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse. Raises ValueError, which Flask answers with 400."""
        content = s.encode() if isinstance(s, str) else s
        if _UNUSUAL.search(content):
            with contextlib.suppress(ValueError, RecursionError, TypeError, KeyError):
                return _with_exact_parameters(content)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"The body is no JSON: {error}.") from None


_UNUSUAL = re.compile(rb"\bNaN\b|\bInfinity\b|[0-9]{19}")
"""What may be a number that is no JSON, or that orjson would round."""


def _with_exact_parameters(content: bytes) -> dict[str, Any]:
    """A body by Python's own JSON as far as its parameters go. Raises one of many errors for what is none."""
    body: dict[str, Any] = json.loads(content)
    parameters = body.pop("parameters")
    json.dumps(parameters, ensure_ascii=False).encode()  # refuses lone surrogates
    rest: dict[str, Any] = orjson.loads(json.dumps(body, allow_nan=False))
    return {**rest, "parameters": parameters}
