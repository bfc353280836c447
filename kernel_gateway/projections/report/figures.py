"""The report's files beside its page: images of displays and attachments, charts of metrics."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import Any

from ..bundles import IMAGE_SUFFIXES, Blobs, image_bytes
from .charts import DARK, LIGHT, Palette
from .html import Html, el
from .sizes import Size, image_size

_DATA_URI = re.compile(r"data:(image/[a-z+]{1,10});base64,([A-Za-z0-9+/=\s]*)")


def stylesheet() -> bytes:
    """The page's style sheet, which is part of this package."""
    from pkgutil import get_data  # importlib.resources loads a dozen modules more

    content = get_data(__package__, "style.css")
    assert content is not None
    return content


class Figures:
    """Names the images as the page meets them; what is large is read again when the files are written."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._waiting: dict[str, Callable[[], bytes | None]] = {}
        self._sizes: dict[str, Size] = {}
        self._images = 0
        self._charts: dict[str, int] = {}

    def owns(self, name: str) -> bool:
        """Whether this is one of the report's own images."""
        return name in self._waiting

    def image(self, mime: str, data: dict[str, Any], refs: dict[str, Any], shown: Any = None) -> str | None:
        """The file name under which this image of a MIME bundle will be written; None where it can't be read.

        ``shown`` is the display's metadata of the image, which may give the size at which it is meant to be seen.
        """
        content = image_bytes(mime, data, refs, self._blobs)
        if content is None:
            return None
        # A blob is read again when its file is written: hundreds of plots need not be in memory at once.
        load = (lambda: content) if mime in data else (lambda: image_bytes(mime, data, refs, self._blobs))
        return self._keep(mime, load, _meant(shown) or image_size(mime, content))

    def data_uri(self, url: str) -> str | None:
        """The file name for an image in a ``data:`` URI, which the policy forbids; None for any other URL."""
        match = _DATA_URI.fullmatch(url.strip())
        if match is None or match[1] not in IMAGE_SUFFIXES:
            return None
        try:
            content = base64.b64decode(match[2])
        except binascii.Error:
            return None
        return self._keep(match[1], lambda: content, image_size(match[1], content))

    def _keep(self, mime: str, load: Callable[[], bytes | None], size: Size | None) -> str:
        self._images += 1
        name = f"image-{self._images:03d}.{IMAGE_SUFFIXES[mime]}"
        self._waiting[name] = load
        if size:
            self._sizes[name] = size
        return name

    def element(self, name: str, alt: str, *, class_: str | None = None) -> Html:
        """The ``img`` of one of the report's own images. It loads when it comes near the window."""
        width, height = self._sizes.get(name, (None, None))
        return el(
            "img",
            src=name,
            alt=alt,
            class_=class_,
            width=str(width) if width else None,
            height=str(height) if height else None,
            loading="lazy",
            decoding="async",
        )

    def chart(self, kind: str, draw: Callable[[Palette], str], alt: str, size: Size) -> Html:
        """A chart of our own as a ``picture``, in the colours of light and of dark pages."""
        number = self._charts[kind] = self._charts.get(kind, 0) + 1
        light, dark = f"{kind}-{number:03d}.svg", f"{kind}-{number:03d}-dark.svg"
        self._waiting[light] = lambda: draw(LIGHT).encode()
        self._waiting[dark] = lambda: draw(DARK).encode()
        self._sizes[light] = size
        return el("picture", el("source", srcset=dark, media="(prefers-color-scheme: dark)"), self.element(light, alt))

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of every image that can be read."""
        for name, load in self._waiting.items():
            content = load()
            if content is not None:
                yield name, content


def _meant(shown: Any) -> Size | None:
    """The size that a display's metadata gives, as IPython writes it for images of high resolution."""
    if not isinstance(shown, dict):
        return None
    width, height = shown.get("width"), shown.get("height")
    if isinstance(width, int) and isinstance(height, int) and 0 < width <= 10_000 and 0 < height <= 10_000:
        return width, height
    return None
