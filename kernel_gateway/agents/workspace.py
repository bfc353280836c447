"""A run's private working folder, made from the files that its client sent."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import StorageError, UsageError
from ..store.blobs import BlobStore


def safe_path(name: str) -> PurePosixPath:
    """A client's file name as a relative path. Raises `UsageError` for one that could leave the folder."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name or path.parts == ():
        raise UsageError(f"The file name {name!r} must be relative, without '..'.", field="workspace")
    return path


def check_workspace(files: Iterable[Mapping[str, Any]]) -> None:
    """Raise `UsageError` for names that leave the folder, are there twice, or stand where a folder must be."""
    seen: set[PurePosixPath] = set()
    for file in files:
        path = safe_path(str(file["path"]))
        if path in seen:
            raise UsageError(f"The file {path} is there twice.", field="workspace")
        seen.add(path)
    for path in seen:
        for parent in list(path.parents)[:-1]:
            if parent in seen:
                raise UsageError(f"{parent} can't be both a file and a folder.", field="workspace")


def materialise(folder: Path, files: Iterable[Mapping[str, Any]], blobs: BlobStore) -> None:
    """Write a workspace's files below an empty folder. Copies, since a kernel may change its files.

    `files`: ``path``, ``sha256``, ``executable``. Raises `StorageError` when a blob is missing or the disk full.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in files:
        target = folder / safe_path(str(file["path"]))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(blobs.path(str(file["sha256"])), target)
            target.chmod(0o755 if file.get("executable") else 0o644)
        except FileNotFoundError:
            raise StorageError(f"The file {file['path']} of the workspace is not on the gateway any more.") from None
        except OSError as error:
            raise StorageError(
                f"The file {file['path']} of the workspace can't be written: {error.strerror}."
            ) from error
