"""Alembic's scripts, as package data: `store.database.migrate` runs them. A new one goes into `versions`."""
