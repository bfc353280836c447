"""Which files go with a run to a gateway, under which names, and their digests.

Names are relative to the workspace's root with ``/`` between; the gateway lays the files out below an empty
folder in the same way. Nothing outside the root is ever sent: links that lead out of it are left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..errors import UsageError
from ..runner.provenance import may_be_in_repository

READ = 1 << 20
HASHING_THREADS = min(8, os.cpu_count() or 1)
GIT_SECONDS = 60.0


class WorkspaceFile(NamedTuple):
    """A file as it was when it was hashed. ``file`` is where it lies, ``path`` its name in the workspace."""

    path: str
    file: Path
    sha256: str
    size: int
    executable: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As a request carries it."""
        return {"path": self.path, "sha256": self.sha256, "size": self.size, "executable": self.executable}


class Found(NamedTuple):
    """Files by their names, and sentences for the user about what is not sent, and why."""

    files: dict[str, Path]
    remarks: list[str]


def workspace_root(source: Path | None, cwd: Path, inputs: Sequence[str]) -> Path:
    """The folder that names are relative to.

    It is the source's folder; with ``--input`` globs, which start at the current folder as in a shell, it is the
    innermost folder that holds both. Without a source file it is the current folder.
    """
    if source is None:
        return cwd.resolve()
    folder = Path(os.path.abspath(source)).parent.resolve()
    if not inputs:
        return folder
    return Path(os.path.commonpath([folder, cwd.resolve()]))


def find_files(root: Path, inputs: Sequence[str] = (), *, cwd: Path | None = None) -> Found:
    """The files to send: those that ``inputs`` match, from ``cwd`` on; without any, what git tracks below ``root``.

    A folder that matches stands for all in it. Raises `UsageError` for a glob that is absolute, holds ``..`` or
    matches nothing.
    """
    root = root.resolve()
    found = Found({}, [])
    if inputs:
        base = (cwd or root).resolve()
        for glob in inputs:
            _check_glob(glob)
            before = len(found.files) + len(found.remarks)
            _add(found, root, sorted(_matches(base, glob)))
            if len(found.files) + len(found.remarks) == before and not any(_matches(base, glob)):
                raise UsageError(f"--input {glob!r} matches no file below {base}.", field="input")
    else:
        tracked = _tracked(root)
        if isinstance(tracked, str):
            found.remarks.append(f"{tracked}: only the source is sent. Name the files that it needs with --input.")
        else:
            _add(found, root, tracked)
    _tell_clashes(found)
    return found


def _check_glob(glob: str) -> None:
    path = PurePosixPath(glob)
    if not glob or path.is_absolute() or ".." in path.parts:
        raise UsageError(
            f"--input {glob!r} must be relative to the current folder, without '..'; "
            "run the command in a folder above the files.",
            field="input",
        )


def _matches(base: Path, glob: str) -> Iterator[Path]:
    for match in base.glob(glob.removeprefix("./").rstrip("/") or "*"):
        if match.is_dir() and not match.is_symlink():
            for folder, folders, names in os.walk(match):
                folders[:] = [name for name in folders if name != ".git"]
                yield from (Path(folder, name) for name in [*names, *_links(folder, folders)])
        else:
            yield match


def _links(folder: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if os.path.islink(os.path.join(folder, name))]


def _tracked(root: Path) -> list[Path] | str:
    """What git tracks below a folder, as it lies on disk; why that can't be told as a beginning of a sentence."""
    if not may_be_in_repository(root):
        return f"{root} is in no git repository"
    import subprocess

    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(root), "ls-files", "-z", "--recurse-submodules"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=environ, timeout=GIT_SECONDS, check=False
        )
    except FileNotFoundError:
        return "There is no git here"
    except (OSError, subprocess.TimeoutExpired):
        return "git does not answer"
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if not said or "not a git repository" in said[0]:
            return f"{root} is in no git repository"
        return f"git can't list the files of {root} ({said[0]})"
    return [root / os.fsdecode(name) for name in sorted(set(done.stdout.split(b"\0"))) if name]


def _add(found: Found, root: Path, paths: Iterable[Path]) -> None:
    """Add what can be sent; a remark for each that can't, and none for tracked files that are deleted."""
    for path in paths:
        name = path.relative_to(root).as_posix()
        if name in found.files:
            continue
        problem = _problem(root, path, name)
        if problem is None:
            found.files[name] = path
        elif problem:
            remark = f"{name!a} is not sent: {problem}."
            if remark not in found.remarks:
                found.remarks.append(remark)


def _problem(root: Path, path: Path, name: str) -> str | None:
    """Why a file can't be sent; None if it can, empty if it isn't there or is a plain folder."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if "\\" in name or not all(character >= " " and character != "\x7f" for character in name):
        return "its name holds a backslash or a control character"
    try:
        if not path.resolve(strict=True).is_relative_to(root):
            return "the link leads out of the folder that is sent"
        kind = path.stat()
    except FileNotFoundError:
        return "the link leads nowhere" if path.is_symlink() else ""
    except (OSError, RuntimeError):
        return "it can't be read"
    if stat.S_ISDIR(kind.st_mode):
        return "it is a link to a folder" if path.is_symlink() else ""
    if not stat.S_ISREG(kind.st_mode):
        return "it is no file but a socket, pipe or device"
    return None if os.access(path, os.R_OK) else "it can't be read"


def _tell_clashes(found: Found) -> None:
    """Names that differ only in case: the gateway keeps them apart, a colleague's computer may not."""
    seen: dict[str, str] = {}
    for name in found.files:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            found.remarks.append(f"{other!a} and {name!a} differ only in case; both are sent.")


def hash_files(
    files: dict[str, Path], tell: Callable[[int], None] | None = None, threads: int = HASHING_THREADS
) -> list[WorkspaceFile]:
    """The files with digest and size, sorted by name. ``tell`` takes the bytes done since the last call.

    A file that goes meanwhile is left out. Raises `UsageError` for one that can't be read.
    """
    if not files:
        return []
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=threads) as pool:
        hashed = pool.map(lambda item: hash_file(item[0], item[1], tell), sorted(files.items()))
        return [file for file in hashed if file is not None]


def hash_file(name: str, path: Path, tell: Callable[[int], None] | None = None) -> WorkspaceFile | None:
    """One file with digest and size; None if it is gone. Raises `UsageError` when it can't be read."""
    import hashlib

    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("rb", buffering=0) as file:
            executable = bool(os.fstat(file.fileno()).st_mode & stat.S_IXUSR)
            while content := file.read(READ):
                digest.update(content)
                size += len(content)
                if tell:
                    tell(len(content))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.", field="input") from error
    return WorkspaceFile(name, path, digest.hexdigest(), size, executable)
