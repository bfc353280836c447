"""MIME bundles of events: values kept as blobs put back, and what people are told about them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from .text import size_text

Blobs = Callable[[str], bytes]
"""SHA-256 of a blob → its content. Raises OSError or KeyError where it is missing."""

METRICS_MIME = "application/vnd.kernel-gateway.metrics+json"
SCRAP_PREFIX = "application/scrapbook.scrap"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"

IMAGE_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg", "image/gif": "gif"}
"""Images that a browser shows, richest last in no particular order, by the suffix of their files."""


def is_json(mime: str) -> bool:
    """Whether nbformat keeps values of this type as JSON rather than text."""
    return mime == "application/json" or (mime.startswith("application/") and mime.endswith("+json"))


def restore(data: dict[str, Any], refs: dict[str, Any], blobs: Blobs) -> dict[str, Any]:
    """The bundle with its blobs put back as a notebook carries them; a missing one becomes a remark."""
    bundle = {mime: _notebook_value(mime, value) for mime, value in data.items()}
    for mime, ref in refs.items():
        try:
            bundle[mime] = _decode(blobs(ref["sha256"]), ref.get("encoding"))
        except (OSError, KeyError, ValueError):
            remark = f"[{mime} {size_text(ref.get('size') or 0)} could not be read back]"
            bundle["text/plain"] = f"{bundle.get('text/plain', '')}\n{remark}".strip()
    return bundle


def _decode(content: bytes, encoding: str | None) -> Any:
    if encoding == "base64":
        return base64.b64encode(content).decode("ascii") + "\n"
    if encoding == "json":
        return json.loads(content)
    return content.decode("utf-8", "replace")


def _notebook_value(mime: str, value: Any) -> Any:
    """nbformat wants text, or lines of text, unless the type is JSON."""
    if is_json(mime) or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return value
    return json.dumps(value, ensure_ascii=False)


def image_bytes(mime: str, data: dict[str, Any], refs: dict[str, Any], blobs: Blobs) -> bytes | None:
    """The image as a file holds it, or None where it can't be read."""
    try:
        if mime in refs:
            return blobs(refs[mime]["sha256"])
        value = data[mime]
        text = "".join(value) if isinstance(value, list) else str(value)
        return text.encode() if mime == "image/svg+xml" else base64.b64decode(text)
    except (OSError, KeyError, ValueError):
        return None


def value_size(mime: str, data: dict[str, Any], refs: dict[str, Any]) -> int:
    """Bytes of a value, decoded where it is base64."""
    if mime in refs:
        return int(refs[mime].get("size") or 0)
    value = data.get(mime)
    text = value if isinstance(value, str) else json.dumps(value)
    return len(text) * 3 // 4 if mime in IMAGE_SUFFIXES and mime != "image/svg+xml" else len(text.encode())


def plain_text(data: dict[str, Any]) -> str | None:
    """The bundle's text for people: ``text/plain``, else Markdown or LaTeX source; None without any."""
    for mime in ("text/plain", "text/markdown", "text/latex"):
        value = data.get(mime)
        if isinstance(value, list):
            value = "".join(str(line) for line in value)
        if isinstance(value, str):
            return value
    return None


def summary_line(data: dict[str, Any], refs: dict[str, Any]) -> str:
    """A display in the console: its text, and a remark such as ``[image/png 23.4 KiB]`` for what text can't show."""
    text = plain_text(data)
    mimes = [*data, *refs]
    images = [mime for mime in mimes if mime.startswith(("image/", "video/", "audio/"))]
    shown = images[:1] if images else [] if text is not None else mimes[:1]
    remarks = [f"[{mime} {size_text(value_size(mime, data, refs))}]" for mime in shown]
    return " ".join(part for part in [text, *remarks] if part)
