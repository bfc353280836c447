"""Who is logged in to the pages: secrets that browsers keep, of which the database knows the digests only."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete, insert, select

from .database import reading, writing
from .models import logins


class LoginStore:
    """The table of logins. An instance may be used from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, token: str, life: timedelta) -> str:
        """Log in with the token of that id; returns the login's secret, 256 random bits. Those that are over go."""
        now = datetime.now(UTC)
        plain = secrets.token_urlsafe(32)
        with writing(self._engine) as connection:
            connection.execute(delete(logins).where(logins.c.expires <= now))
            values = {"digest": _digest(plain), "token": token, "expires": now + life}
            connection.execute(insert(logins).values(values))
        return plain

    def token(self, plain: str) -> str | None:
        """The id of the token that a login was made with; None if it is over. Called for each request of a browser."""
        mine = logins.c.digest == _digest(plain)
        with reading(self._engine) as connection:
            query = select(logins.c.token).where(mine, logins.c.expires > datetime.now(UTC))
            found: str | None = connection.execute(query).scalar()
        return found

    def end(self, plain: str) -> None:
        """Log out: whoever has a copy of the secret is logged out too."""
        with writing(self._engine) as connection:
            connection.execute(delete(logins).where(logins.c.digest == _digest(plain)))


def _digest(plain: str) -> str:
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()
