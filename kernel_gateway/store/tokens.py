"""Who may use the service: tokens, of which the database knows the digests only."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, insert, or_, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from ..errors import ConflictError, UsageError
from .database import reading, writing
from .models import tokens
from .records import storable

PREFIX = "kg_"
"""What every token begins with, so that scanners for leaked secrets can find one."""

LAST_USED_STEP = timedelta(minutes=1)
"""How exactly the last use of a token is known: each note of it is a write."""

_LONGEST_NAME = 200
_LONGEST_TOKEN = 200


class Scope(StrEnum):
    """What a token allows. Each includes those before it."""

    READ = "read"
    RUN = "run"
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class TokenRecord:
    """A token without its secret. Times are UTC; ``last_used`` is exact to a minute."""

    id: str
    name: str
    scopes: frozenset[Scope]
    created: datetime
    expires: datetime | None
    last_used: datetime | None
    revoked: datetime | None

    def allows(self, scope: str) -> bool:
        """Whether the token may do what needs `scope`. Raises ValueError for a scope that there is not."""
        order = [*Scope]
        return any(order.index(Scope(scope)) <= order.index(mine) for mine in self.scopes)

    def is_valid(self, at: datetime) -> bool:
        """Whether it counts at that time: not revoked, not expired."""
        return self.revoked is None and (self.expires is None or at < self.expires)


TokenRecords = list[TokenRecord]


class TokenStore:
    """The table of tokens. An instance may be used from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, name: str, scopes: Iterable[str], expires: datetime | None = None) -> tuple[str, TokenRecord]:
        """Make a token of 256 random bits; returns it, which is never to be had again, and its record.

        Raises `UsageError` for a name, a scope or a time that can't be, `ConflictError` for a name that is taken.
        """
        now = datetime.now(UTC)
        chosen = _scopes([scopes] if isinstance(scopes, str) else scopes)
        if not name.strip() or len(name) > _LONGEST_NAME or not storable(name) or not name.isprintable():
            raise UsageError(f"A token's name must have 1 to {_LONGEST_NAME} printable characters.", field="name")
        if expires is not None and (expires.tzinfo is None or expires <= now):
            raise UsageError("A token must expire in the future, at a time with its time zone.", field="expires")
        plain = PREFIX + secrets.token_urlsafe(32)
        values = {
            "id": secrets.token_hex(8),
            "name": name,
            "digest": _digest(plain),
            "scopes": ",".join(scope for scope in Scope if scope in chosen),
            "created": now,
            "expires": expires,
        }
        try:
            with writing(self._engine) as connection:
                connection.execute(insert(tokens).values(values))
        except IntegrityError:
            raise ConflictError(
                f"There is a token named {name!r} already. Choose another name, or revoke that one first."
            ) from None
        return plain, self._find(tokens.c.id == values["id"])[0]

    def check(self, plain: str) -> TokenRecord | None:
        """The record of a token that counts now; None for one that is unknown, expired or revoked.

        Called for each request. A database that answers questions but can't be written lets tokens in all the same.
        """
        if not plain.startswith(PREFIX) or len(plain) > _LONGEST_TOKEN or not plain.isascii():
            return None
        digest = _digest(plain)
        with reading(self._engine) as connection:
            row = connection.execute(select(tokens).where(tokens.c.digest == digest)).mappings().first()
        # The look-up's own time tells about digests only; the comparison that decides takes the same time for each.
        if row is None or not hmac.compare_digest(digest, row["digest"]):
            return None
        now = datetime.now(UTC)
        record = _record(row)
        if not record.is_valid(now):
            return None
        if record.last_used is None or now - record.last_used >= LAST_USED_STEP:
            self._note_use(record.id, now)
        return record

    def by_id(self, id: str) -> TokenRecord | None:
        """The record of a token that counts now, by its id; None for one that is unknown, expired or revoked.

        Called for each request of a login that a token began.
        """
        found = self._find(tokens.c.id == id) if storable(id) else []
        return found[0] if found and found[0].is_valid(datetime.now(UTC)) else None

    def _note_use(self, id: str, now: datetime) -> None:
        stale = or_(tokens.c.last_used.is_(None), tokens.c.last_used <= now - LAST_USED_STEP)
        try:
            with writing(self._engine) as connection:
                connection.execute(update(tokens).where(tokens.c.id == id, stale).values(last_used=now))
        except DBAPIError:
            pass

    def list(self) -> TokenRecords:
        """All tokens, revoked and expired ones too; oldest first."""
        return self._find()

    def revoke(self, token: str) -> TokenRecord:
        """Make a token, named by its id or its name, count no more, from the next request on.

        Raises KeyError if there is none, or it was revoked before.
        """
        if not storable(token):
            raise KeyError(token)
        live = and_(or_(tokens.c.id == token, tokens.c.name == token), tokens.c.revoked.is_(None))
        with writing(self._engine) as connection:
            # A name may look like another token's id: the id is meant.
            ids = connection.execute(select(tokens.c.id).where(live)).scalars().all()
            if not ids:
                raise KeyError(token)
            id = token if token in ids else ids[0]
            connection.execute(update(tokens).where(tokens.c.id == id).values(revoked=datetime.now(UTC)))
        return self._find(tokens.c.id == id)[0]

    def any(self) -> bool:
        """Whether there is a token that counts now."""
        now = datetime.now(UTC)
        return any(record.is_valid(now) for record in self._find(tokens.c.revoked.is_(None)))

    def _find(self, *conditions: ColumnElement[bool]) -> TokenRecords:
        query = select(tokens).where(*conditions).order_by(tokens.c.created, tokens.c.id)
        with reading(self._engine) as connection:
            return [_record(row) for row in connection.execute(query).mappings()]


def _record(row: Any) -> TokenRecord:
    values = {key: value for key, value in row.items() if key != "digest"}
    return TokenRecord(**{**values, "scopes": frozenset(Scope(scope) for scope in row["scopes"].split(","))})


def _scopes(names: Iterable[str]) -> frozenset[Scope]:
    try:
        chosen = frozenset(Scope(name) for name in names)
    except ValueError as error:
        raise UsageError(f"There is no such scope: {error}. Choose of {', '.join(Scope)}.", field="scopes") from None
    if not chosen:
        raise UsageError(f"A token needs a scope: {', '.join(Scope)}.", field="scopes")
    return chosen


def _digest(plain: str) -> str:
    return hashlib.sha256(plain.encode()).hexdigest()
