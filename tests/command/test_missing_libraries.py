"""What a kernel's environment lacks is told in one sentence, with the way to install it."""

from __future__ import annotations

from pathlib import Path

from tests.command.conftest import Run


def test_sql_cells_without_jupysql_say_what_to_install(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sql.py").write_text("raise ModuleNotFoundError(\"No module named 'sql'\")")  # found before jupysql's
    (tmp_path / "query.sql").write_text("select 1")

    finished = run(str(tmp_path / "query.sql"), env={"PYTHONPATH": str(tmp_path)})

    finished.assert_results("failed", 1)
    assert "SQL cells need jupysql in the kernel's environment" in finished.record["reason"]
    assert "pip install jupysql duckdb duckdb-engine" in finished.record["reason"]
