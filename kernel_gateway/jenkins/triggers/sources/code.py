"""``code``: paths in a git repository, since the last training: by git's object ids, so that only content counts."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..evidence import Context, Evidence, Kind, Unreadable
from ..values import Schema, model, text, texts

GIT_SECONDS = 60.0

_FOLDER_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")


def read(settings: Mapping[str, Any], context: Context) -> Evidence:
    """What the paths hold at a revision; with ``since`` compared with what the model was trained from."""
    folder = Path(context.folder, settings.get("repo", ".")).expanduser()
    if not folder.is_dir():
        raise Unreadable(f"there is no folder {folder}")
    rev = settings.get("rev", "HEAD")
    commit = git_or_unreadable(folder, "rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}").strip()
    objects = _objects(folder, commit, settings["code"])
    if not any(objects.values()):
        raise Unreadable(f"{rev} has none of {', '.join(settings['code'])}")
    token = hashlib.sha256(repr(sorted(objects.items())).encode()).hexdigest()
    shown, data = f"commit {commit[:8]}", {"commit": commit}
    if "since" not in settings:
        old = str((context.basis.data if context.basis else {}).get("commit") or "")
        return Evidence(token, shown, why=_changes(folder, old, commit, settings["code"]), data=data)
    trained = context.catalogue().commit_of(settings["since"])
    if trained is None:
        raise Unreadable(f"the run behind {settings['since']} names no git commit")
    if git(folder, "cat-file", "-e", f"{trained}^{{commit}}") is None:
        raise Unreadable(f"the commit {trained[:12]} of {settings['since']} is not in {folder}; fetch its history")
    differs = _objects(folder, trained, settings["code"]) != objects
    why = f"{settings['since']} comes from commit {trained[:8]}"
    if differs:
        why += f": {_changes(folder, trained, commit, settings['code'])}"
    return Evidence(f"{token} {trained}", shown, differs, why, data)


def _objects(folder: Path, commit: str, paths: list[str]) -> dict[str, str]:
    """Path → what git's tree of a commit says of it, with the ids of the contents; empty where it has nothing."""
    return {path: git_or_unreadable(folder, "ls-tree", "-z", commit, "--", path) for path in paths}


def _changes(folder: Path, old: str, new: str, paths: list[str]) -> str:
    if not old or old == new:
        return ""
    names = git(folder, "diff", "--name-only", "-z", old, new, "--", *paths)
    if not names:
        return ""
    changed = names.decode("utf-8", "replace").strip("\0").split("\0")
    return f"changed: {', '.join(changed[:3])}" + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")


def git(folder: Path, *arguments: str) -> bytes | None:
    """What a git command prints, or None when it says no. Raises `Unreadable` when git can't be run or hangs."""
    done = _run(folder, *arguments)
    return done.stdout if done.returncode == 0 else None


def git_or_unreadable(folder: Path, *arguments: str) -> str:
    """What a git command prints. Raises `Unreadable` with git's words."""
    done = _run(folder, *arguments)
    if done.returncode != 0:
        words = " ".join(done.stderr.decode("utf-8", "replace").split())[:200]
        raise Unreadable(f"git {arguments[0]} in {folder}: {words or 'there is no ' + arguments[-1]}")
    return done.stdout.decode("utf-8", "replace")


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environ = {name: value for name, value in os.environ.items() if name not in _FOLDER_VARIABLES}
    # Reading takes no locks, asks nobody for a password, and runs nothing that the repository names.
    environ |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environ,
            timeout=GIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unreadable(f"git {arguments[0]} took longer than {GIT_SECONDS:g} s") from None
    except OSError as error:
        raise Unreadable(f"git can't be run: {error.strerror}") from error


def revision(value: Any) -> str:
    """A revision of git; one that begins with a dash would be an option."""
    if text(value).startswith("-"):
        raise ValueError(f"is {value!r}; no revision begins with a dash")
    return str(value)


KIND = Kind(
    Schema(texts, {"repo": text, "rev": revision, "since": model}),
    lambda settings: "code " + ", ".join(settings["code"]) + (f" at {settings['rev']}" if "rev" in settings else ""),
    read,
)
