"""Values as the pages show them; each function is a filter of the templates."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import orjson
from markupsafe import Markup, escape

from ...projections.text import seconds_text, size_text


def moment(value: datetime | str | None) -> Markup:
    """A time in UTC; the script puts it into the reader's own zone. A dash for none."""
    if not value:
        return Markup("–")
    try:
        at = (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
    except ValueError:
        return escape(value)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        at.isoformat(timespec="seconds"), at.strftime("%Y-%m-%d %H:%M:%S")
    )


def duration(seconds: float | None) -> str:
    """Seconds for people; a dash for none."""
    return "–" if seconds is None else seconds_text(seconds)


def change(value: float | None) -> str:
    """A difference with its sign; empty for none."""
    if value is None or not math.isfinite(value):
        return ""
    return "±0" if value == 0 else f"{value:+.4g}".replace("-", "−")


def size(value: int | None) -> str:
    """Bytes for people."""
    return size_text(value or 0)


def words(value: object) -> str:
    """A status in words, e.g. ``timed out``."""
    return str(value).replace("_", " ")


def plain(value: Any) -> str:
    """A parameter's value: text as it is, all else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
