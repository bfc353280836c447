"""The report of a run as a part of a page: its main element, sanitised once more, with addresses that lead back to it.

The report sanitises what a kernel made. It is done again here, on the whole, since these pages can do more than a file
of a build: a hole in the one must not be one in the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import quote, urlsplit

from markupsafe import Markup

_MAIN = re.compile(r"<main\b[^>]*>(.*)</main>", re.DOTALL)
_CONTENTS = re.compile(r"<nav\b.*?</nav>", re.DOTALL)
_VERDICT = re.compile(r'<header class="verdict.*?</header>', re.DOTALL)
_STYLE = re.compile(r'<link\b(?=[^>]*\brel="stylesheet")[^>]*\bhref="([A-Za-z0-9_.-]+)"')

# Comments, strings with escapes, and all else that is no brace.
_NO_BRACE = re.compile(r"/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|\\.|[^{}]", re.DOTALL)

_TAGS = frozenset({"main", "section", "nav", "caption"})
_EVERYWHERE = frozenset({"class", "id", "title", "tabindex", "role", "open", "lang", "dir", "scope", "width", "height"})
_ARIA = frozenset({"label", "labelledby", "describedby", "hidden", "current"})


def embedded(page: str, run: str, versions: Mapping[str, str] | None = None) -> Markup:
    """The content of a report's page for use in a page at any address; empty if it has none.

    Its verdict is left out: the page has its own, which knows of queues and cancels too. Figures come from
    ``/runs/{run}/report/``, artifacts from the API. `versions` maps figures that still change to what tells their
    states apart.
    """
    import nh3

    found = _MAIN.search(page)
    if found is None:
        return Markup("")

    contents = _CONTENTS.search(page, 0, found.start())

    def lead(tag: str, attribute: str, value: str) -> str | None:
        if attribute == "id":
            return value if _is_own_id(value) else None
        if attribute in ("src", "href"):
            return address(value, run, versions or {}, is_image=tag == "img")
        return value

    tags = nh3.ALLOWED_TAGS | _TAGS
    attributes = {tag: set(names) for tag, names in nh3.ALLOWED_ATTRIBUTES.items()}
    attributes["*"] = set(_EVERYWHERE) | {f"aria-{name}" for name in _ARIA}
    return Markup(
        nh3.clean(
            (contents[0] if contents else "") + _VERDICT.sub("", found[1]),
            tags=tags,
            attributes=attributes,
            attribute_filter=lead,
            clean_content_tags={"script", "style", "title", "noscript", "template", "svg", "math"},
            url_schemes={"http", "https", "mailto"},
        )
    )


def styles(page: str) -> list[str]:
    """Names of the style sheets beside a report's page."""
    return _STYLE.findall(page.partition("<body")[0])


def confined(style: str) -> str:
    """A report's style sheet that touches nothing of a page but the report in it.

    One whose braces would end that before its own end is left out: a part of it may come from a notebook.
    """
    depth = 0
    for brace in _NO_BRACE.sub("", style):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            break
    if depth != 0:
        return ""
    return "#page-report {\n" + style + "\n}\n"


def address(value: str, run: str, versions: Mapping[str, str], *, is_image: bool) -> str | None:
    """Where an address of a report leads from a page; None for an image that is not the report's own."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    if "\\" in value or (is_image and (parts.scheme or parts.netloc or "/" in parts.path)):
        return None
    if is_image:
        version = versions.get(parts.path)
        return f"/runs/{run}/report/{quote(parts.path)}" + (f"?v={version}" if version else "")
    if value.startswith("../artifacts/"):
        return f"/api/v1/runs/{run}/artifacts/{value.removeprefix('../artifacts/')}"
    return value


def _is_own_id(id: str) -> bool:
    """Ids of the page itself begin with ``page-``: a report can't take their place."""
    return not id.startswith("page-")


@dataclass(frozen=True)
class Figure:
    """An image of a report. ``place`` tells figures of two runs that belong together: cell and position, or metric."""

    place: str
    caption: str
    source: str
    alt: str


_HEADINGS = frozenset({"h2", "h3", "h4", "h5", "h6"})


class _Figures(HTMLParser):
    """Reads the images in a report's cells. A cell is an article with an id, its first heading what it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Figure] = []
        self._cell = ""
        self._heading: list[str] = []
        self._images = 0
        self._reads = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "section" or (tag == "article" and values.get("id")):
            self._cell = values.get("id") or "" if tag == "article" else ""
            self._heading, self._images = [], 0
        elif tag in _HEADINGS:
            self._reads = not self._heading
        elif tag == "span":
            self._reads = False  # behind a heading: how the cell ended
        elif tag == "img" and self._cell and values.get("src"):
            self._images += 1
            caption = " ".join("".join(self._heading).split()) or "Figure"
            place = f"{self._cell} {self._images}"
            self.found.append(Figure(place, caption, values.get("src") or "", values.get("alt") or ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._reads = False

    def handle_data(self, data: str) -> None:
        if self._reads:
            self._heading.append(data)


def figures(report: str) -> list[Figure]:
    """The images of an `embedded` report in their order, without the curves of metrics."""
    parser = _Figures()
    parser.feed(report)
    parser.close()
    return parser.found
