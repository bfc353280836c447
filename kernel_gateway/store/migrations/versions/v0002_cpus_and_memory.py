"""What a run asks for besides GPUs: CPUs, and memory in bytes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    """Add both columns; runs that are there asked for neither."""
    op.add_column("runs", sa.Column("cpus", sa.Float, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("memory", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop both columns."""
    op.drop_column("runs", "memory")
    op.drop_column("runs", "cpus")
