"""``data``: files, folders and URLs, by their content's SHA-256, or by what a store says of them (ETag, checksum)."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..evidence import Context, Evidence, Kind, Unreadable
from ..values import Schema, choice, texts

MOST_FILES = 100_000
REMEMBERED = 2_000
"""Files whose digests are kept until the next check, so that those that are as they were need not be read again."""

RACY_SECONDS = 2.0
"""A file that was changed a moment ago may change again without a change of its time."""

CHUNK = 1 << 20
STAMPS = ("ETag", "etag", "md5Hash", "md5", "Content-MD5", "content_md5", "checksum", "crc32c")
WEAK_STAMPS = ("Last-Modified", "LastModified", "last_modified", "mtime", "updated", "modified")
_URL = re.compile(r"[a-z][a-z0-9+.-]+::?//|[a-z0-9]+::", re.IGNORECASE)


def is_url(place: str) -> bool:
    """Whether a place is fsspec's to open: ``s3://…``, ``https://…``, ``simplecache::…``."""
    return _URL.match(place) is not None


def shown_place(place: str) -> str:
    """A place without a user and a password."""
    return re.sub(r"//[^/@]*@", "//", place)


def read(settings: Mapping[str, Any], context: Context) -> Evidence:
    """The digests of all files, as one."""
    known = dict((context.latest.data if context.latest else {}).get("files") or {})
    found: dict[str, str] = {}
    notes: dict[str, list[Any]] = {}
    for place in settings["data"]:
        content = settings.get("by") == "content"
        if is_url(place):
            found |= _remote(place, content)
        else:
            for path in local_files(place, context.folder):
                # A name need not be UTF-8, and what it is kept in is.
                name = os.fsencode(os.path.relpath(path, context.folder)).decode("utf-8", "backslashreplace")
                stat = path.stat()
                mark = [stat.st_size, stat.st_mtime_ns]
                remembered = known.get(name)
                if remembered and remembered[:2] == mark:
                    found[name] = remembered[2]
                else:
                    found[name] = file_digest(path)
                if context.now - stat.st_mtime > RACY_SECONDS:
                    notes[name] = [*mark, found[name]]
        if len(found) > MOST_FILES:
            raise Unreadable(f"{shown_place(place)} holds more than {MOST_FILES:,} files. Name fewer of them.")
    token = hashlib.sha256(json.dumps(sorted(found.items())).encode()).hexdigest()
    count = "1 file" if len(found) == 1 else f"{len(found):,} files"
    return Evidence(
        token,
        f"{count}, {token[:8]}",
        why=_difference(known_digests(context), found),
        data={"files": notes if len(notes) <= REMEMBERED else {}, "digests": _short(found)},
    )


def local_files(place: str, folder: str) -> Iterator[Path]:
    """The files that a path, a folder or a pattern means, in order. Raises `Unreadable` when there are none."""
    place = os.path.expanduser(place)
    paths = [os.path.join(folder, place)]
    if glob.has_magic(place) and not os.path.exists(paths[0]):
        paths = sorted(glob.glob(os.path.join(glob.escape(folder), place), recursive=True))
    files = [file for path in paths for file in _below(Path(path))]
    if not files:
        raise Unreadable(f"there is no file {place} in {folder}")
    yield from files


def _below(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return sorted(
            file
            for file in path.rglob("*")
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
    return [path] if path.is_file() else []


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_digests(context: Context) -> dict[str, str] | None:
    """Name → first characters of the digest, of what was acted on; None where that was not kept."""
    kept = (context.basis.data if context.basis else {}).get("digests")
    return dict(kept) if kept is not None else None


def _short(found: Mapping[str, str]) -> dict[str, str] | None:
    return {name: digest[:16] for name, digest in found.items()} if len(found) <= REMEMBERED else None


def _difference(before: dict[str, str] | None, found: Mapping[str, str]) -> str:
    """What is new, changed and gone, in words; empty where that is not known."""
    now = _short(found)
    if before is None or now is None or before == now:
        return ""
    kinds = {
        "new": [name for name in now if name not in before],
        "changed": [name for name in now if name in before and now[name] != before[name]],
        "gone": [name for name in before if name not in now],
    }
    return "; ".join(f"{kind}: {_listed(names)}" for kind, names in kinds.items() if names)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(shown_place(name) for name in names[:3]) + more


def _remote(place: str, content: bool) -> dict[str, str]:
    """Name → stamp of what a URL means. Raises as `remote_files`."""
    files, infos = remote_files(place)
    try:
        return {_name(files, info): _stamp(files, info, content) for info in infos}
    except FileNotFoundError:
        raise Unreadable(f"there is no file at {shown_place(place)}") from None


def remote_files(place: str) -> tuple[Any, list[Mapping[str, Any]]]:
    """The fsspec file system of a URL, and what it says of the files that the URL means: one, a folder's, a pattern's.

    They are in the order of their names. Raises `Unreadable`, or what the file system raises.
    """
    try:
        import fsspec
    except ModuleNotFoundError:
        raise Unreadable('URLs take fsspec: pip install "kernel-gateway[triggers]"') from None
    try:
        files, path = fsspec.core.url_to_fs(place)
    except ImportError as error:
        raise Unreadable(f"{shown_place(place)}: {error}") from error
    try:
        files.invalidate_cache()
        if glob.has_magic(path):
            infos = list(files.glob(path, detail=True).values())
        else:
            info = files.info(path)
            infos = list(files.find(path, detail=True).values()) if info.get("type") == "directory" else [info]
        infos = [info for info in infos if info.get("type") != "directory"]
        if not infos:
            raise Unreadable(f"there is no file at {shown_place(place)}")
        return files, sorted(infos, key=lambda info: str(info["name"]))
    except FileNotFoundError:
        raise Unreadable(f"there is no file at {shown_place(place)}") from None


def _name(files: Any, info: Mapping[str, Any]) -> str:
    return shown_place(str(files.unstrip_protocol(info["name"])))


def _stamp(files: Any, info: Mapping[str, Any], content: bool) -> str:
    """What tells one content from another: the store's own checksum, or else the content's."""
    if not content:
        for name in STAMPS:
            if info.get(name):
                return f"{name.lower()} {info[name]}"
        for name in WEAK_STAMPS:
            if info.get(name) and info.get("size") is not None:
                return f"{info['size']} bytes of {info[name]}"
    digest = hashlib.sha256()
    with files.open(info["name"], "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


KIND = Kind(
    Schema(texts, {"by": choice("stamp", "content")}),
    lambda settings: "data " + ", ".join(shown_place(place) for place in settings["data"]),
    read,
)
