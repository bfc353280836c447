"""The service's database: SQLite in one file, or PostgreSQL. For the service only: SQLAlchemy is slow to import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError

from ..errors import UsageError

LOCK_SECONDS = 30
"""How long a statement waits for a lock that another process holds."""

_WRITE = "kernel_gateway_write"

# A server that vanished without a word is given up after 20 seconds, not after the kernel's two hours.
_POSTGRES_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "kernel-gateway",
    "options": f"-c lock_timeout={LOCK_SECONDS}s -c idle_in_transaction_session_timeout=60s",
}

_MIGRATION_LOCK = 0x6B67_6D69
"""Number of the advisory lock that keeps two services from migrating one PostgreSQL database at once."""


def open_database(url: str) -> Engine:
    """An engine for a database URL, ``sqlite:///FILE`` or ``postgresql+psycopg://…``.

    Called once by each process; an engine must not be used across a fork. Connects at first use, and again after
    the server was away. Raises `UsageError` for a URL that names no such database. What SQLAlchemy raises while a
    database does not answer (`sqlalchemy.exc.DBAPIError`) passes through every function of this room.
    """
    parsed = _parse(url)
    pool: dict[str, Any] = {"pool_size": 8, "max_overflow": 24, "pool_timeout": LOCK_SECONDS}
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, **pool, connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    defaults = {key: value for key, value in _POSTGRES_DEFAULTS.items() if key not in parsed.query}
    return create_engine(parsed, **pool, connect_args=defaults, pool_pre_ping=True, pool_recycle=1800)


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite file, whatever characters its path has."""
    return URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        parsed, backend = None, ""  # the URL itself may hold a password: it is not shown
    if parsed is None or backend not in ("sqlite", "postgresql", "postgres"):
        raise UsageError(
            "The setting `database` is no URL of a database that the gateway knows. "
            "Write postgresql+psycopg://USER:PASSWORD@HOST/NAME, or sqlite:///FILE.",
            field="database",
        )
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise UsageError(
                "The setting `database` names a SQLite database in memory; write sqlite:///FILE, since the service "
                "has several processes.",
                field="database",
            )
        return parsed
    return parsed.set(drivername="postgresql+psycopg")


def _prepare_sqlite(connection: Any, record: object) -> None:
    # Without this the driver begins transactions by itself, and too late: after the reads that a write rests on.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {LOCK_SECONDS * 1000}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins by reading and then writes fails at once, without waiting, if another wrote in between.
    writes = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads. Waits for no writer."""
    with engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write: committed at the end of its ``with`` block, undone if that raises.

    On SQLite there is one at a time, from its first statement on; on PostgreSQL lock the rows you rest on.
    """
    with engine.connect().execution_options(**{_WRITE: True}) as connection, connection.begin():
        yield connection


def migrate(engine: Engine) -> None:
    """Bring the tables to what this version of the gateway needs; finds nothing to do when called again.

    Called by the service before it starts anything else. All or nothing, and one at a time however many services
    start at once. Raises `UsageError` for a database that a later version has changed.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "kernel_gateway.store:migrations")
    config.set_main_option("path_separator", "os")
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise UsageError(
                f"The database {engine.url.render_as_string()} was made by a later version of kernel-gateway "
                f"({error}). Install that version, or name another database.",
                field="database",
            ) from error
