"""Warm kernels follow the environment file that they were made by, and all that it refers to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.agents.pool import Pool, Target, _Shelf
from kernel_gateway.errors import EnvironmentBuildError


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    """A pool that has started nothing."""
    monkeypatch.setattr(Pool, "_discard", lambda self, pair: None)
    return Pool.__new__(Pool)


def is_kept(pool: Pool, shelf: _Shelf) -> bool:
    """Whether an idle kernel outlives the next look at the files."""
    pair: Any = object()
    shelf.pairs.append(pair)
    pool._follow_file(shelf)
    return pair in shelf.pairs


def test_a_kernel_is_thrown_away_when_a_file_changes_that_its_environment_file_includes(
    pool: Pool, tmp_path: Path
) -> None:
    file, base = tmp_path / "requirements.txt", tmp_path / "base.txt"
    file.write_text("-r base.txt\n")
    base.write_text("six\n")
    shelf = _Shelf(Target("python3", str(file), 1))
    pool._follow_file(shelf)

    assert is_kept(pool, shelf)
    base.write_text("six==1.16.0\n")
    assert not is_kept(pool, shelf)
    assert is_kept(pool, shelf)
    base.unlink()
    with pytest.raises(EnvironmentBuildError, match="can't be read"):
        pool._follow_file(shelf)
    base.write_text("six==1.17.0\n")
    assert not is_kept(pool, shelf)


def test_a_kernel_is_thrown_away_when_a_lock_changes(pool: Pool, tmp_path: Path) -> None:
    file, lock = tmp_path / "pyproject.toml", tmp_path / "uv.lock"
    file.write_text('[project]\nname = "x"\nversion = "1"\n')
    lock.write_text("version = 1\n")
    shelf = _Shelf(Target("python3", str(file), 1))
    pool._follow_file(shelf)

    assert is_kept(pool, shelf)
    lock.write_text("version = 1\nrevision = 2\n")
    assert not is_kept(pool, shelf)
