"""Artifacts: found by glob, never outside the working folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.events import EventType
from kernel_gateway.runner.artifacts import check_glob, collect, find_files
from kernel_gateway.runner.ending import Cancellation, Grace

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


class Recorder:
    """An event sink that keeps the artifacts' paths."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def append(self, type: EventType, /, **fields: Any) -> None:
        self.paths.append(fields["path"])

    def flush(self) -> None:
        pass


def copied(target: Path) -> list[str]:
    return sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())


def test_results_are_left_out_also_where_a_link_leads_to_them(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    recorder = Recorder()
    collect(recorder, tmp_path / "link", ["**"], tmp_path / "to", exclude=tmp_path / "link" / "out")
    assert "a.txt" in recorder.paths
    assert not [path for path in recorder.paths if path.startswith("out")]


def test_a_secret_in_a_name_is_masked_in_the_copys_name_too_and_no_copy_is_lost(folder: Path, tmp_path: Path) -> None:
    for name in ("hunter2.bin", "HUNTER2.bin"):
        (folder / "model" / name).write_text(name)
    recorder = Recorder()
    collect(
        recorder,
        folder,
        ["model/*2.bin"],
        tmp_path / "to",
        exclude=folder / "out",
        rename=lambda name: name.replace("hunter2", "****").replace("HUNTER2", "****"),
    )
    assert sorted(recorder.paths) == ["model/****-2.bin", "model/****.bin"]
    assert copied(tmp_path / "to") == sorted(recorder.paths)
    assert {(tmp_path / "to" / path).read_text() for path in recorder.paths} == {"hunter2.bin", "HUNTER2.bin"}


def test_a_cancel_while_a_large_file_is_copied_leaves_no_part_of_it(folder: Path, tmp_path: Path) -> None:
    with (folder / "large").open("wb") as file:
        file.truncate(10 << 20)
    cancel = Cancellation()
    grace = Grace(cancel, 0.0)
    asked = 0

    def enough() -> bool:
        nonlocal asked
        asked += 1
        if asked == 4:
            cancel.request("Cancelled by SIGTERM.")
        return grace.is_over()

    recorder = Recorder()
    remarks = collect(recorder, folder, ["large", "x"], tmp_path / "to", exclude=folder / "out", enough=enough)
    cancel.close()
    assert recorder.paths == []
    assert copied(tmp_path / "to") == []
    assert remarks == ["2 artifacts were left out, since the run was cancelled."]
