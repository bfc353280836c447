"""Who may call what: bearer tokens with the scopes ``read``, ``run`` and ``admin``; each includes those before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, current_app, g, request

from ..errors import AuthError, ForbiddenError
from .service import gateway

PUBLIC = "public"
"""Instead of a scope: anybody may call it."""

View = TypeVar("View", bound=Callable[..., Any])


def scope(name: str) -> Callable[[View], View]:
    """Mark a view with the scope that a token needs for it, or `PUBLIC`. Stands below the route's decorator."""

    def mark(view: View) -> View:
        view.__dict__["scope"] = name
        return view

    return mark


def install(app: Flask) -> None:
    """Have an application check every request; a view without a scope is refused to everybody."""
    app.before_request(check)


def check() -> None:
    """Let the request's token in, as ``g.token``. Raises `AuthError`, `ForbiddenError`."""
    if request.routing_exception is not None or request.endpoint is None:
        return  # there is nothing to protect: the answer is 404 or 405
    needed = getattr(current_app.view_functions[request.endpoint], "scope", None)
    if needed == PUBLIC:
        return
    kind, _, plain = request.headers.get("Authorization", "").strip().partition(" ")
    if kind.lower() != "bearer" or not plain.strip():
        raise AuthError(
            "The request carries no token. Send `Authorization: Bearer TOKEN`; "
            "the service prints its first one, `kernel-gateway token create` makes more."
        )
    token = gateway().tokens.check(plain.strip())
    if token is None:
        raise AuthError("The token is unknown, revoked or expired. Ask the gateway's owner for another.")
    g.token = token
    if needed is None or not token.allows(needed):
        raise ForbiddenError(
            f"The token {token.name!r} lacks the scope {needed!r} that this call takes. Use a token that has it."
        )
