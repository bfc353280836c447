"""Foreign HTML and Markdown in the page: sanitised, its styles made classes, its headings in order.

nh3 decides what elements and attributes stay; `_Rewriter` goes over what it gives, which is well-formed, and writes it
anew: names get a prefix so that they can't meet the page's own, images become files, tables say what heads what.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from typing import Any

from .figures import Figures
from .html import Html, el, escape
from .styles import Styles, scoped_name

_ACTIVE = re.compile(r"<(?:script|iframe|object|embed|canvas|video|audio)\b", re.IGNORECASE)
_LINK = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_STYLE_BEGIN, _STYLE_END = re.compile(r"<style\b", re.IGNORECASE), re.compile(r"</style\b", re.IGNORECASE)
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_VOID = frozenset({"img", "br", "hr", "wbr", "col"})

# The page's own landmarks, and what nobody needs.
_LEFT_OUT = {"header", "footer", "nav", "article", "aside", "hgroup", "area", "map", "acronym", "rtc"}
_ATTRIBUTES = {
    "*": {"class", "id", "style", "title", "lang", "dir"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "td": {"rowspan", "colspan", "align"},
    "th": {"rowspan", "colspan", "align", "scope"},
    "tr": {"align"},
    "col": {"span"},
    "colgroup": {"span"},
    "ol": {"start"},
    "details": {"open"},
}
_CONTENT_TOO = {"script", "style", "title", "noscript", "template", "iframe", "object", "svg", "math", "select"}


MAX_DEPTH = 500
"""Elements in elements. Parsers of HTML take quadratic time over them: 100,000 take minutes, and nobody means them."""

_CLOSED_BY_OTHERS = _VOID | {
    "p",
    "li",
    "td",
    "th",
    "tr",
    "dt",
    "dd",
    "tbody",
    "thead",
    "tfoot",
    "input",
    "meta",
    "link",
}
"""Elements whose end may be left out, so that their number says nothing about depth."""


class Headings:
    """Keeps the page's headings in order: none is more than one level below the one before it."""

    def __init__(self, level: int = 2) -> None:
        self._last = level

    def level(self, wanted: int) -> int:
        """The level of the next heading, as near to the one wanted as order allows."""
        self._last = max(1, min(wanted, self._last + 1, 6))
        return self._last


class Rich:
    """Renders foreign HTML and Markdown of one page, in the order of the page."""

    def __init__(self, figures: Figures, styles: Styles, headings: Headings) -> None:
        self._figures = figures
        self._styles = styles
        self._headings = headings
        self._count = 0

    def html(self, text: str, *, below: int = 3, attached: Callable[[str], str | None] | None = None) -> Html:
        """What may be shown of an HTML text, in an element of its own; empty if there is nothing to see,
        or if elements are nested deeper than `MAX_DEPTH`.

        Its headings go below the level `below`. ``attached`` gives the URL of an ``attachment:`` of a Markdown cell.
        """
        if _is_too_deep(text):
            return Html("")
        import nh3

        def keep(tag: str, attribute: str, value: str) -> str | None:
            if tag == "img" and attribute == "src":
                return self._image(value, attached)
            if attribute == "href":
                return value if value.startswith("#") or _LINK.match(value) else None
            return value

        clean = nh3.clean(
            text,
            tags=nh3.ALLOWED_TAGS - _LEFT_OUT,
            attributes=_ATTRIBUTES,
            attribute_filter=keep,
            clean_content_tags=_CONTENT_TOO,
            url_schemes={"http", "https", "mailto", "data", "attachment"},
        )
        self._count += 1
        scope = f"o{self._count}"
        rewriter = _Rewriter(scope, self._figures, self._styles, self._headings, below)
        rewriter.feed(clean)
        rewriter.close()
        if not rewriter.has_content:
            return Html("")
        coloured = False
        for css in _style_sheets(text):
            coloured = self._styles.sheet(css, scope) or coloured
        paper = " paper" if coloured or rewriter.coloured else ""
        return el("div", Html("".join(rewriter.parts)), class_=f"scroll rich{paper} {scope}")

    def markdown(self, text: str, *, below: int = 2, attached: Callable[[str], str | None] | None = None) -> Html:
        """Markdown as sanitised HTML."""
        parser = _markdown_parser()
        tokens = parser.parse(text)
        return self.html(str(parser.renderer.render(tokens, parser.options, {})), below=below, attached=attached)

    def _image(self, url: str, attached: Callable[[str], str | None] | None) -> str | None:
        """The file of the report that stands for an image; None for one that is not to be had here."""
        if self._figures.owns(url):
            return url
        if url.startswith("attachment:"):
            return attached(url.removeprefix("attachment:")) if attached else None
        return self._figures.data_uri(url)


