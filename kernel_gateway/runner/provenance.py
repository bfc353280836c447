"""Where a run came from: the git commit, the Jenkins build, and the packages of the kernel's environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

GIT_SECONDS = 5.0
"""How long one git command may take; a slow disk must not hold up a run."""

_GIT_FOLDER_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")

_BUILD_VARIABLES = {
    "job": "JOB_NAME",
    "number": "BUILD_NUMBER",
    "url": "BUILD_URL",
    "tag": "BUILD_TAG",
    "node": "NODE_NAME",
    "executor": "EXECUTOR_NUMBER",
    "stage": "STAGE_NAME",
    "commit": "GIT_COMMIT",
    "branch": "GIT_BRANCH",
    "branch_name": "BRANCH_NAME",
    "change": "CHANGE_ID",
    "change_url": "CHANGE_URL",
    "remote": "GIT_URL",
    "jenkins": "JENKINS_URL",
}
_URLS = frozenset({"url", "change_url", "remote", "jenkins"})


def may_be_in_repository(folder: Path) -> bool:
    """Whether git has anything to say of a folder: one without a ``.git`` in it or above is not worth a process."""
    folder = folder.absolute()
    return any((above / ".git").exists() for above in (folder, *folder.parents))


def git_state(folder: Path) -> dict[str, Any] | None:
    """The git state of a working folder, or None where git or a repository is missing or doesn't answer.

    ``commit`` (hexadecimal, null before the first), ``branch`` (null when detached), ``remote`` (without
    credentials, null without one), ``dirty`` (tracked files differ; null when that took too long to find out).
    Untracked files don't count: a run's own results are often among them.
    """
    if not may_be_in_repository(folder):
        return None
    import subprocess

    state: dict[str, Any] = {"commit": None, "branch": None, "remote": None, "dirty": None}
    try:
        status = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
        if status is None:
            return None
        lines = status.splitlines()
        heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
        state["commit"] = _unless(heads.get("branch.oid"), "(initial)")
        state["branch"] = _unless(heads.get("branch.head"), "(detached)")
        state["dirty"] = any(not line.startswith("#") for line in lines)
    except subprocess.TimeoutExpired:  # a huge working tree on a slow disk: the commit is told all the same
        try:
            commit = _git(folder, "rev-parse", "HEAD")
            branch = _git(folder, "symbolic-ref", "--quiet", "--short", "HEAD")
        except subprocess.TimeoutExpired:
            return None
        state["commit"] = commit.strip() if commit else None
        state["branch"] = branch.strip() if branch else None
    try:
        remotes = _git(folder, "config", "--get-regexp", r"^remote\..*\.url$") or ""
    except subprocess.TimeoutExpired:
        remotes = ""
    urls = dict(line.split(" ", 1) for line in remotes.splitlines() if " " in line)
    if urls:
        state["remote"] = without_credentials(urls.get("remote.origin.url") or next(iter(urls.values())))
    return state


def _git(folder: Path, *arguments: str) -> str | None:
    """What a git command prints; None when it fails. Raises `subprocess.TimeoutExpired`."""
    import subprocess

    environ = {name: value for name, value in os.environ.items() if name not in _GIT_FOLDER_VARIABLES}
    # Reading must neither take locks nor run what the repository's own configuration names.
    environ |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            timeout=GIT_SECONDS,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _unless(value: str | None, placeholder: str) -> str | None:
    return None if value == placeholder else value


def without_credentials(url: str) -> str:
    """A URL without user name and password; a bare SSH user (``git@host``) stays."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return re.sub(r"//[^/@\s]*@", "//", url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url
    if parts.scheme in ("ssh", "git+ssh") and ":" not in user:
        return url
    return urlunsplit(parts._replace(netloc=host))


