"""Tokens: who gets in, who does not, and what the database knows of them."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from kernel_gateway.errors import ConflictError, UsageError
from kernel_gateway.store.database import reading, writing
from kernel_gateway.store.tokens import Scope, TokenStore


@pytest.fixture
def tokens(engine: Engine) -> TokenStore:
    return TokenStore(engine)


def last_used_was(engine: Engine, ago: timedelta) -> None:
    """Move the last use of all tokens into the past."""
    with writing(engine) as connection:
        moment = (datetime.now(UTC) - ago).strftime("%Y-%m-%d %H:%M:%S.%f")
        connection.execute(text("UPDATE tokens SET last_used = :moment"), {"moment": moment})


def test_a_token_gets_in_and_is_named_by_what_it_was_made_as(tokens: TokenStore) -> None:
    assert not tokens.any()

    plain, record = tokens.create("ci", ["read", "run"])

    checked = tokens.check(plain)
    assert checked is not None
    assert (checked.id, checked.name, checked.scopes) == (record.id, "ci", frozenset({Scope.READ, Scope.RUN}))
    assert tokens.any()


def test_a_token_is_found_by_its_id_as_long_as_it_counts(tokens: TokenStore, engine: Engine) -> None:
    _, record = tokens.create("ci", ["read"])
    _, short = tokens.create("short", ["read"], datetime.now(UTC) + timedelta(seconds=0.2))

    assert tokens.by_id(record.id) == record
    assert tokens.by_id("ci") is tokens.by_id("") is tokens.by_id("\0") is None
    tokens.revoke("ci")
    assert tokens.by_id(record.id) is None
    time.sleep(0.3)
    assert tokens.by_id(short.id) is None


def test_a_token_has_256_random_bits_and_the_database_none_of_them(tokens: TokenStore, engine: Engine) -> None:
    plain, _ = tokens.create("ci", ["run"])
    other, _ = tokens.create("other", ["run"])

    secret = plain.removeprefix("kg_")
    assert plain != other
    assert plain.startswith("kg_")
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    with reading(engine) as connection:
        rows = connection.execute(text("SELECT * FROM tokens")).all()
    assert len(rows) == 2
    assert secret[:12] not in repr(rows)


def test_anything_else_does_not_get_in(tokens: TokenStore) -> None:
    plain, record = tokens.create("ci", ["admin"])

    for wrong in (
        *("", "kg_", plain[:-1], plain + "x", plain.swapcase(), plain.removeprefix("kg_"), f" {plain}"),
        *(record.id, "ci", "kg_\0", "kg_ü", "kg_\ud800", "kg_" + "x" * 10_000_000, "kg_' OR 1=1 --"),
    ):
        assert tokens.check(wrong) is None
    assert tokens.check(plain) is not None


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_revoked_token_does_not_get_in_and_frees_its_name(tokens: TokenStore, by: str) -> None:
    plain, record = tokens.create("ci", ["run"])

    revoked = tokens.revoke(getattr(record, by))

    assert (revoked.id, revoked.revoked is not None) == (record.id, True)
    assert tokens.check(plain) is None
    assert not tokens.any()
    for again in ("ci", record.id, "no such", "\0"):
        with pytest.raises(KeyError):
            tokens.revoke(again)
    successor, _ = tokens.create("ci", ["run"])
    assert tokens.check(successor) is not None
    assert tokens.check(plain) is None
    assert [token.revoked is None for token in tokens.list()] == [False, True]


def test_a_token_named_like_the_id_of_another_does_not_stand_in_for_it(tokens: TokenStore) -> None:
    plain, record = tokens.create("ci", ["run"])
    decoy, _ = tokens.create(record.id, ["run"])

    assert tokens.revoke(record.id).name == "ci"
    assert tokens.check(plain) is None
    assert tokens.check(decoy) is not None


def test_an_expired_token_does_not_get_in(tokens: TokenStore) -> None:
    plain, _ = tokens.create("ci", ["run"], expires=datetime.now(UTC) + timedelta(seconds=0.7))
    assert tokens.check(plain) is not None
    assert tokens.any()

    time.sleep(0.8)

    assert tokens.check(plain) is None
    assert not tokens.any()


def test_a_name_is_given_to_one_token_at_a_time(tokens: TokenStore) -> None:
    tokens.create("ci", ["run"])

    with pytest.raises(ConflictError, match="'ci' already"):
        tokens.create("ci", ["read"])


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["read"], ["read"]),
        (["run"], ["read", "run"]),
        (["admin"], ["read", "run", "admin"]),
        (["read", "run"], ["read", "run"]),
        ("run", ["read", "run"]),
    ],
)
def test_a_scope_includes_those_before_it(tokens: TokenStore, scopes: list[str], allowed: list[str]) -> None:
    _, record = tokens.create("ci", scopes)

    assert [scope for scope in ("read", "run", "admin") if record.allows(scope)] == allowed
    with pytest.raises(ValueError, match="root"):
        record.allows("root")


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\0", "a\nb", "\ud800"])
def test_a_name_that_cannot_be_is_refused(tokens: TokenStore, name: str) -> None:
    with pytest.raises(UsageError) as refused:
        tokens.create(name, ["run"])
    assert refused.value.field == "name"


def test_scopes_and_times_that_cannot_be_are_refused(tokens: TokenStore) -> None:
    with pytest.raises(UsageError, match="read, run, admin"):
        tokens.create("ci", ["root"])
    with pytest.raises(UsageError, match="needs a scope"):
        tokens.create("ci", [])
    with pytest.raises(UsageError, match="in the future"):
        tokens.create("ci", ["run"], expires=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(UsageError, match="time zone"):
        tokens.create("ci", ["run"], expires=datetime.now() + timedelta(days=1))  # noqa: DTZ005
    assert tokens.list() == []


def test_the_last_use_is_noted_once_a_minute(tokens: TokenStore, engine: Engine) -> None:
    plain, record = tokens.create("ci", ["run"])
    assert record.last_used is None
    before = datetime.now(UTC)

    tokens.check(plain)
    first = tokens.list()[0].last_used
    tokens.check(plain)
    second = tokens.list()[0].last_used
    last_used_was(engine, timedelta(seconds=61))
    tokens.check(plain)
    third = tokens.list()[0].last_used

    assert first is not None
    assert second is not None
    assert third is not None
    assert before <= first == second < third


def test_a_token_gets_in_though_its_use_cannot_be_noted(tokens: TokenStore, engine: Engine) -> None:
    plain, _ = tokens.create("ci", ["run"])
    with writing(engine) as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(
                text("CREATE TRIGGER full BEFORE UPDATE ON tokens BEGIN SELECT RAISE(ABORT, 'no room'); END")
            )
        else:
            name = connection.execute(text("SELECT current_database()")).scalar_one()
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    engine.dispose()

    assert tokens.check(plain) is not None
    assert tokens.list()[0].last_used is None
