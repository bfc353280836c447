"""Queries as people write them: colons, percent signs, comments, values of all types, time zones, writes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from tests.store.postgres import PostgresServer

from .conftest import Bench, need, words
from .test_sources import execute, sql

__all__ = ["execute"]


@pytest.mark.parametrize("by", ["checksum", "rows"])
def test_a_query_goes_to_the_database_as_it_is_written(bench: Bench, execute: Callable[[str], None], by: str) -> None:
    execute("INSERT INTO orders VALUES (3, ':name 100%', NULL)")
    query = "SELECT id FROM orders WHERE at = ':name 100%' OR at LIKE '%:none' -- the %s :latest; ones"
    bench.write(sql(query, by=by), minimal_interval=0)

    first = bench.check()
    execute("INSERT INTO orders VALUES (4, ':name 100%', NULL)")
    more = bench.check()

    assert first.decision.judgements[0].finding == "first look", words(first)
    assert more.started


def test_a_null_that_gets_a_value_is_a_change(bench: Bench, execute: Callable[[str], None]) -> None:
    execute("INSERT INTO orders VALUES (3, NULL, NULL)")
    bench.write(sql("SELECT * FROM orders"), minimal_interval=0)
    bench.check()
    execute("UPDATE orders SET at = '' WHERE id = 3")

    assert bench.check().started


def test_the_largest_of_no_rows_is_nothing_yet_and_the_first_row_a_change(
    bench: Bench, execute: Callable[[str], None]
) -> None:
    execute("DELETE FROM orders")
    bench.write(sql("SELECT MAX(at) FROM orders", by="maximum"))
    empty = bench.check()
    execute("INSERT INTO orders VALUES (1, '2026-11-21', 1)")

    assert empty.decision.judgements[0].new == "nothing yet"
    assert bench.check().started


def test_a_database_in_a_file_of_any_name_is_read(bench: Bench) -> None:
    need("sqlalchemy")
    with contextlib.closing(sqlite3.connect(bench.folder / "shop 100%41?#.db")) as database:
        database.execute("CREATE TABLE orders (id)")
        database.commit()
    bench.write(sql("SELECT * FROM orders").replace("${DB}", "sqlite:///shop 100%2541%3F#.db"))

    assert "first look" in words(bench.check())


@pytest.fixture
def shop(bench: Bench, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An open connection to a database of PostgreSQL, which the variable DB names."""
    need("sqlalchemy", "psycopg")
    import psycopg

    url = postgres.new_database()
    monkeypatch.setenv("DB", url)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def test_a_moment_is_the_same_in_every_time_zone(bench: Bench, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.execute("CREATE TABLE orders (at timestamptz, price numeric(10, 2))")
    shop.execute("INSERT INTO orders VALUES ('2026-07-01 12:00+02', 1.50), ('2026-07-02 12:00+02', NULL)")
    maximum = sql("SELECT MAX(at) FROM orders", by="maximum")
    bench.write(f"{sql('SELECT * FROM orders')}\n{maximum}", minimal_interval=0)
    monkeypatch.setenv("PGTZ", "Europe/Berlin")
    first = bench.check()
    monkeypatch.setenv("PGTZ", "America/New_York")
    elsewhere = bench.check()
    shop.execute("UPDATE orders SET price = 1.51 WHERE price = 1.50")
    changed = bench.check()

    assert [one.finding for one in first.decision.judgements] == ["first look"] * 2
    assert not elsewhere.started
    assert [one.finding for one in changed.decision.judgements] == ["met", "not met"]


def test_a_function_that_writes_is_refused(bench: Bench, shop: Any) -> None:
    shop.execute("CREATE SEQUENCE numbers")
    bench.write(sql("SELECT nextval('numbers')"))

    told = words(bench.check())

    assert "read-only transaction" in told
    assert shop.execute("SELECT is_called FROM numbers").fetchone() == (False,)
