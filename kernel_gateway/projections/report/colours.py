"""Contrast of colours by WCAG 2, and what to do where a notebook's own colours can't be read."""

from __future__ import annotations

from typing import Any

LEAST = 4.5
"""Contrast that text must have."""

PAPER, INK = (1.0, 1.0, 1.0), (0.11, 0.14, 0.19)
"""What styled outputs stand on, and their text: the same in light and dark mode, as their authors saw them."""

RGB = tuple[float, float, float]


def readable_pair(text: str | None, ground: str) -> str | None:
    """Black or white, where a text colour (None: the paper's) can't be read on a background; else None."""
    behind = _opaque(ground)
    if behind is None:
        return None
    before = INK if text is None else _opaque(text)
    if before is None or contrast(before, behind) >= LEAST:
        return None
    return "#000000" if contrast((0.0, 0.0, 0.0), behind) >= contrast((1.0, 1.0, 1.0), behind) else "#ffffff"


def readable_on(text: str) -> str | None:
    """A darker shade of a text colour that can't be read on the paper; None if it can."""
    colour = _opaque(text)
    if colour is None or contrast(colour, PAPER) >= LEAST:
        return None
    # White is text for a background that another rule sets; darkening it would hide it there.
    if min(colour) > 0.9:
        return None
    while contrast(colour, PAPER) < LEAST:
        colour = (colour[0] * 0.95, colour[1] * 0.95, colour[2] * 0.95)
    return "#" + "".join(f"{int(part * 255):02x}" for part in colour)


def contrast(one: RGB, other: RGB) -> float:
    """WCAG 2's contrast ratio of two colours, from 1 to 21; parts are from 0 to 1."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: RGB) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _opaque(text: str) -> RGB | None:
    """A CSS colour on paper; None for what is no colour (a gradient, ``inherit``) or hardly to be seen."""
    from tinycss2 import color3  # type: ignore[import-untyped]

    parsed: Any = color3.parse_color(text)
    if parsed is None or parsed == "currentColor" or parsed.alpha < 0.5:
        return None
    red, green, blue = (part * parsed.alpha + (1 - parsed.alpha) for part in parsed[:3])
    return (min(1.0, max(0.0, red)), min(1.0, max(0.0, green)), min(1.0, max(0.0, blue)))
