"""Errors as problem documents (RFC 9457): every answer of 400 and above is one, whatever went wrong."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from ..errors import GatewayError, TooManyError, UnreachableError, UsageError

MEDIA_TYPE = "application/problem+json"

RETRY_SECONDS = 2
"""What ``Retry-After`` tells clients of a gateway that can't answer now."""

SHOWN = 3
"""Errors of one request that its ``detail`` spells out; ``errors`` lists all."""

log = logging.getLogger("kernel_gateway.api")


class FieldError(BaseModel):
    """One thing that is wrong with a request."""

    field: str | None = Field(description="Field at fault, with dots into objects; null if it is the whole request.")
    message: str = Field(description="What is wrong with it, and what to do.")


class Problem(BaseModel):
    """A problem document as RFC 9457 defines it, with the fields at fault."""

    type: str = Field(description="`about:blank`, or a URN of this gateway's that names the kind of error.")
    title: str = Field(description="The kind of error, in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What went wrong this time, and what to do.")
    field: str | None = Field(default=None, description="The first field at fault.")
    errors: list[FieldError] = Field(default=[], description="Everything that is wrong with the request.")
    run: str | None = Field(default=None, description="With 409: the run that has the idempotency key already.")


class InvalidRequestError(UsageError):
    """Several things are wrong with a request; ``problems`` are all of them."""

    def __init__(self, problems: Sequence[UsageError]) -> None:
        texts = [str(problem) for problem in problems]
        more = f" And {len(texts) - SHOWN} more." if len(texts) > SHOWN else ""
        super().__init__(" ".join(texts[:SHOWN]) + more, field=problems[0].field)
        self.problems = problems


def problem_response(
    status: int,
    detail: str,
    *,
    kind: str = "about:blank",
    title: str = "",
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    run: str | None = None,
) -> Response:
    """A problem document as an answer. A `title` is that of the status unless given."""
    problem = Problem(
        type=kind,
        title=title or HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        field=next((error.field for error in errors if error.field), None),
        errors=list(errors),
        run=run,
    )
    fields = problem.model_dump(exclude=None if run else {"run"})
    response = Response(orjson.dumps(fields), status=status, content_type=MEDIA_TYPE)
    response.headers.extend(dict(headers or {}))
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        response.headers.setdefault("Retry-After", str(RETRY_SECONDS))
    return response


def validation_problem(error: ValidationError) -> Response:
    """The answer to a request that does not fit its schema. flask-openapi3 calls it."""
    errors = [
        FieldError(field=_dotted(found["loc"]), message=_sentence(found["msg"]))
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    texts = [f"{found.field or 'the request'}: {found.message}" for found in errors]
    more = f" And {len(texts) - SHOWN} more." if len(texts) > SHOWN else ""
    return problem_response(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        " ".join(texts[:SHOWN]) + more,
        kind="urn:kernel-gateway:problem:invalid-request",
        title="The request does not fit the API",
        errors=errors,
    )


def _dotted(location: Sequence[str | int]) -> str | None:
    return ".".join(str(part) for part in location) or None


def _sentence(text: str) -> str:
    text = text.removeprefix("Value error, ")
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def install(app: Flask) -> None:
    """Have an application answer with problem documents."""
    app.register_error_handler(GatewayError, _gateway_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(ClientDisconnected, _disconnected)
    for kind in (OperationalError, InterfaceError, PoolTimeout):
        app.register_error_handler(kind, _database_error)
    app.register_error_handler(Exception, _defect)


def _gateway_error(error: GatewayError) -> ResponseReturnValue:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__.removesuffix("Error")).lower()
    errors = []
    for problem in getattr(error, "problems", [error]):
        if isinstance(problem, UsageError):
            errors.append(FieldError(field=problem.field, message=str(problem)))
    headers = {}
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="kernel-gateway"'
    if isinstance(error, TooManyError | UnreachableError):
        headers["Retry-After"] = str(RETRY_SECONDS)
    if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("%s %s: %s", request.method, request.path, error)
    kind, run = f"urn:kernel-gateway:problem:{name}", getattr(error, "run", None)
    return problem_response(error.http_status, str(error), kind=kind, errors=errors, headers=headers, run=run)


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if error.response is not None:
        return error.response  # made elsewhere, e.g. by `validation_problem`
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if status < HTTPStatus.BAD_REQUEST:
        return error  # a redirect
    headers = {
        name: value for name, value in error.get_headers() if name.lower() not in ("content-type", "content-length")
    }
    detail = error.description or HTTPStatus(status).description
    if isinstance(error, RequestEntityTooLarge):
        detail = (
            f"The body is larger than the {(request.max_content_length or 0) >> 20} MiB that this gateway takes here. "
            "Its owner can raise that: settings max_body_mb and, for files, max_blob_mb."
        )
    return problem_response(status, detail, headers=headers)


def _disconnected(error: ClientDisconnected) -> ResponseReturnValue:
    return problem_response(HTTPStatus.BAD_REQUEST, "The connection ended before the whole request had come.")


def _database_error(error: Exception) -> ResponseReturnValue:
    # Its text may hold the statement's values: only the driver's own words go to our log.
    log.error("the database does not answer: %s", getattr(error, "orig", None) or type(error).__name__)
    return problem_response(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The gateway's database does not answer. Nothing is lost; try again in a moment.",
        kind="urn:kernel-gateway:problem:database",
    )


def _defect(error: Exception) -> ResponseReturnValue:
    log.error("defect in %s %s", request.method, request.path, exc_info=error)
    return problem_response(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The gateway met a defect of its own; its log says more.",
        kind="urn:kernel-gateway:problem:defect",
    )


def answers(*statuses: int) -> dict[str | int | HTTPStatus, type[BaseModel] | dict[Any, Any] | None]:
    """The problem documents that an operation may answer with, for its OpenAPI description."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        str(status): {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({400, 401, 403, 422, 503, *statuses})
    }
