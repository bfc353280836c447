"""HTML from parts: everything is escaped unless it is `Html` already; foreign HTML is sanitised."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable


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
    if name in ("img", "meta", "link", "br"):
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> Html:
    """A table with a heading row, wide ones scrolling by themselves."""
    head = el("tr", *(el("th", heading, scope="col") for heading in headings))
    body = [el("tr", *(el("td", value) for value in row)) for row in rows]
    return el("div", el("table", el("thead", head), el("tbody", *body)), class_="scroll")


def facts(rows: Iterable[tuple[str, object]]) -> Html:
    """A table of names and values; rows without a value are left out."""
    body = [el("tr", el("th", name, scope="row"), el("td", value)) for name, value in rows if value not in (None, "")]
    return el("div", el("table", el("tbody", *body)), class_="scroll facts")


def sanitised(text: str, own_images: Callable[[str], bool]) -> Html:
    """HTML of a notebook without scripts, styles, forms, handlers and foreign images."""
    import nh3

    def keep(tag: str, attribute: str, value: str) -> str | None:
        if tag == "img" and attribute == "src" and not own_images(value):
            return None
        return value

    return Html(
        nh3.clean(
            text,
            attribute_filter=keep,
            clean_content_tags={"script", "style", "title", "noscript", "template"},
            url_schemes={"http", "https", "mailto"},
        )
    )


def markdown(text: str, own_images: Callable[[str], bool]) -> Html:
    """Markdown of a cell as sanitised HTML; its headings are one level below those of the page's sections."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
    return sanitised(str(parser.renderer.render(tokens, parser.options, {})), own_images)
