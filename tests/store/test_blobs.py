"""Content by digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kernel_gateway.errors import StorageError
from kernel_gateway.store.blobs import BlobStore


def test_content_comes_back_by_its_digest_and_is_kept_once(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    digest = store.put(b"abc")
    assert digest == store.put(b"abc") == hashlib.sha256(b"abc").hexdigest()
    assert store.get(digest) == b"abc"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_what_is_not_there_is_a_key_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        BlobStore(tmp_path).get("0" * 64)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "0" * 63, "G" * 64, "A" * 64])
def test_nothing_but_a_digest_becomes_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        BlobStore(tmp_path).get(name)


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        BlobStore(tmp_path / "file").put(b"abc")
