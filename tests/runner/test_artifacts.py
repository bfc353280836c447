"""Artifacts: found by glob, never outside the working folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel_gateway.runner.artifacts import check_glob, find_files

FILES = ("a.txt", "model/m.bin", "model/deep/n.txt", "x/model/k.bin", "[odd].txt", ".hidden/h.txt", "out/results.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "work"


@pytest.mark.parametrize(
    ("globs", "found"),
    [
        (["*.txt"], ["[odd].txt", "a.txt"]),
        (["model"], ["model/deep/n.txt", "model/m.bin"]),
        (["./model/"], ["model/deep/n.txt", "model/m.bin"]),
        (["model/*"], ["model/deep/n.txt", "model/m.bin"]),
        (["model/*.bin"], ["model/m.bin"]),
        (["**/*.bin"], ["model/m.bin", "x/model/k.bin"]),
        (["**/deep/*"], ["model/deep/n.txt"]),
        (["x/**/k.???"], ["x/model/k.bin"]),
        (["[[]odd].txt"], ["[odd].txt"]),
        ([".hidden/*"], [".hidden/h.txt"]),
        (["m[n-p]del/*.bin", "a.*"], ["a.txt", "model/m.bin"]),
        (["nothing/*"], []),
        (["A.TXT"], []),
    ],
)
def test_a_glob_finds_files_and_what_is_in_folders(folder: Path, globs: list[str], found: list[str]) -> None:
    assert [name for _, name in find_files(folder, globs)] == sorted(found)


def test_everything_but_the_results_is_found_by_two_stars(folder: Path) -> None:
    names = [name for _, name in find_files(folder, ["**"], exclude=folder / "out")]
    assert names == sorted(name for name in FILES if not name.startswith("out/"))


def test_links_that_lead_outside_are_left_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "model" / "up").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "inner.txt").symlink_to(folder / "a.txt")
    names = [name for _, name in find_files(folder, ["**"])]
    assert "inner.txt" in names
    assert not {"link.txt", "model/up/secret.txt", "loop"} & set(names)


@pytest.mark.parametrize("glob", ["/etc/*", "../x", "a/../../x", ""])
def test_a_glob_that_leaves_the_folder_is_refused(glob: str) -> None:
    assert check_glob(glob)
