"""Styles of a notebook's HTML as classes of a style sheet beside the page.

The page may have no inline style, yet a styled table says half of what it has to say by its colours. So rules and
``style`` attributes are parsed (tinycss2), held against a list of properties and kinds of values that are known to
be harmless, written anew from their parsed parts and bound to the output that they came with. Nothing that loads,
moves out of its place or hides other parts of the page is on the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from .colours import readable_on, readable_pair

MAX_RULES = 20_000
"""Rules of one report; a table of more coloured cells is shown without the rest of its colours."""

MAX_SOURCE = 512 * 1024
"""Characters of one output's style sheets that are read."""

_SIDES = ("top", "right", "bottom", "left")
PROPERTIES = frozenset(
    [
        *("background", "background-color", "color", "font-style", "font-weight", "font-variant", "font-size"),
        *("text-align", "text-decoration", "text-transform", "text-indent", "vertical-align", "white-space"),
        *("line-height", "letter-spacing", "width", "min-width", "max-width", "height", "visibility"),
        *("border", "border-collapse", "border-spacing", "border-color", "border-style", "border-width"),
        *("border-radius", "caption-side", "padding", "empty-cells", "list-style-type"),
        *(f"border-{side}{part}" for side in _SIDES for part in ("", "-color", "-style", "-width")),
        *(f"padding-{side}" for side in _SIDES),
    ]
)
"""Properties that are kept; all they can change is how a part of their own output looks."""

FUNCTIONS = frozenset({"rgb", "rgba", "hsl", "hsla", "linear-gradient"})
UNITS = {"px": 2000.0, "pt": 1500.0, "em": 100.0, "rem": 100.0, "ex": 200.0, "ch": 200.0, "deg": 360.0, "turn": 1.0}
"""Units that are kept, and the largest number of each: a cell wider than that is meant to cover the page."""

_PSEUDO = frozenset(
    {"hover", "first-child", "last-child", "only-child", "first-of-type", "last-of-type", "only-of-type", "empty"}
)
_NTH = frozenset({"nth-child", "nth-last-child", "nth-of-type", "nth-last-of-type"})
_NTH_ARGUMENT = re.compile(r"\s*(?:even|odd|[-+]?\d{0,6}n?(?:\s*[-+]\s*\d{1,6})?)\s*")
_NAME = re.compile(r"-?[A-Za-z_][\w-]{0,199}", re.ASCII)
_IDENT = re.compile(r"-?[a-z][a-z-]{0,40}")
_HEX = re.compile(r"[0-9a-fA-F]{3,8}")

Declarations = dict[str, str]


class Styles:
    """Collects the rules of one report. ``sheet`` and ``inline`` are called as the page meets them."""

    def __init__(self) -> None:
        self._rules: list[str] = []
        self._inline: dict[str, str] = {}
        self._parsed: dict[str, Declarations] = {}

    @property
    def text(self) -> str:
        """The style sheet; empty if nothing is styled."""
        return "".join(f"{rule}\n" for rule in self._rules)

    def sheet(self, css: str, scope: str) -> bool:
        """Take a ``<style>`` element of the output whose wrapper has the class `scope`; whether it sets colours.

        Classes and ids in it are prefixed with the scope, as `scoped_name` says, so that they mean this output's only.
        """
        import tinycss2  # type: ignore[import-untyped]

        coloured = False
        for rule in tinycss2.parse_stylesheet(css[:MAX_SOURCE], skip_comments=True, skip_whitespace=True):
            if len(self._rules) >= MAX_RULES:
                break
            if rule.type != "qualified-rule":
                continue
            try:
                declared = self._declarations(tinycss2.serialize(rule.content))
            except RecursionError:  # brackets in brackets, thousands deep
                continue
            selectors = [f".{scope} {selector}" for selector in _selectors(rule.prelude, scope)]
            if declared and selectors:
                self._rules.append(_rule(", ".join(selectors), declared))
                coloured = coloured or _is_coloured(declared)
        return coloured

    def inline(self, css: str) -> tuple[str | None, bool]:
        """The class that stands for a ``style`` attribute, None if nothing is left of it; whether it sets colours."""
        try:
            declared = self._declarations(css[:MAX_SOURCE])
        except RecursionError:
            return None, False
        body = _body(declared)
        if not declared or (body not in self._inline and len(self._rules) >= MAX_RULES):
            return None, False
        if body not in self._inline:
            self._inline[body] = f"s{len(self._inline) + 1}"
            # An attribute counts more than any rule of the output's own style sheet, also one with an id.
            self._rules.append(_rule(f".rich .{self._inline[body]}:not(#_):not(#_)", declared))
        return self._inline[body], _is_coloured(declared)

    def _declarations(self, css: str) -> Declarations:
        known = self._parsed.get(css)
        if known is None:
            known = readable(declarations(css))
            if len(self._parsed) < MAX_RULES:
                self._parsed[css] = known
        return known