def jenkins_build(environ: Mapping[str, str]) -> dict[str, Any] | None:
    """The Jenkins build that `environ` tells of, or None outside one: ``job``, ``number`` and what else is set."""
    if not environ.get("JOB_NAME") or not environ.get("BUILD_NUMBER"):
        return None
    build: dict[str, Any] = {}
    for key, variable in _BUILD_VARIABLES.items():
        if value := environ.get(variable):
            build[key] = without_credentials(value) if key in _URLS else value
    if build["number"].isdecimal():
        build["number"] = int(build["number"])
    return build


def installed_packages(python: str) -> dict[str, str]:
    """Name → version of what is installed for an interpreter, sorted; names as PyPI normalises them.

    Only folder names are read, so that it costs milliseconds and starts nothing. Empty when `python` is no
    interpreter of a layout that is known. The first of two versions on the path counts, as for an import.
    """
    from shutil import which

    path = which(python)
    if path is None:
        return {}
    found: dict[str, str] = {}
    for folder in _package_folders(Path(path)):
        for name, version in _distributions(folder):
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return dict(sorted(found.items()))


def _package_folders(python: Path) -> Iterator[Path]:
    """Folders of packages in the order of the interpreter's path; they need not exist."""
    prefix = python.absolute().parent.parent
    config = _pyvenv_config(prefix)
    if config is None:
        real = python.resolve()
        yield from _user_folders(real)
        yield from _prefix_folders(python.absolute().parent.parent, real)
        if real.parent.parent != prefix:
            yield from _prefix_folders(real.parent.parent, real)
        return
    yield from _prefix_folders(prefix, python.resolve())
    if config.get("include-system-site-packages") == "true" and (home := config.get("home")):
        real = python.resolve()
        yield from _user_folders(real)
        yield from _prefix_folders(Path(home).parent, real)
        if real.parent.parent != Path(home).parent:
            yield from _prefix_folders(real.parent.parent, real)


def _pyvenv_config(prefix: Path) -> dict[str, str] | None:
    try:
        text = (prefix / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {
        key.strip().lower(): value.strip().lower() if key.strip() != "home" else value.strip() for key, value in pairs
    }


def _version(real: Path) -> str:
    """``python3.11`` of an interpreter's resolved path, or a pattern where the name doesn't say."""
    match = re.match(r"(?:python|pypy)\d+\.\d+t?", real.name)
    return match[0] if match else "py*[0-9].[0-9]*"


def _prefix_folders(prefix: Path, real: Path) -> Iterator[Path]:
    version = _version(real)
    for lib in ("lib", "lib64"):
        if lib == "lib64" and (prefix / lib).is_symlink():
            continue
        yield from (prefix / "local" / lib).glob(f"{version}/dist-packages")  # Debian's pip, below /usr
        yield from (prefix / lib).glob(f"{version}/site-packages")
        yield prefix / lib / "python3" / "dist-packages"  # Debian's packages


def _user_folders(real: Path) -> Iterator[Path]:
    if os.environ.get("PYTHONNOUSERSITE"):
        return
    try:
        base = Path(os.environ.get("PYTHONUSERBASE") or Path.home() / ".local")
    except RuntimeError:
        return
    yield from (base / "lib").glob(f"{_version(real)}/site-packages")


def _distributions(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and version of each distribution in a folder, by its ``dist-info`` or ``egg-info``."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for entry in names:
        stem, _, suffix = entry.rpartition(".")
        if suffix not in ("dist-info", "egg-info"):
            continue
        name, dash, version = stem.partition("-")
        if dash:
            yield name, re.sub(r"-py\d+(\.\d+)?$", "", version) if suffix == "egg-info" else version
        elif suffix == "egg-info" and (told := _egg_version(folder / entry)):
            yield name, told


def _egg_version(path: Path) -> str | None:
    """The version in an egg's metadata, where its folder's name doesn't tell."""
    try:
        text = (path / "PKG-INFO" if path.is_dir() else path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"^Version:[ \t]*(\S+)", text, re.MULTILINE)
    return match[1] if match else None
