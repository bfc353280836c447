"""pip's requirements files, with all that they include and refer to.

`spec` uses them for requirements.txt and for the lists of requirements in other formats. Format:
https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import EnvironmentBuildError

LARGEST_FILE = 16 << 20
"""Bytes of an environment file, or of one that it includes; what is larger is none."""

_OPTION = re.compile(r"(-r|--requirement|-c|--constraint|-e|--editable)(?:\s+|=)?\s*(\S.*)")
_INDEX = re.compile(r"(-i|--index-url|--no-index)\b")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2")
_NOT_SOURCE = frozenset({".git", ".hg", ".venv", "venv", "__pycache__", "build", "dist", "node_modules", "kernel-runs"})
_LARGE = 1 << 20


@dataclass
class Told:
    """What lines of requirements say. ``parts`` is what their digest is made of: they themselves and the content behind
    local paths. ``files``: the files and folders that they refer to; ``editable``: folders that are used in place.
    """

    parts: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    editable: list[Path] = field(default_factory=list)
    has_hashes: bool = False
    has_index: bool = False


def read_text(file: Path) -> str:
    """An environment file's text. Raises `EnvironmentBuildError`."""
    try:
        # A device or a pipe could go on for ever.
        if file.exists() and not file.is_file():
            raise EnvironmentBuildError(f"The environment file {file} is no ordinary file.")
        if file.stat().st_size > LARGEST_FILE:
            raise EnvironmentBuildError(f"The environment file {file} is larger than {LARGEST_FILE >> 20} MiB.")
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise EnvironmentBuildError(f"The environment file {file} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise EnvironmentBuildError(f"The environment file {file} is not text in UTF-8; save it as that.") from None
    except ValueError:
        raise EnvironmentBuildError(f"{str(file)!r} can't be the name of an environment file.") from None


def tell(lines: Iterable[str], folder: Path) -> Told:
    """Read requirements as they stand in a file in `folder`, and the files that they include.

    Raises `EnvironmentBuildError` for an included file that can't be read.
    """
    told = Told()
    _tell(lines, folder, folder, told, set())
    return told


def tell_file(file: Path) -> Told:
    """The same for a whole requirements file."""
    told = Told()
    _tell(_logical_lines(read_text(file)), file.parent, file.parent, told, {file})
    return told


def included(line: str, folder: Path) -> Path | None:
    """The file on this machine that a line of a file in `folder` includes, if it includes one."""
    option = _OPTION.fullmatch(line.strip())
    if option is None or option[1] in ("-e", "--editable") or "://" in option[2]:
        return None
    return Path(os.path.normpath(folder / option[2].strip("\"'")))


def rooted(line: str, folder: Path) -> str:
    """A line for a file elsewhere: what it includes is named from the root."""
    inner = included(line, folder)
    option = _OPTION.fullmatch(line.strip())
    return line.strip() if inner is None or option is None else f"{option[1]} {inner}"


def _tell(lines: Iterable[str], folder: Path, base: Path, told: Told, seen: set[Path]) -> None:
    """``folder``: where included files are looked for; ``base``: where local packages are, as pip and uv do it."""
    for line in lines:
        told.parts.append(line)
        told.has_hashes |= "--hash" in line or "--require-hashes" in line
        told.has_index |= _INDEX.match(line) is not None
        if inner := included(line, folder):
            if inner not in seen:
                seen.add(inner)
                told.files.append(inner)
                _tell(_logical_lines(read_text(inner)), inner.parent, base, told, seen)
            continue
        option = _OPTION.fullmatch(line)
        if option is not None:
            tell_local(told, base, option[2], editable=True)
        elif line.startswith(("-f", "--find-links")):
            place = re.sub(r"^(-f|--find-links)[\s=]*", "", line)
            tell_local(told, base, place if "/" in place else f"./{place}", editable=False)
        elif not line.startswith("-"):
            tell_local(told, base, line.partition("@")[2] if "@" in line else line, editable=False)


def _logical_lines(text: str) -> Iterator[str]:
    """Lines of a requirements file, continued ones joined, without comments and blank ones."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        if stripped := re.sub(r"(^|\s)#.*$", "", line).strip():
            yield stripped


def tell_local(told: Told, folder: Path, requirement: str, *, editable: bool) -> None:
    """Add the content of a file or folder that a requirement names; nothing for names on an index."""
    name = re.sub(r"\[[^]]*\]$", "", re.split(r";|\s", requirement.strip(), maxsplit=1)[0].removeprefix("file://"))
    if not ("/" in name or name.startswith(".") or name.endswith(_ARCHIVES)) or "://" in name:
        return
    path = Path(os.path.normpath(folder / name))
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError):
        return  # the installer has its own words for that
    if kind == stat.S_IFREG:
        told.files.append(path)
        told.parts.append(_digest_of_file(path))
    elif kind == stat.S_IFDIR:
        told.files.append(path)
        # An editable package is run from its folder: only what its installation depends on counts.
        files = [path / name for name in ("pyproject.toml", "setup.py", "setup.cfg")] if editable else sources(path)
        for source in files:
            told.parts += _stamp(source, path)
        if editable:
            told.editable.append(path.resolve())
            told.parts.append(str(path.resolve()))


def _digest_of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EnvironmentBuildError(f"{path}, which is to be installed, can't be read: {error.strerror}.") from None


def sources(folder: Path) -> Iterator[Path]:
    """The files of a local package, without what is made from them or belongs to tools."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - _NOT_SOURCE)
        yield from (Path(root, name) for name in sorted(names) if not name.endswith((".pyc", ".pyo")))


def _stamp(file: Path, root: Path) -> Iterator[str]:
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            return  # to read a pipe could take for ever
        yield str(file.relative_to(root))
        is_large = status.st_size > _LARGE
        yield f"{status.st_size} {status.st_mtime_ns}" if is_large else hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return


def digest_of(*parts: str) -> str:
    """SHA-256 of some texts, in which it counts where one ends and the next begins."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()
