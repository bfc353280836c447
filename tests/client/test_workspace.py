"""Which files go with a run to a gateway."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from pathlib import Path

import pytest

from kernel_gateway.client import find_files, hash_files, workspace_root
from kernel_gateway.errors import UsageError


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_what_git_tracks_below_the_sources_folder_is_sent_as_it_lies_on_disk(tmp_path: Path) -> None:
    write(tmp_path, a="1", nb__train="2", nb__lib__m="3", nb__untracked="4", nb__gone="5")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "a", "nb/train", "nb/lib/m", "nb/gone")
    write(tmp_path, nb__train="changed since")
    (tmp_path / "nb" / "gone").unlink()

    found = find_files(workspace_root(tmp_path / "nb" / "train", tmp_path, ()))

    assert sorted(found.files) == ["lib/m", "train"]
    assert found.files["train"].read_text() == "changed since"
    assert found.remarks == []


def test_files_of_git_submodules_are_sent_too(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    write(tmp_path / "lib", code="x")
    (tmp_path / "main").mkdir()
    for name in ("lib", "main"):
        git(tmp_path / name, "init", "-q")
    git(tmp_path / "lib", "add", ".")
    git(tmp_path / "lib", "commit", "-qm", "one")
    git(tmp_path / "main", "submodule", "--quiet", "add", str(tmp_path / "lib"), "sub")

    assert "sub/code" in find_files(tmp_path / "main").files


def test_without_a_repository_only_the_source_goes_and_that_is_told(tmp_path: Path) -> None:
    write(tmp_path, data="1")

    found = find_files(tmp_path)

    assert found.files == {}
    assert found.remarks == [
        f"{tmp_path} is in no git repository: only the source is sent. Name the files that it needs with --input."
    ]


def test_a_repository_that_git_refuses_is_told_with_gits_words(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".git" / "config").write_text("[nonsense")

    assert "git can't list the files of" in find_files(tmp_path).remarks[0]


def test_inputs_start_at_the_current_folder_and_take_folders_whole(tmp_path: Path) -> None:
    write(tmp_path, nb__train="1", src__m="2", src__deep__n="3", data__a="4", data__b="5", other="6")
    inputs = ["src", "data/a*", "./nb/train"]

    root = workspace_root(tmp_path / "nb" / "train", tmp_path, inputs)
    found = find_files(root, inputs, cwd=tmp_path)

    assert root == tmp_path
    assert sorted(found.files) == ["data/a", "nb/train", "src/deep/n", "src/m"]


def test_the_folder_may_be_named_from_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project" / "src").mkdir(parents=True)
    (tmp_path / "project" / "src" / "a.py").write_text("")
    monkeypatch.chdir(tmp_path)

    assert list(find_files(Path("project"), ["src"]).files) == ["src/a.py"]


def test_from_beside_the_source_names_start_at_the_folder_that_holds_both(tmp_path: Path) -> None:
    write(tmp_path, nb__train="1", data__a="2")

    root = workspace_root(tmp_path / "nb" / "train", tmp_path / "data", ["a"])

    assert root == tmp_path
    assert list(find_files(root, ["a"], cwd=tmp_path / "data").files) == ["data/a"]


@pytest.mark.parametrize("glob", ["/etc/passwd", "../x", "a/../../b", ""])
def test_inputs_that_lead_out_are_refused(tmp_path: Path, glob: str) -> None:
    with pytest.raises(UsageError, match="must be relative to the current folder") as caught:
        find_files(tmp_path, [glob])

    assert caught.value.field == "input"


def test_an_input_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--input 'data/\*' matches no file below"):
        find_files(tmp_path, ["data/*"])


def test_what_is_no_plain_file_inside_is_left_out_with_a_remark(tmp_path: Path) -> None:
    work = tmp_path / "work"
    write(work, plain="1", sub__x="2")
    (tmp_path / "secret").write_text("s")
    (work / "out").symlink_to(tmp_path / "secret")
    (work / "outer-folder").symlink_to(tmp_path)
    (work / "inside").symlink_to("plain")
    (work / "folder").symlink_to("sub")
    (work / "nowhere").symlink_to("missing")
    (work / "loop").symlink_to("loop")
    (work / "sub" / "up").symlink_to("../../secret")
    os.mkfifo(work / "pipe")
    (work / os.fsdecode(b"b\xffd")).write_text("x")
    (work / "back\\slash").write_text("x")
    (work / "line\nfeed").write_text("x")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(work / "sock"))
        found = find_files(work, ["*"])

    assert sorted(found.files) == ["inside", "plain", "sub/x"]
    told = "\n".join(found.remarks)
    assert told.count("the link leads out of the folder that is sent") == 3
    assert told.count("it is no file but a socket, pipe or device") == 2
    for cause in ("is a link to a folder", "leads nowhere", "'loop'", "is not UTF-8", "backslash", "control character"):
        assert cause in told
    assert len(found.remarks) == 11


def test_names_that_differ_in_case_only_are_told(tmp_path: Path) -> None:
    write(tmp_path, Readme="1", README="2", x="3")

    found = find_files(tmp_path, ["*"])

    assert len(found.files) == 3
    assert found.remarks == ["'README' and 'Readme' differ only in case; both are sent."]


def test_digests_sizes_and_modes_are_those_of_the_files(tmp_path: Path) -> None:
    write(tmp_path, a="", b="x" * 3_000_000)
    (tmp_path / "b").chmod(0o755)

    a, b = hash_files(find_files(tmp_path, ["*"]).files)

    assert (a.path, a.size, a.sha256, a.executable) == ("a", 0, hashlib.sha256(b"").hexdigest(), False)
    assert (b.size, b.sha256, b.executable) == (3_000_000, hashlib.sha256(b"x" * 3_000_000).hexdigest(), True)