def scoped_name(scope: str, name: str) -> str | None:
    """A class or an id of an output's HTML as it stands in the page; None for one that is no plain name."""
    return f"{scope}-{name}" if _NAME.fullmatch(name) else None


def declarations(css: str) -> Declarations:
    """The harmless declarations of a rule or a ``style`` attribute, property → value. Raises nothing."""
    import tinycss2

    found: Declarations = {}
    for node in tinycss2.parse_blocks_contents(css, skip_comments=True, skip_whitespace=True):
        if node.type != "declaration" or node.lower_name not in PROPERTIES:
            continue
        value = _value(node.value)
        if value:
            found[node.lower_name] = value
    return found


def readable(declared: Declarations) -> Declarations:
    """The declarations with a colour of text that can be read on the paper or the background that they set."""
    ground, text = declared.get("background-color") or declared.get("background"), declared.get("color")
    if ground:
        better = readable_pair(text, ground)
    elif text:
        better = readable_on(text)
    else:
        return declared
    return {**declared, "color": better} if better else declared


def _is_coloured(declared: Declarations) -> bool:
    return any("color" in name or "background" in name for name in declared)


def _body(declared: Declarations) -> str:
    return "; ".join(f"{name}: {value}" for name, value in declared.items())


def _rule(selector: str, declared: Declarations) -> str:
    return f"{selector} {{ {_body(declared)} }}"


# Values


def _value(tokens: Iterable[Any]) -> str | None:
    """A value written anew from its tokens; None if one of them is not on the list."""
    parts = []
    for token in tokens:
        part = _token(token)
        if part is None:
            return None
        parts.append(part)
    return "".join(parts).strip()


def _token(token: Any) -> str | None:
    kind = token.type
    if kind == "whitespace":
        return " "
    if kind == "comment":
        return ""
    if kind == "ident":
        return str(token.lower_value) if _IDENT.fullmatch(token.lower_value) else None
    if kind == "hash":
        return f"#{token.value}" if _HEX.fullmatch(token.value) else None
    if kind in ("number", "percentage"):
        return f"{token.value:g}" + "%" * (kind == "percentage") if 0 <= token.value <= 1000 else None
    if kind == "dimension":
        return f"{token.value:g}{token.lower_unit}" if 0 <= token.value <= UNITS.get(token.lower_unit, -1) else None
    if kind == "literal":
        return str(token.value) if token.value in (",", "/") else None
    if kind == "function" and token.lower_name in FUNCTIONS:
        arguments = _value(token.arguments)
        return f"{token.lower_name}({arguments})" if arguments else None
    return None


# Selectors


def _selectors(prelude: list[Any], scope: str) -> Iterator[str]:
    """The selectors of a rule that can be bound to the scope; others are left out."""
    part: list[Any] = []
    for token in [*prelude, None]:
        if token is None or (token.type == "literal" and token.value == ","):
            selector = _selector(part, scope)
            if selector:
                yield selector
            part = []
        else:
            part.append(token)


def _selector(tokens: list[Any], scope: str) -> str | None:
    written: list[str] = []
    before = ""
    for token in tokens:
        part = _selector_token(token, before, scope)
        if part is None:
            return None
        written.append(part)
        before = str(token.value) if token.type == "literal" else ""
    selector = "".join(written).strip()
    # A selector that begins with a combinator would reach the siblings of the output.
    return selector if selector and selector[0] not in "+~>" and selector[-1] not in "+~>.:" else None


def _selector_token(token: Any, before: str, scope: str) -> str | None:
    kind = token.type
    if before == ":":
        if kind == "ident" and token.lower_value in _PSEUDO:
            return str(token.lower_value)
        if kind == "function" and token.lower_name in _NTH:
            import tinycss2

            argument = tinycss2.serialize(token.arguments).lower()
            return f"{token.lower_name}({argument.strip()})" if _NTH_ARGUMENT.fullmatch(argument) else None
        return None
    if before == ".":
        return scoped_name(scope, token.value) if kind == "ident" else None
    if kind == "whitespace":
        return " "
    if kind == "ident":
        return str(token.lower_value) if re.fullmatch(r"[a-z][a-z0-9]*", token.lower_value) else None
    if kind == "hash":
        name = scoped_name(scope, token.value)
        return f"#{name}" if name else None
    return str(token.value) if kind == "literal" and token.value in (".", ":", ">", "+", "~", "*") else None
