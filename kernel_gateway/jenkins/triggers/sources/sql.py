"""``sql``: what a query returns, from SQLite, PostgreSQL or whatever SQLAlchemy has a driver for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..evidence import Context, Evidence, Kind, Unreadable
from ..values import Schema, choice, positive, text

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

SECONDS = 60
"""How long a server may take for the query; that of a connection is a fifth of it."""

MOST_SHOWN = 5
"""Values of a single row that are compared and shown as they are."""


def read(settings: Mapping[str, Any], context: Context) -> Evidence:
    """Run the query, and make what ``by`` says of its result."""
    try:
        import sqlalchemy
    except ModuleNotFoundError:
        raise Unreadable('queries take SQLAlchemy: pip install "kernel-gateway[triggers]"') from None
    url = expanded(settings["database"], context.environ)
    engine = _engine(url, context.folder)
    try:
        with engine.connect() as connection:
            value, shown = _value(connection, settings)
            connection.rollback()
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        raise Unreadable(f"{engine.url.render_as_string(hide_password=True)}: {reason[:200]}") from error
    finally:
        engine.dispose()
    return _evidence(settings, context, value, shown)


def expanded(place: str, environ: Mapping[str, str]) -> str:
    """A text with ``${NAME}`` replaced by the environment's values: passwords don't belong in a file."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise Unreadable(f"the environment has no variable {match[1]}")
        return environ[match[1]]

    return re.sub(r"\$\{(\w+)\}", value, place)


def _engine(url: str, folder: str) -> Engine:
    import os
    from urllib.parse import quote

    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        options: dict[str, Any] = {}
        if backend == "sqlite":
            file = os.path.join(folder, parsed.database or "")
            if not os.path.isfile(file):  # SQLite would make it
                raise Unreadable(f"there is no database {file}")
            parsed = parsed.set(database=f"file:{quote(os.path.abspath(file))}", query={"mode": "ro", "uri": "true"})
        elif backend == "postgresql":
            if parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            limits = f"-c statement_timeout={SECONDS}s -c default_transaction_read_only=on"
            options = {"connect_timeout": SECONDS // 5, "options": limits}
        return create_engine(parsed, poolclass=NullPool, connect_args=options)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise Unreadable(f"database: {' '.join(str(error).split())[:200]}") from error


def _value(connection: Connection, settings: Mapping[str, Any]) -> tuple[Any, str]:
    query, by = settings["sql"].strip().rstrip(";"), settings.get("by", "checksum")
    # To the driver as it is: for SQLAlchemy a colon begins a parameter, for drivers with parameters a percent sign.
    connection = connection.execution_options(no_parameters=True)
    if by == "rows":
        # Lines of their own, since the query may end with a comment.
        count = connection.exec_driver_sql(f"SELECT COUNT(*) FROM (\n{query}\n) AS watched").scalar_one()
        return int(count), f"{count:,} rows"
    if by == "maximum":
        row = connection.exec_driver_sql(query).one_or_none()
        if row is None or len(row) != 1:
            raise Unreadable("by: maximum takes a query of one value, e.g. SELECT MAX(created) FROM orders")
        return row[0], "nothing yet" if row[0] is None else str(row[0])
    result = connection.execution_options(yield_per=1000).exec_driver_sql(query)
    rows = iter(result)
    first, second = next(rows, None), next(rows, None)
    if first is not None and second is None and len(first) <= MOST_SHOWN:
        return [_plain(value) for value in first], ", ".join(str(value) for value in first)
    return _checksum(row for part in ([first], [second], rows) for row in part if row is not None)


def _checksum(rows: Iterable[Any]) -> tuple[str, str]:
    """A digest that does not depend on the order of the rows, which no database promises; equal rows all count."""
    total, count = 0, 0
    for row in rows:
        digest = hashlib.sha256(repr([_plain(value) for value in row]).encode()).digest()
        total = (total + int.from_bytes(digest)) % 2**256
        count += 1
    value = f"{count} {total:064x}"
    return value, f"{count:,} rows, {hashlib.sha256(value.encode()).hexdigest()[:8]}"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)  # the same moment, whatever zone a server or client is set to
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def _evidence(settings: Mapping[str, Any], context: Context, value: Any, shown: str) -> Evidence:
    token = hashlib.sha256(repr(_plain(value)).encode()).hexdigest()
    grown = settings.get("at_least")
    if grown is None:
        return Evidence(token, shown)
    amount = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        try:
            amount = float(amount)
        except (TypeError, ValueError):
            raise Unreadable(f"at_least takes a query of one number; this one returns {shown[:60]}") from None
    before = (context.basis.data if context.basis else {}).get("amount")
    data = {"amount": amount}
    if before is None:
        return Evidence(token, shown, data=data)
    change = amount - before
    enough = abs(change) >= grown
    why = f"{change:+,g} since the last start, {'at least' if enough else 'less than'} {grown:g}"
    return Evidence(token, shown, enough, why, data, is_change=True)


def _title(settings: Mapping[str, Any]) -> str:
    query = " ".join(settings["sql"].split())
    return f"sql {query if len(query) <= 60 else query[:59] + '…'}"


KIND = Kind(
    Schema(
        text,
        {"database": text, "by": choice("checksum", "rows", "maximum"), "at_least": positive},
        needed=("database",),
    ),
    _title,
    read,
)
