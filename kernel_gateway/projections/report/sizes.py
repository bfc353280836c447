"""Width and height of images, from their first bytes: with them a page keeps its layout while images load."""

from __future__ import annotations

import re
import struct

Size = tuple[int, int]
"""Width and height in pixels."""

_SVG_TAG = re.compile(rb"<svg\b[^>]*>", re.DOTALL)
_SVG_NUMBER = re.compile(rb"""\b(width|height)\s*=\s*["']\s*([0-9.]{1,12})\s*(px|pt|in|cm|mm)?\s*["']""")
_SVG_BOX = re.compile(rb"""\bviewBox\s*=\s*["']\s*[-0-9.e]+[\s,]+[-0-9.e]+[\s,]+([0-9.]{1,12})[\s,]+([0-9.]{1,12})""")
_SVG_UNITS = {b"": 1.0, b"px": 1.0, b"pt": 4 / 3, b"in": 96.0, b"cm": 96 / 2.54, b"mm": 96 / 25.4}
_MOST = 20_000


def image_size(mime: str, content: bytes) -> Size | None:
    """The size of an image file, None where it can't be told. Formats: PNG (IHDR), GIF, JPEG (SOFn), SVG."""
    try:
        if mime == "image/png" and content.startswith(b"\x89PNG\r\n\x1a\n"):
            found = struct.unpack(">II", content[16:24])
        elif mime == "image/gif" and content.startswith(b"GIF8"):
            found = struct.unpack("<HH", content[6:10])
        elif mime == "image/jpeg":
            found = _jpeg(content)
        elif mime == "image/svg+xml":
            found = _svg(content)
        else:
            return None
    except (struct.error, ValueError, IndexError):
        return None
    width, height = found
    return (width, height) if 0 < width <= _MOST and 0 < height <= _MOST else None


def _jpeg(content: bytes) -> Size:
    at = 2
    while content[at] == 0xFF:
        marker = content[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return width, height
        at += 2 + int(struct.unpack(">H", content[at + 2 : at + 4])[0])
    raise ValueError("no frame in the JPEG file")


def _svg(content: bytes) -> Size:
    tag = _SVG_TAG.search(content[:8192])
    if tag is None:
        raise ValueError("no svg element")
    sides = {name: float(number) * _SVG_UNITS[unit] for name, number, unit in _SVG_NUMBER.findall(tag[0])}
    if len(sides) == 2:
        return round(sides[b"width"]), round(sides[b"height"])
    box = _SVG_BOX.search(tag[0])
    if box is None:
        raise ValueError("no size in the svg element")
    return round(float(box[1])), round(float(box[2]))
