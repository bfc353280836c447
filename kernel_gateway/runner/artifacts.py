"""Files that a run produced: found by glob below the working folder, copied out, and told as events."""

from __future__ import annotations

import fnmatch
import hashlib
import mimetypes
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from ..events import EventSink, EventType

_COPY_BYTES = 1 << 20


def find_files(folder: Path, globs: Sequence[str], exclude: Path | None = None) -> Iterator[tuple[Path, str]]:
    """Files below `folder` that match a glob, with their paths relative to it, each once, sorted.

    A folder that matches stands for everything in it. Links to folders are not followed and links to files that
    lie outside are left out, since a program could make them lead anywhere; so is `exclude`, where results go.
    """
    root = folder.resolve()
    exclude = exclude and exclude.resolve()
    patterns = [PurePosixPath(glob).parts or ("*",) for glob in globs]
    found: dict[str, Path] = {}
    for base, folders, files in os.walk(root):
        here = Path(base).relative_to(root).parts
        folders[:] = [
            name
            for name in folders
            if any(_may_hold((*here, name), pattern) for pattern in patterns) and Path(base, name) != exclude
        ]
        for name in files:
            path = Path(base, name)
            if any(_fits((*here, name), pattern) for pattern in patterns) and _is_inside(path, root):
                found[path.relative_to(root).as_posix()] = path
    for relative in sorted(found):
        yield found[relative], relative


def _fits(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a path, in parts, matches a glob, or lies in a folder that does. ``**`` is any number of folders."""
    if not pattern:
        return True
    if not path:
        return False
    if pattern[0] == "**":
        return _fits(path, pattern[1:]) or _fits(path[1:], pattern)
    return fnmatch.fnmatchcase(path[0], pattern[0]) and _fits(path[1:], pattern[1:])


def _may_hold(folder: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether something below a folder may match, so that it is worth a look."""
    if not pattern or not folder or pattern[0] == "**":
        return True
    return fnmatch.fnmatchcase(folder[0], pattern[0]) and _may_hold(folder[1:], pattern[1:])


def _is_inside(path: Path, root: Path) -> bool:
    try:
        return path.is_file() and path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a loop of links
        return False


def collect(
    sink: EventSink,
    folder: Path,
    globs: Sequence[str],
    target: Path,
    *,
    exclude: Path,
    enough: Callable[[], bool] = lambda: False,
    rename: Callable[[str], str] = str,
) -> list[str]:
    """Copy matching files below `target` and append an ``artifact`` event for each.

    `rename` masks secrets in a path: the copy and the event get what it gives. Returns remarks for the log: globs that
    match nothing, files that could not be read, and files left out since `enough` said to stop.
    """
    remarks = [f"No file matches the artifact glob {glob!r}." for glob in globs if not _matches(folder, glob, exclude)]
    late = 0
    taken: set[str] = set()
    for path, original in find_files(folder, globs, exclude):
        name = _free_name(rename(original), taken)
        try:
            copied = _copy(path, target / PurePosixPath(name), enough)
        except OSError as error:
            remarks.append(f"The artifact {name} could not be copied: {error.strerror}.")
            continue
        if copied is None:
            late += 1
            continue
        digest, size = copied
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        sink.append(EventType.ARTIFACT, path=name, sha256=digest, size=size, media_type=media_type, cell=None)
    if late:
        remarks.append(f"{late} artifacts were left out, since the run was cancelled.")
    return remarks


def _matches(folder: Path, glob: str, exclude: Path) -> bool:
    return next(find_files(folder, [glob], exclude), None) is not None


def check_glob(glob: str) -> str | None:
    """What is wrong with an artifact glob, as a sentence, or None. Absolute ones and ``..`` would leave the folder."""
    if not glob or PurePosixPath(glob).is_absolute() or ".." in PurePosixPath(glob).parts:
        return f"The artifact glob {glob!r} must be relative to the working folder and must not contain '..'."
    return None


def _free_name(name: str, taken: set[str]) -> str:
    """The name, or, if another file has it after masking, one with a number before its suffix."""
    path, number = PurePosixPath(name), 1
    while name in taken:
        number += 1
        name = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
    taken.add(name)
    return name


def _copy(source: Path, target: Path, enough: Callable[[], bool]) -> tuple[str, int] | None:
    """Copy a file; its digest and size, or None, and no copy, if `enough` said to stop."""
    if enough():
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_COPY_BYTES):
            if enough():
                target.unlink()
                return None
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
    shutil.copymode(source, target)
    return digest.hexdigest(), size


def stamp(path: Path) -> tuple[int, int] | None:
    """What tells whether a file was written anew: its time and size; None if there is none.

    A link or a device is none: it could lead anywhere, and to no end.
    """
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None
