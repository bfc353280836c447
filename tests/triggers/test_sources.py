"""Sources as they really are: files, an HTTP server with ETags, SQLite, PostgreSQL, git."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.store.postgres import PostgresServer

from .conftest import DAY, Bench, need, words


def changes(bench: Bench, steps: list[Callable[[], Any]]) -> list[bool]:
    """Whether a build was started, at the first check and after each step."""
    begun = [bench.check().started]
    for step in steps:
        step()
        bench.later(3600)
        begun.append(bench.check().started)
    return begun


# -- files -----------------------------------------------------------------------------------------------


def test_a_folder_counts_by_the_content_of_all_its_files_and_by_nothing_else(bench: Bench) -> None:
    folder = bench.folder / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/a.csv").write_text("a")
    bench.write("- data: data")

    begun = changes(
        bench,
        [
            lambda: os.utime(folder / "deep/a.csv", (1, 1)),
            lambda: (folder / ".swap").write_text("an editor's"),
            lambda: (folder / "b.csv").write_text("b"),
            lambda: (folder / "deep/a.csv").write_text("c"),
            lambda: (folder / "b.csv").unlink(),
            lambda: (folder / "deep/a.csv").rename(folder / "deep/z.csv"),
        ],
    )

    assert begun == [False, False, False, True, True, True, True]


def test_a_file_of_the_same_size_and_time_is_read_again_if_it_was_just_written(bench: Bench) -> None:
    file = bench.folder / "a.csv"
    file.write_text("1")
    bench.now = file.stat().st_mtime + 1
    bench.write("- data: a.csv", minimal_interval=0)
    bench.check()
    time = file.stat().st_mtime_ns
    file.write_text("2")
    os.utime(file, ns=(time, time))

    assert bench.check().started


# -- URLs ------------------------------------------------------------------------------------------------


class Site:
    """A server with one file. ``etag``: whether it tells one."""

    def __init__(self) -> None:
        self.content = b"1\n"
        self.etag = True
        self.bodies = 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                """Quiet."""

            def do_HEAD(self) -> None:
                self._headers()

            def do_GET(self) -> None:
                site.bodies += 1
                self._headers()
                self.wfile.write(site.content)

            def _headers(self) -> None:
                found = self.path.partition("?")[0] == "/data.csv"
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(site.content) if found else 0))
                if site.etag:
                    self.send_header("ETag", f'"{hashlib.md5(site.content).hexdigest()}"')
                self.end_headers()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    """A server on loopback."""
    need("fsspec", "aiohttp")
    found = Site()
    yield found
    found.stop()


@pytest.mark.parametrize("etag", [True, False], ids=["by its ETag", "by its content"])
def test_a_url_counts(bench: Bench, site: Site, etag: bool) -> None:
    site.etag = etag
    bench.write(f"- data: {site.url}/data.csv")

    begun = changes(bench, [lambda: None, lambda: setattr(site, "content", b"2\n"), lambda: None])

    assert begun == [False, False, True, False]
    assert (site.bodies == 0) is etag


def test_a_server_that_is_away_or_lacks_the_file_is_no_change(bench: Bench, site: Site) -> None:
    bench.write(f"- data: {site.url}/nothing.csv", fire_on_first=True)
    missing = bench.check()
    bench.write("- data: http://127.0.0.1:9/data.csv", fire_on_first=True)
    away = bench.check()

    assert "there is no file at http://127.0.0.1:" in words(missing)
    assert "can't be read" in words(away)
    assert bench.started == 0


# -- SQL -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def execute(request: pytest.FixtureRequest, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs statements in a database with a table of orders, which the variable DB names."""
    need("sqlalchemy")
    if request.param == "sqlite":
        file = bench.folder / "shop.db"
        monkeypatch.setenv("DB", "sqlite:///shop.db")

        def run(statement: str) -> None:
            connection = sqlite3.connect(file)
            with connection:
                connection.execute(statement)
            connection.close()
    else:
        import psycopg

        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_database()
        monkeypatch.setenv("DB", url)

        def run(statement: str) -> None:
            with psycopg.connect(url.replace("+psycopg", "")) as connection:
                connection.execute(statement.encode())

    run("CREATE TABLE orders (id INTEGER, at TEXT, price REAL)")
    run("INSERT INTO orders VALUES (1, '2026-11-20', 1.5), (2, '2026-11-21', 2.5)")
    return run


def sql(query: str, **more: Any) -> str:
    lines = [f'- sql: "{query}"', "  database: ${DB}", *(f"  {name}: {value}" for name, value in more.items())]
    return "\n".join(lines)


def test_a_query_counts_by_its_rows_whatever_their_order(bench: Bench, execute: Callable[[str], None]) -> None:
    bench.write(sql("SELECT * FROM orders"))

    begun = changes(
        bench,
        [
            lambda: execute("DELETE FROM orders WHERE id = 1"),
            lambda: execute("INSERT INTO orders VALUES (3, '2026-11-22', 1)"),
            lambda: execute("UPDATE orders SET price = 9 WHERE id = 3"),
            lambda: None,
        ],
    )

    assert begun == [False, True, True, True, False]


def test_a_query_counts_by_its_maximum_and_says_so(bench: Bench, execute: Callable[[str], None]) -> None:
    bench.write(sql("SELECT MAX(at) FROM orders", by="maximum"))
    bench.check()
    execute("INSERT INTO orders VALUES (3, '2026-11-22', 1)")
    bench.later(3600)

    outcome = bench.check()

    assert outcome.started
    assert outcome.decision.judgements[0].old == "2026-11-21"
    assert outcome.decision.judgements[0].new == "2026-11-22"


