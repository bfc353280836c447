"""HTML from parts: everything is escaped unless it is `Html` already."""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = frozenset({"img", "meta", "link", "br", "hr", "source"})


class Html(str):
    """Text that is HTML already."""


def escape(part: object) -> Html:
    """The part as HTML."""
    return part if isinstance(part, Html) else Html(html.escape(str(part)))


def join(parts: Iterable[object]) -> Html:
    """Parts one after another."""
    return Html("".join(escape(part) for part in parts))


def el(name: str, /, *children: object, **attributes: str | None) -> Html:
    """An element. ``class_`` is the class; attributes that are None are left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def table(headings: Iterable[str], rows: Iterable[Iterable[object]], *, label: str) -> Html:
    """A table with a heading row; the first cell of each row heads it. A wide one scrolls by itself.

    ``label`` tells who can't see the page what the table holds.
    """
    head = el("tr", *(el("th", heading, scope="col") for heading in headings))
    body = []
    for first, *rest in rows:
        body.append(el("tr", el("th", first, scope="row"), *(el("td", value) for value in rest)))
    grid = el("table", el("thead", head), el("tbody", *body))
    return el("div", grid, class_="scroll", role="region", aria_label=label, tabindex="0")


def facts(rows: Iterable[tuple[str, object]]) -> Html:
    """A table of names and values; rows without a value are left out."""
    body = [el("tr", el("th", name, scope="row"), el("td", value)) for name, value in rows if value not in (None, "")]
    return el("div", el("table", el("tbody", *body)), class_="facts")
