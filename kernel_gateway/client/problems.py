"""What a gateway's refusal, or its silence, is told as: a sentence, and the error that fits it."""

from __future__ import annotations

import json
from typing import Any

from .. import errors
from ..errors import (
    AuthError,
    ConflictError,
    ForbiddenError,
    GatewayError,
    NotFoundError,
    TooLargeError,
    TooManyError,
    UnreachableError,
    UsageError,
)
from .response import NoAnswerError

NOT_NOW = frozenset({429, 502, 503, 504})
"""Answers after which the same request may well succeed."""

OUR_PROBLEMS = "urn:kernel-gateway:problem:"
"""What the ``type`` of a gateway's own problem documents begins with."""

_ERRORS: dict[int, type[GatewayError]] = {
    404: NotFoundError,
    413: TooLargeError,
    429: TooManyError,
}

_TOKEN_HELP = (
    "Set the environment variable KERNEL_GATEWAY_TOKEN (in Jenkins: a secret text credential and withCredentials); "
    "`kernel-gateway token create` on the gateway's machine makes one."
)
_LONGEST = 2000


def problem(url: str, status: int, content: bytes, has_token: bool) -> GatewayError:
    """The error for an answer of 400 and above. ``content``: a problem document (RFC 9457), or whatever came."""
    document = _document(content)
    said = _sentence(document)
    if status == 401:
        what = "does not accept the token it was given (wrong, revoked or expired)" if has_token else "wants a token"
        return AuthError(f"The gateway at {url} {what}. {_TOKEN_HELP}")
    if status == 403:
        return ForbiddenError(
            f"The gateway at {url} does not allow this with the given token: {said or 'its scope is too small.'} "
            + _TOKEN_HELP
        )
    if document is None and status not in NOT_NOW:
        return UnreachableError(
            f"What answers at {url} is no kernel gateway, or another version of it (HTTP {status}). "
            "Check the URL (--gateway or KERNEL_GATEWAY_URL)."
        )
    if status in (400, 422):
        field = document.get("field") if document else None
        return _usage_error(document or {})(said or f"HTTP {status}", field=field if isinstance(field, str) else None)
    if status == 409:
        run = document.get("run") if document else None
        return ConflictError(
            said or f"The gateway at {url} refused: HTTP {status}.", run=run if isinstance(run, str) else None
        )
    if status in _ERRORS:
        return _ERRORS[status](said or f"The gateway at {url} refused: HTTP {status}.")
    if status in NOT_NOW:
        return UnreachableError(f"The gateway at {url} is not ready: {said or f'HTTP {status}.'}")
    return UnreachableError(f"The gateway at {url} failed: {said or f'HTTP {status}.'} Its log tells more.")


def _usage_error(document: dict[str, Any]) -> type[UsageError]:
    """The class that the document's ``type`` names, so that callers can tell a bad source from a bad parameter."""
    kind = str(document.get("type", "")).rpartition(":")[2]
    name = "".join(word.capitalize() for word in kind.split("-")) + "Error"
    found = getattr(errors, name, None)
    return found if isinstance(found, type) and issubclass(found, UsageError) else UsageError


def _document(content: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _sentence(document: dict[str, Any] | None) -> str:
    """A problem document's detail; with the field that it concerns unless our own gateway wrote a whole sentence."""
    if document is None:
        return ""
    text = str(document.get("detail") or document.get("title") or "").strip()
    field = document.get("field")
    is_sentence = str(document.get("type", "")).startswith(OUR_PROBLEMS)
    if isinstance(field, str) and field and not is_sentence and field not in text:
        text = f"{field}: {text}"
    return text[:_LONGEST]


def no_answer(url: str, error: NoAnswerError) -> UnreachableError:
    """The error for a request that got no answer, with its cause in plain words and what to check."""
    return UnreachableError(f"No gateway answers at {url}: {error.cause}. {error.check}")
