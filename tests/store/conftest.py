"""Databases for the tests of what lies in them: each such test runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from kernel_gateway.store.database import migrate, open_database
from kernel_gateway.store.runs import RunStore

from .postgres import new_database, postgres

__all__ = ["engine", "new_database", "postgres", "store"]


@pytest.fixture
def engine(new_database: Callable[[], str]) -> Iterator[Engine]:
    """A new database with its tables."""
    opened = open_database(new_database())
    migrate(opened)
    yield opened
    opened.dispose()


@pytest.fixture
def store(engine: Engine) -> RunStore:
    """The runs of a new database."""
    return RunStore(engine)
