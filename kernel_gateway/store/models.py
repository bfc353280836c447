"""The tables, as the code uses them; `migrations` makes them, and a test holds the two together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine


class Time(TypeDecorator[datetime]):
    """A moment, with its time zone: UTC. SQLite keeps none, so it is put off and on again."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database; a time without a zone is a mistake and raises ValueError."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column's own type."""
        return dialect.type_descriptor(DateTime(timezone=True))


metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("exit_code", Integer),
    Column("created", Time, nullable=False),
    Column("started", Time),
    Column("finished", Time),
    Column("seconds", Float),
    Column("priority", Integer, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("cpus", Float, nullable=False, server_default="0"),
    Column("memory", BigInteger, nullable=False, server_default="0"),
    Column("label", Text),
    Column("kernel", Text),
    Column("token", String(200), nullable=False),
    Column("build", JSON(none_as_null=True)),
    Column("build_key", String(500)),
    Column("attempt", Integer, nullable=False),
    Column("retries", Integer, nullable=False),
    Column("retry_of", String(64)),
    Column("retried_as", String(64)),
    Column("runner_pid", Integer),
    Column("runner_ticks", BigInteger),
    Column("gpu_ids", JSON, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("request_digest", String(64), nullable=False),
    Column("idempotency_key", String(255)),
    # NULL differs from NULL: runs without a key, and runs that are no retry, are as many as they like.
    UniqueConstraint("token", "idempotency_key", name="uq_runs_idempotency"),
    UniqueConstraint("retry_of", name="uq_runs_retry_of"),
    Index("ix_runs_queue", "status", "priority", "created"),
    Index("ix_runs_created", "created", "id"),
    Index("ix_runs_name", "name", "created"),
    Index("ix_runs_build", "build_key"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", String(100), nullable=False),
    Column("created", Time, nullable=False),
    Column("expires", Time),
    Column("last_used", Time),
    Column("revoked", Time),
    # The name of a revoked token may be given again.
    Index(
        "uq_tokens_name",
        "name",
        unique=True,
        sqlite_where=text("revoked IS NULL"),
        postgresql_where=text("revoked IS NULL"),
    ),
)

logins = Table(
    "logins",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("token", String(32), nullable=False),
    Column("expires", Time, nullable=False),
)
