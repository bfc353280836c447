"""What Alembic executes for each of its commands; the connection, in a transaction, is handed in by `migrate`."""

from __future__ import annotations

from alembic import context

from kernel_gateway.store.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite can't alter a column: Alembic copies the table
)
with context.begin_transaction():
    context.run_migrations()
