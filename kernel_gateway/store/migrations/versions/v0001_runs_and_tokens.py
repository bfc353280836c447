"""Runs and tokens: the first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    """Make both tables."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("created", time, nullable=False),
        sa.Column("started", time),
        sa.Column("finished", time),
        sa.Column("seconds", sa.Float),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("gpus", sa.Integer, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("kernel", sa.Text),
        sa.Column("token", sa.String(200), nullable=False),
        sa.Column("build", sa.JSON),
        sa.Column("build_key", sa.String(500)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("retries", sa.Integer, nullable=False),
        sa.Column("retry_of", sa.String(64)),
        sa.Column("retried_as", sa.String(64)),
        sa.Column("runner_pid", sa.Integer),
        sa.Column("runner_ticks", sa.BigInteger),
        sa.Column("gpu_ids", sa.JSON, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.UniqueConstraint("token", "idempotency_key", name="uq_runs_idempotency"),
        sa.UniqueConstraint("retry_of", name="uq_runs_retry_of"),
    )
    op.create_index("ix_runs_queue", "runs", ["status", "priority", "created"])
    op.create_index("ix_runs_created", "runs", ["created", "id"])
    op.create_index("ix_runs_name", "runs", ["name", "created"])
    op.create_index("ix_runs_build", "runs", ["build_key"])
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("scopes", sa.String(100), nullable=False),
        sa.Column("created", time, nullable=False),
        sa.Column("expires", time),
        sa.Column("last_used", time),
        sa.Column("revoked", time),
    )
    valid = sa.text("revoked IS NULL")
    op.create_index("uq_tokens_name", "tokens", ["name"], unique=True, sqlite_where=valid, postgresql_where=valid)


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("tokens")
    op.drop_table("runs")