def test_rows_count_from_a_number_of_new_ones_on(bench: Bench, execute: Callable[[str], None]) -> None:
    bench.write(sql("SELECT * FROM orders;", by="rows", at_least=3))

    begun = changes(
        bench,
        [
            lambda: execute("INSERT INTO orders VALUES (3, '', 1), (4, '', 1)"),
            lambda: execute("INSERT INTO orders VALUES (5, '', 1)"),
            lambda: execute("INSERT INTO orders VALUES (6, '', 1)"),
        ],
    )

    assert begun == [False, False, True, False]


def test_a_query_changes_nothing_in_the_database(bench: Bench, execute: Callable[[str], None]) -> None:
    bench.write(sql("DELETE FROM orders"))
    refused = bench.check()
    bench.write(sql("SELECT COUNT(*) FROM orders"))
    kept = bench.check()

    assert "can't be read" in words(refused)
    assert kept.decision.judgements[0].new == "2"


def test_a_database_that_is_away_is_named_without_its_password(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    need("sqlalchemy", "psycopg")
    monkeypatch.setenv("DB", "postgresql://reader:s3cret@127.0.0.1:9/shop")
    bench.write(sql("SELECT 1"), fire_on_first=True)

    told = words(bench.check())

    assert "postgresql+psycopg://reader:***@127.0.0.1:9/shop" in told
    assert "s3cret" not in told
    assert bench.started == 0


def test_a_database_that_is_not_there_is_not_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    need("sqlalchemy")
    monkeypatch.setenv("DB", "sqlite:///none.db")
    bench.write(sql("SELECT 1"), fire_on_first=True)

    assert "there is no database" in words(bench.check())
    assert not (bench.folder / "none.db").exists()


# -- git -------------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(bench: Bench) -> Path:
    """A repository with two files in one commit."""
    folder = bench.folder / "repository"
    (folder / "src").mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "src/model.py").write_text("1")
    (folder / "README.md").write_text("1")
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "m")


def test_code_counts_by_what_its_paths_hold_and_not_by_commits(bench: Bench, repository: Path) -> None:
    bench.write("- code: [src, train.ipynb]\n  repo: repository")

    def write(name: str, content: str) -> None:
        (repository / name).write_text(content)
        commit(repository)

    begun = changes(
        bench,
        [
            lambda: commit(repository),
            lambda: write("README.md", "2"),
            lambda: write("src/model.py", "2"),
            lambda: write("train.ipynb", "{}"),
        ],
    )

    assert begun == [False, False, False, True, True]
    assert "changed: train.ipynb" in bench.jenkins.builds("retrain")[-1]["REASON"]


def test_a_revision_or_repository_that_is_not_there_is_no_change(bench: Bench, repository: Path) -> None:
    bench.write("- any:\n  - code: src\n    repo: repository\n    rev: nobody\n  - code: src", fire_on_first=True)

    outcome = bench.check()

    assert [one.finding for one in outcome.decision.judgements] == ["unreadable", "unreadable"]
    assert bench.started == 0


def test_rows_that_go_on_coming_must_rest_for_the_quiet_period_too(bench: Bench) -> None:
    with contextlib.closing(sqlite3.connect(bench.folder / "orders.db")) as database:
        database.execute("CREATE TABLE orders (id)")
        database.commit()
        query = "- sql: SELECT id FROM orders\n  database: sqlite:///orders.db\n  by: rows\n  at_least: 2"
        bench.write(query, quiet_period="10m")
        begun = [bench.check().started]
        for _ in range(3):
            database.execute("INSERT INTO orders VALUES (1), (2)")
            database.commit()
            begun.append(bench.check().started)
            bench.later(300)
        bench.later(300)
        begun.append(bench.check().started)

    assert begun == [False, False, False, False, True]


# -- age -------------------------------------------------------------------------------------------------


def test_age_counts_from_the_last_stable_build_and_a_job_that_fails_is_tried_again_at_that_pace(bench: Bench) -> None:
    bench.jenkins.jobs["retrain"].stable = bench.now - 5 * DAY
    bench.write("- age: 7d")

    begun = []
    for _ in range(12):
        begun.append(bench.check().started)
        bench.later(DAY)
    bench.jenkins.jobs["retrain"].stable = bench.now
    begun.append(bench.check().started)

    assert begun == [False, False, True, *[False] * 6, True, False, False, False]


def test_a_job_that_never_succeeded_is_old_enough(bench: Bench) -> None:
    bench.write("- age: 7d")

    assert bench.check().started
    assert "there was no successful run yet" in bench.jenkins.builds("retrain")[0]["REASON"]


@pytest.mark.parametrize("succeeded", [None, 13.5], ids=["never", "long ago"])
def test_the_pace_of_a_job_that_fails_counts_from_the_last_start_whenever_that_was(
    bench: Bench, succeeded: float | None
) -> None:
    bench.now = 7 * DAY * 3000 - DAY / 2
    bench.jenkins.jobs["retrain"].stable = None if succeeded is None else bench.now - succeeded * DAY
    bench.write("- age: 7d")

    begun = []
    for _ in range(9):
        begun.append(bench.check().started)
        bench.later(DAY)

    assert begun == [True, *[False] * 6, True, False]
