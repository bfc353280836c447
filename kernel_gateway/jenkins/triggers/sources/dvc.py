"""``dvc``: a path that DVC tracks, in a working folder or at a revision of a git repository, here or elsewhere.

The digest stands in git: in ``PATH.dvc`` or, of a stage's output, in ``dvc.lock`` (both YAML, outs with ``path`` and
``md5``). Only these files are read, so that neither the package DVC nor the data's own storage is needed.
"""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..evidence import Context, Evidence, Kind, Unreadable
from ..values import Schema, text
from .code import git, git_or_unreadable, revision
from .data import shown_place

Read = Callable[[str], bytes | None]


def read(settings: Mapping[str, Any], context: Context) -> Evidence:
    """The digest that DVC has written down for a path."""
    repo, rev, path = settings.get("repo", "."), settings.get("rev"), posixpath.normpath(settings["dvc"])
    if path.startswith(("/", "..")):
        raise Unreadable(f"{settings['dvc']} leaves the repository; name the path from its top on")
    folder = Path(context.folder, repo).expanduser()
    if folder.is_dir():
        if rev is None:
            found = tracked(path, lambda name: _file(folder / name))
        else:
            found = tracked(path, lambda name: git(folder, "show", f"{rev}:./{name}"))
            if found is None:
                git_or_unreadable(folder, "rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}")
    else:
        found = _elsewhere(repo, rev or "HEAD", path)
    if found is None:
        at = f" at {rev}" if rev else ""
        raise Unreadable(f"DVC tracks no {path} in {shown_place(repo)}{at}: no {path}.dvc, no output in dvc.lock")
    digest, details = found
    return Evidence(digest, f"{digest[:8]}{details}")


def tracked(path: str, content: Read) -> tuple[str, str] | None:
    """The digest of a path and its size in words, or None. ``content`` gives a file of the repository, or None."""
    for name in (f"{path}.dvc", *_locks(path)):
        written = content(name)
        for out in _outs(written, name) if written is not None else ():
            if posixpath.normpath(posixpath.join(posixpath.dirname(name), str(out.get("path")))) != path:
                continue
            digest = out.get("md5") or out.get("etag") or out.get("checksum")
            if digest:
                files, size = out.get("nfiles"), out.get("size")
                details = f", {files:,} files" if isinstance(files, int) else ""
                return str(digest), details + (f", {size:,} bytes" if isinstance(size, int) else "")
    return None


def _locks(path: str) -> Iterator[str]:
    """Where the ``dvc.lock`` may be that knows a path: in each folder above it."""
    folder = posixpath.dirname(path)
    while folder:
        yield f"{folder}/dvc.lock"
        folder = posixpath.dirname(folder)
    yield "dvc.lock"


def _outs(content: bytes, name: str) -> Iterator[Mapping[str, Any]]:
    import yaml

    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError) as error:
        raise Unreadable(f"{name} is no YAML: {' '.join(str(error).split())[:150]}") from error
    if not isinstance(document, dict):
        return
    stages = document.get("stages")
    for part in stages.values() if isinstance(stages, dict) else [document]:
        for out in (part.get("outs") if isinstance(part, dict) else None) or ():
            if isinstance(out, dict):
                yield out


def _file(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _elsewhere(repo: str, rev: str, path: str) -> tuple[str, str] | None:
    """As `tracked`, of a repository that git fetches: its one commit, without files that are not asked for."""
    with tempfile.TemporaryDirectory(prefix="kernel-gateway-dvc-") as name:
        folder = Path(name)
        git_or_unreadable(folder, "init", "--quiet", "--bare")
        git_or_unreadable(
            folder, "fetch", "--quiet", "--depth", "1", "--filter", "blob:none", "--no-tags", "--", repo, rev
        )
        git_or_unreadable(folder, "config", "remote.origin.url", repo)
        git_or_unreadable(folder, "config", "remote.origin.promisor", "true")
        return tracked(path, lambda name: git(folder, "show", f"FETCH_HEAD:{name}"))


KIND = Kind(
    Schema(text, {"repo": text, "rev": revision}),
    lambda settings: (
        f"DVC's {settings['dvc']}"
        + (f" in {shown_place(settings['repo'])}" if "repo" in settings else "")
        + (f" at {settings['rev']}" if "rev" in settings else "")
    ),
    read,
)
