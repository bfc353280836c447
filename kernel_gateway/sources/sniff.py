"""Sources whose suffix doesn't tell their format: ``.json``, and what comes by ``-c`` or stdin."""

from __future__ import annotations

import json
import re

from ..errors import SourceError
from .document import Document, parse_json
from .notebook import read_notebook
from .script import read_snippet
from .zeppelin import read_zeppelin

_MEANT_AS_DOCUMENT = re.compile(r'\s*\{\s*"(?:cells|worksheets|paragraphs|nbformat|nbformat_minor)"\s*:')


def read_json(text: str, suffix: str) -> Document:
    """JSON that is a notebook or a Zeppelin note; its fields tell which."""
    data = parse_json(text, "a notebook or a Zeppelin note")
    if isinstance(data, dict) and "paragraphs" in data:
        return read_zeppelin(text, suffix)
    if isinstance(data, dict) and not {"cells", "worksheets", "nbformat"}.isdisjoint(data):
        return read_notebook(text, suffix)
    raise SourceError(
        "The JSON source is neither a notebook (an object with `cells`) nor a Zeppelin note (one with `paragraphs`)."
    )


def read_unnamed(text: str, suffix: str) -> Document:
    """A notebook, a Zeppelin note, or else a snippet of code."""
    if not text.lstrip().startswith("{"):
        return read_snippet(text, suffix)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        # Cut-off JSON must be named as such rather than run as code.
        return read_json(text, suffix) if _MEANT_AS_DOCUMENT.match(text) else read_snippet(text, suffix)
    if any(isinstance(data.get(name), list) for name in ("cells", "worksheets", "paragraphs")) or "nbformat" in data:
        return read_json(text, suffix)
    return read_snippet(text, suffix)
