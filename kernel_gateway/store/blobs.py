"""Content addressed by its SHA-256: large outputs, artifacts, and later the files of a workspace."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import StorageError


class BlobStore:
    """A folder of blobs, ``ab/abcdef…``. Writing the same content twice keeps one copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        """Keep content; returns its digest. Raises `StorageError` when it can't be written."""
        # Imported here, for a run on a gateway keeps no blob of its own.
        import hashlib
        import tempfile

        digest = hashlib.sha256(content).hexdigest()
        path = self.path(digest)
        try:
            os.utime(path)  # used again, so retention leaves it alone for a while
            return digest
        except (FileNotFoundError, NotADirectoryError):
            pass
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
                temporary = file.name
                file.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except OSError as error:
            if temporary is not None and os.path.exists(temporary):
                os.unlink(temporary)
            raise StorageError(f"A blob can't be written to {self.folder}: {error.strerror}.") from error
        return digest

    def get(self, digest: str) -> bytes:
        """A blob's content. Raises KeyError if there is none of that digest."""
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError:
            raise KeyError(digest) from None

    def path(self, digest: str) -> Path:
        """Where a blob lies, or would. Raises ValueError for anything but a digest: it becomes a path."""
        if len(digest) != 64 or not all(character in "0123456789abcdef" for character in digest):
            raise ValueError(f"{digest!r} is not a SHA-256 digest")
        return self.folder / digest[:2] / digest
