"""The packages that a source asks for in its own metadata.

A notebook says it in ``metadata.kernel_gateway.env``: the name of an environment file beside it, a list of
requirements, or an object with ``dependencies`` and ``requires-python``. A notebook's or a script's code of Python may
say it in a comment instead, as PEP 723 (https://peps.python.org/pep-0723/) has it, and as ``uv run`` and juv write it.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import PurePosixPath
from typing import Any

from ..errors import SourceError
from .program import Cell

ENV_PLACE = "metadata.kernel_gateway.env"
"""Where a notebook's own packages stand. The header of a percent script or R Markdown has them below ``jupyter``."""

_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(?:^#(?:| .*)$\s)+)^# ///$")
_KEYS = ("dependencies", "requires-python")


def own_packages(metadata: dict[str, Any], cells: list[Cell]) -> dict[str, Any] | None:
    """What a source asks for: ``{"file": NAME}``, or ``dependencies`` and perhaps ``requires-python``; else None.

    `load_source` calls it. Raises `SourceError` that names the place.
    """
    own = metadata.get("kernel_gateway")
    if isinstance(own, dict) and own.get("env") is not None:
        return _from_metadata(own["env"])
    return _from_comment(cells)


def peek_packages(content: bytes) -> bool:
    """Whether a source may ask for packages of its own, by a glance at its bytes."""
    return b"# /// script" in content or (b"kernel_gateway" in content and b"env" in content)


def _from_metadata(value: Any) -> dict[str, Any]:
    place = f"{ENV_PLACE} of the source"
    if isinstance(value, str):
        path = PurePosixPath(value)
        if not value or path.is_absolute() or ".." in path.parts:
            raise SourceError(f"{place} is {_shown(value)}; name a file in the source's folder.", field="source")
        return {"file": value}
    if isinstance(value, list):
        value = {"dependencies": value}
    if not isinstance(value, dict):
        raise SourceError(
            f"{place} is {_shown(value)}; it must be the name of a file, a list of requirements or an object with "
            "`dependencies`.",
            field="source",
        )
    if unknown := [name for name in value if name not in _KEYS]:
        raise SourceError(f"{place} has the key {_shown(unknown[0])}; known are {' and '.join(_KEYS)}.", field="source")
    return _checked(value, place)


def _from_comment(cells: list[Cell]) -> dict[str, Any] | None:
    found = [
        block["content"]
        for cell in cells
        if cell.type == "code" and "# /// script" in cell.source
        for block in _BLOCK.finditer(cell.source + "\n")
        if block["type"] == "script"
    ]
    if not found:
        return None
    place = "The block “# /// script” of the source"
    if len(found) > 1:
        raise SourceError("The source has several blocks “# /// script”; one may be.", field="source")
    text = "".join(line[2:] or "\n" for line in found[0].splitlines(keepends=True))
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SourceError(f"{place} is not TOML: {error}.", field="source") from None
    return _checked({name: table[name] for name in _KEYS if name in table}, place)


def _checked(table: dict[str, Any], place: str) -> dict[str, Any]:
    dependencies = table.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(item, str) for item in dependencies):
        raise SourceError(f'{place}: dependencies must be a list of texts, e.g. ["pandas>=2"].', field="source")
    if any(item.lstrip().startswith("-") or "\n" in item for item in dependencies):
        raise SourceError(f"{place}: dependencies are requirements, not options of an installer.", field="source")
    if not isinstance(table.get("requires-python", ""), str):
        raise SourceError(f'{place}: requires-python must be a text, e.g. ">=3.11".', field="source")
    return {"dependencies": [], **table}


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)[:80]
