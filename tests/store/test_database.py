"""Opening a database, and bringing its tables up to date: on SQLite and PostgreSQL, from a wheel too."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, literal, select, text
from sqlalchemy.exc import StatementError

from kernel_gateway.errors import UsageError
from kernel_gateway.store.database import migrate, open_database, reading, sqlite_url, writing
from kernel_gateway.store.models import Time, metadata
from kernel_gateway.store.runs import NewRun, RunStore

ROOT = Path(__file__).parent.parent.parent


def test_migrations_make_the_tables_that_the_code_uses(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})

        assert compare_metadata(context, metadata) == []


def test_a_second_migration_changes_nothing_and_loses_nothing(engine: Engine) -> None:
    RunStore(engine).submit(NewRun(id="a", name="n"))

    migrate(engine)
    migrate(engine)

    assert RunStore(engine).get("a").name == "n"


def test_services_that_start_at_once_migrate_once(new_database: Callable[[], str]) -> None:
    url = new_database()
    engines = [open_database(url) for _ in range(6)]

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(migrate, engines))

    with reading(engines[0]) as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one() == 1
    for engine in engines:
        engine.dispose()


def test_a_migration_that_fails_leaves_no_trace(new_database: Callable[[], str]) -> None:
    engine = open_database(new_database())
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE tokens (id int)"))  # in the way of the second table

    with pytest.raises(Exception, match="already exists"):
        migrate(engine)
    with writing(engine) as connection:
        connection.execute(text("DROP TABLE tokens"))
    migrate(engine)

    assert RunStore(engine).queue_length() == 0
    engine.dispose()


def test_a_database_of_a_later_version_is_refused(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(UsageError, match="later version of kernel-gateway"):
        migrate(engine)


def test_sqlite_is_opened_for_many_processes(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path / "a b%20?x=#ü.db"))

    with writing(engine) as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "busy_timeout", "synchronous", "foreign_keys")
        }

    assert values == {"journal_mode": "wal", "busy_timeout": 30_000, "synchronous": 1, "foreign_keys": 1}
    assert (tmp_path / "a b%20?x=#ü.db").exists()
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        *("", "nonsense", "mysql://root:hunter2@host/db", "http://host:hunter2/", "sqlite://", "sqlite:///:memory:"),
        "postgresql://u:hunter2@host:port/x",
    ],
)
def test_a_url_that_names_no_usable_database_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_database(url)
    assert refused.value.field == "database"
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_uses_the_driver_that_is_installed(scheme: str) -> None:
    engine = open_database(f"{scheme}://u:p@127.0.0.1:1/db?connect_timeout=2")

    assert engine.url.drivername == "postgresql+psycopg"
    engine.dispose()


def test_times_keep_their_moment_and_must_have_a_zone(engine: Engine) -> None:
    moment = datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with reading(engine) as connection:
        back = connection.execute(select(literal(moment, Time()))).scalar_one()
        with pytest.raises(StatementError, match="without a time zone"):
            connection.execute(select(literal(datetime(2026, 1, 1), Time())))  # noqa: DTZ001

    assert back == moment
    assert back.tzinfo == UTC


@pytest.mark.slow
def test_migrations_are_in_the_wheel(tmp_path: Path) -> None:
    # given: the package as it is installed, with nothing of this repository around it
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    code = (
        "import kernel_gateway, sys\n"
        "from kernel_gateway.store.database import migrate, open_database\n"
        "from kernel_gateway.store.runs import RunStore\n"
        "engine = open_database('sqlite:///new.db'); migrate(engine)\n"
        "print(RunStore(engine).queue_length(), kernel_gateway.__file__)\n"
    )

    # when: it migrates a database from there
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )

    # then: it found its scripts
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", str(installed / "kernel_gateway" / "__init__.py")]


def test_a_run_without_a_service_loads_no_database_library() -> None:
    code = (
        "import sys, kernel_gateway.cli.embedded, kernel_gateway.store.folder, kernel_gateway.store.baseline\n"
        "print(*{'sqlalchemy', 'alembic', 'psycopg', 'sqlite3'} & sys.modules.keys())"
    )

    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert loaded.stdout.split() == []
