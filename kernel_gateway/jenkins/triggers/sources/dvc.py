"""``dvc``: a path that DVC tracks, in a working folder or at a revision of a git repository, here or elsewhere.

The digest stands in git: in ``PATH.dvc`` or, of a stage's output, in ``dvc.lock`` (both YAML, outs with ``path`` and
``md5``; what a path starts from, ``wdir``, stands in ``dvc.yaml``). Only these files are read, so that neither the
package DVC nor the data's own storage is needed.
"""

from __future__ import annotations

import hashlib
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
        for folder, out in _outs(name, content):
            if posixpath.normpath(posixpath.join(posixpath.dirname(name), folder, str(out.get("path")))) != path:
                continue
            digest = out.get("md5") or out.get("etag") or out.get("checksum") or _digest_of_files(out.get("files"))
            if digest:
                files, size = out.get("nfiles"), out.get("size")
                details = f", {files:,} file{'' if files == 1 else 's'}" if isinstance(files, int) else ""
                return str(digest), details + (f", {size:,} bytes" if isinstance(size, int) else "")
    return None


def _locks(path: str) -> Iterator[str]:
    """Where the ``dvc.lock`` may be that knows a path: in each folder above it."""
    folder = posixpath.dirname(path)
    while folder:
        yield f"{folder}/dvc.lock"
        folder = posixpath.dirname(folder)
    yield "dvc.lock"


def _outs(name: str, content: Read) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The outs of a ``.dvc`` file or a ``dvc.lock``, each with the folder that its path starts from."""
    document = _mapping(name, content)
    stages = document.get("stages")
    if not isinstance(stages, dict):
        yield from ((str(document.get("wdir") or ""), out) for out in _mappings(document.get("outs")))
        return
    # The lock file does not repeat where a stage works.
    told = _mapping(posixpath.join(posixpath.dirname(name), "dvc.yaml"), content).get("stages") if stages else None
    for stage, part in stages.items():
        if isinstance(part, dict):
            folder = _folder(told if isinstance(told, dict) else {}, str(stage))
            yield from ((folder, out) for out in _mappings(part.get("outs")))


def _folder(stages: Mapping[str, Any], name: str) -> str:
    """``wdir`` of a stage; ``name@item`` is one of those that ``foreach`` and ``matrix`` make of a stage."""
    found = stages.get(name) or stages.get(name.partition("@")[0])
    if not isinstance(found, dict):
        return ""
    inner = found.get("do")
    return str(found.get("wdir") or (inner.get("wdir") if isinstance(inner, dict) else None) or "")


def _digest_of_files(files: Any) -> str | None:
    """Of a folder whose versions a remote keeps (``version_aware``), which has no digest of its own."""
    parts = sorted(
        str((one.get("relpath"), one.get("md5") or one.get("etag") or one.get("version_id")))
        for one in _mappings(files)
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest() if parts else None


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())


def _mapping(name: str, content: Read) -> Mapping[str, Any]:
    """A file of the repository; empty where it is not there, or holds something else."""
    import yaml

    written = content(name)
    try:
        document = yaml.safe_load(written) if written is not None else None
    except (yaml.YAMLError, ValueError) as error:
        raise Unreadable(f"{name} is no YAML: {' '.join(str(error).split())[:150]}") from error
    return document if isinstance(document, dict) else {}


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
