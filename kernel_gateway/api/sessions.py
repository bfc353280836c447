"""Who is logged in to the pages: a signed cookie with the secret of a login, never the token that it was made with.

The cookie is Flask's session, signed with a key in the data folder that all web workers share. Each request looks the
login and its token up anew, so that logging out, and a token that is revoked or expires, end all copies of the cookie
at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, Request, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer

from ..errors import ForbiddenError, StorageError
from ..store.tokens import TokenRecord
from .service import KEY, gateway

LIFE = timedelta(hours=24)
"""How long one login lasts."""

KEY_BYTES = 32

FORM_FIELD = "csrf"
"""Hidden field of the pages' forms that proves that a page of this session made the request."""

_LOGIN = "login"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Sessions(SecureCookieSessionInterface):
    """Flask's signed cookies, with a key that is made at the first login."""

    salt = "kernel-gateway-session"
    digest_method = staticmethod(hashlib.sha256)

    def get_cookie_name(self, app: Flask) -> str:
        """Browsers keep cookies by host, whatever the port: each gateway of a machine has a name of its own."""
        root = str(app.extensions[KEY].data.root)
        return f"kernel_gateway_{hashlib.sha256(root.encode()).hexdigest()[:8]}"

    def get_cookie_secure(self, app: Flask) -> bool:
        """Over TLS, also where a proxy on this machine ends it, the cookie never goes out in clear."""
        return request.is_secure

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """The signer. Raises `StorageError` when its key can't be kept."""
        if not app.secret_key:
            app.secret_key = signing_key(app.extensions[KEY].data.root / "session.key")
        return super().get_signing_serializer(app)

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The request's session. Programs bring no cookie and cost nothing here."""
        if not request.cookies.get(self.get_cookie_name(app)):
            return self.session_class()
        return super().open_session(app, request)


def install(app: Flask) -> None:
    """Have an application keep sessions."""
    app.session_interface = Sessions()
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_PATH="/",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=LIFE,
    )


def signing_key(path: Path) -> bytes:
    """The key in a file, which is made if there is none; whoever comes first makes it. Raises `StorageError`,
    also for a file with less than a key in it, as a power cut may leave it.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            if len(key := path.read_bytes()) >= KEY_BYTES:
                return key
        part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
            # A link fails where there is a file: of two workers that make a key at once, one key stays.
            with contextlib.suppress(FileExistsError):
                os.link(part, path)
        finally:
            part.unlink()
        if len(key := path.read_bytes()) >= KEY_BYTES:
            return key
    except OSError as error:
        raise StorageError(f"The key of the login cookies can't be kept: {error.strerror}.") from error
    raise StorageError(f"The key of the login cookies is damaged. Remove {path.name} from the data folder.")


def begin(token: TokenRecord) -> None:
    """Log in with a token."""
    end()
    session.permanent = True
    session[_LOGIN] = gateway().logins.begin(token.id, LIFE)
    session[FORM_FIELD] = secrets.token_urlsafe(16)


def end() -> None:
    """Log out: the cookie counts no more, whoever has a copy, and the browser is told to forget it."""
    plain = session.get(_LOGIN)
    if isinstance(plain, str):
        gateway().logins.end(plain)
    session.clear()


def token() -> TokenRecord | None:
    """The token that the request's cookie was made with, if it still counts."""
    plain = session.get(_LOGIN)
    id = gateway().logins.token(plain) if isinstance(plain, str) else None
    return gateway().tokens.by_id(id) if id is not None else None


def form_token() -> str:
    """What the forms of this session carry in `FORM_FIELD`; empty without a session."""
    return str(session.get(FORM_FIELD, ""))


def site_of(url: str) -> str | None:
    """Host and port of a URL that a header brings; None for what is no URL."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return None


def check_origin() -> None:
    """Refuse a form that another site made. Raises `ForbiddenError`.

    Browsers say where a request comes from: by ``Sec-Fetch-Site`` over TLS and on loopback, else by ``Origin``.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    by_origin = origin is None or site_of(origin) == request.host
    same = by_origin if site is None else site in ("same-origin", "none")
    if not same:
        raise ForbiddenError(
            "The form was sent by a page of another site. Open the gateway's own page, and try it there."
        )


def check_form() -> None:
    """Refuse a form that no page of this session made. Raises `ForbiddenError`."""
    check_origin()
    given, expected = request.form.get(FORM_FIELD, ""), form_token()
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise ForbiddenError("The form is of an earlier login. Go back, load the page anew, and try again.")