def is_active(text: str) -> bool:
    """Whether HTML holds what a page without scripts can't show."""
    return _ACTIVE.search(text) is not None


def _is_too_deep(text: str) -> bool:
    depth = 0
    for match in _TAG.finditer(text):
        if match[2].lower() not in _CLOSED_BY_OTHERS:
            depth = max(0, depth - 1) if match[1] else depth + 1
            if depth > MAX_DEPTH:
                return True
    return False


@cache
def _markdown_parser() -> Any:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    # The list of what links may hold is nh3's and ours; markdown-it's own would drop images in data: URIs.
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    return parser


class _Rewriter(HTMLParser):
    """Writes sanitised HTML anew. ``has_content``: whether there is text or an image in it."""

    def __init__(self, scope: str, figures: Figures, styles: Styles, headings: Headings, below: int) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.has_content = False
        self.coloured = False
        self._scope = scope
        self._figures = figures
        self._styles = styles
        self._headings = headings
        self._below = below
        self._open: list[tuple[str, str]] = []
        self._ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        written = self._names(given)
        if tag == "img":
            self._image(given, written)
            return
        if tag == "a" and "href" in given:
            written["href"] = self._link(given["href"])
            written["rel"] = "noopener noreferrer"
        for name in _ATTRIBUTES.get(tag, set()) & given.keys():
            written.setdefault(name, given[name])
        for name in ("title", "lang", "dir"):
            if name in given:
                written[name] = given[name]
        if tag == "th" and "scope" not in written:
            written["scope"] = "row" if any(name == "tbody" for name, _ in self._open) else "col"
        name = tag
        if tag in _HEADINGS:
            name = f"h{self._headings.level(int(tag[1]) + self._below)}"
        self.has_content = self.has_content or tag == "hr"
        self.parts.append(f"<{name}{_attributes(written)}>")
        if tag not in _VOID:
            self._open.append((tag, name))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1][0] == tag:
            self.parts.append(f"</{self._open.pop()[1]}>")

    def handle_data(self, data: str) -> None:
        self.has_content = self.has_content or bool(data.strip())
        self.parts.append(escape(data))

    def _names(self, given: dict[str, str]) -> dict[str, str]:
        """Id and class, the latter with what stands for the ``style`` attribute."""
        written: dict[str, str] = {}
        name = scoped_name(self._scope, given.get("id", ""))
        if name and name not in self._ids:
            self._ids.add(name)
            written["id"] = name
        classes = [scoped_name(self._scope, part) for part in given.get("class", "").split()]
        if "style" in given:
            style, coloured = self._styles.inline(given["style"])
            classes.append(style)
            self.coloured = self.coloured or coloured
        if kept := " ".join(part for part in classes if part):
            written["class"] = kept
        return written

    def _link(self, url: str) -> str:
        if not url.startswith("#"):
            return url
        return f"#{scoped_name(self._scope, url[1:]) or ''}"

    def _image(self, given: dict[str, str], written: dict[str, str]) -> None:
        self.has_content = True
        alt = given.get("alt") or given.get("title") or "image of the notebook"
        if not given.get("src"):
            self.parts.append(el("span", f"[{alt}: not part of the report]", class_="quiet"))
            return
        self.parts.append(self._figures.element(given["src"], alt, class_=written.get("class")))


def _attributes(written: dict[str, str]) -> str:
    return "".join(f' {name}="{escape(value)}"' for name, value in written.items())


def _style_sheets(text: str) -> list[str]:
    """The text of ``<style>`` elements. What is misread only costs colours: every rule is checked.

    It searches forward only, so that no text, however made, takes more than one pass.
    """
    sheets: list[str] = []
    at = 0
    while begin := _STYLE_BEGIN.search(text, at):
        start = text.find(">", begin.end()) + 1
        if not start:
            break
        end = _STYLE_END.search(text, start)
        at = end.end() if end else len(text)
        sheets.append(text[start : end.start() if end else len(text)])
    return sheets
