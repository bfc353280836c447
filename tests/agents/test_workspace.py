"""A client's files become a working folder, and nothing outside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.agents.workspace import check_workspace, materialise, safe_path
from kernel_gateway.errors import StorageError, UsageError
from kernel_gateway.store.blobs import BlobStore


def test_files_lie_where_they_were_with_their_content(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    files: list[dict[str, Any]] = [
        {"path": "a.txt", "sha256": blobs.put(b"a")},
        {"path": "bin/run.sh", "sha256": blobs.put(b"#!/bin/sh"), "executable": True},
    ]
    materialise(tmp_path / "work", files, blobs)
    assert (tmp_path / "work" / "a.txt").read_bytes() == b"a"
    assert os.access(tmp_path / "work" / "bin" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "work" / "a.txt", os.X_OK)


def test_a_run_that_changes_its_file_does_not_change_the_blob(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    digest = blobs.put(b"shared")
    materialise(tmp_path / "work", [{"path": "a.txt", "sha256": digest}], blobs)
    (tmp_path / "work" / "a.txt").write_bytes(b"changed")
    assert blobs.get(digest) == b"shared"


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "", ".", "a\0b", "a\\..\\b"])
def test_a_name_that_could_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        safe_path(name)


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b/c", "a/b"), ("x", "./x")])
def test_names_that_collide_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        check_workspace({"path": name, "sha256": "0" * 64} for name in names)


def test_a_missing_blob_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"a\.txt"):
        materialise(tmp_path / "work", [{"path": "a.txt", "sha256": "0" * 64}], BlobStore(tmp_path / "blobs"))
