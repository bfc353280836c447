"""Who may call what: bearer tokens with the scopes ``read``, ``run`` and ``admin``; each includes those before it.

People who are logged in to the pages may read with their cookie alone. What changes something takes the token itself,
or a form of the pages: a browser sends cookies along whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, current_app, g, request

from ..errors import AuthError, ForbiddenError
from ..store.tokens import TokenRecord
from . import sessions
from .service import gateway

PUBLIC = "public"
"""Instead of a scope: anybody may call it."""

RUNNER = "runner"
"""Instead of a scope: the runner of the run that the call is about, by the run's pass."""

View = TypeVar("View", bound=Callable[..., Any])


def scope(name: str) -> Callable[[View], View]:
    """Mark a view with the scope that a token needs for it, or `PUBLIC`. Stands below the route's decorator."""

    def mark(view: View) -> View:
        view.__dict__["scope"] = name
        return view

    return mark


def form(view: View) -> View:
    """Mark a view as the target of the pages' forms, which a login may send. Stands where `scope` does."""
    view.__dict__["form"] = True
    return view


def install(app: Flask) -> None:
    """Have an application check every request; a view without a scope is refused to everybody."""
    sessions.install(app)
    app.before_request(check)


def check() -> None:
    """Let the request's token in, as ``g.token``. Raises `AuthError`, `ForbiddenError`."""
    if request.routing_exception is not None or request.endpoint is None:
        return  # there is nothing to protect: the answer is 404 or 405
    view = current_app.view_functions[request.endpoint]
    needed = getattr(view, "scope", None)
    if needed == PUBLIC:
        return
    if needed == RUNNER:
        from .runners import check as check_pass

        check_pass(_bearer())
        return
    if "Authorization" in request.headers:
        token = _of_header()
    elif request.method in sessions.SAFE_METHODS or getattr(view, "form", False):
        token = _of_cookie()
    else:
        raise AuthError(_NO_TOKEN)
    g.token = token
    if needed is None or not token.allows(needed):
        raise ForbiddenError(
            f"The token {token.name!r} lacks the scope {needed!r} that this call takes. Use a token that has it."
        )


_NO_TOKEN = (
    "The request carries no token. Send `Authorization: Bearer TOKEN`; "
    "the service prints its first one, `kernel-gateway token create` makes more."
)


def _bearer() -> str:
    kind, _, plain = request.headers.get("Authorization", "").strip().partition(" ")
    if kind.lower() != "bearer" or not plain.strip():
        raise AuthError(_NO_TOKEN)
    return plain.strip()


def _of_header() -> TokenRecord:
    token = gateway().tokens.check(_bearer())
    if token is None:
        raise AuthError("The token is unknown, revoked or expired. Ask the gateway's owner for another.")
    return token


def _of_cookie() -> TokenRecord:
    token = sessions.token()
    if token is None:
        raise AuthError(_NO_TOKEN)
    if request.method not in sessions.SAFE_METHODS:
        sessions.check_form()
    return token
