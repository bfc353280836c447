"""The forms in which a secret may turn up in output: as it is, quoted, escaped, or encoded.

`masking` calls `forms` once a secret. Each function returns plain strings to look for; none needs to be
complete for text that was encoded twice in different ways, but what shells, web clients, JSON, Python and
HTML do to a string by themselves is here.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

MIN_ENCODED = 4
"""Shortest encoded form, in characters, that is looked for; shorter ones would turn up by chance."""

MIN_LINE = 8
"""Shortest line of a secret of several lines, in characters, that is masked by itself."""

_WRAPS = (76, 64)
_JS_COMPONENT = "!'()*"
_JS_URI = ";/?:@&=+$,#!'()*"
_ANSI_C = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\x07": "\\a", "\x08": "\\b"}
_ANSI_C |= {"\x0b": "\\v", "\x0c": "\\f", "\x1b": "\\E"}


def forms(secret: str) -> set[str]:
    """All strings to look for, given a secret's value; empty for a blank one."""
    found: set[str] = set()
    for value in {secret, secret.strip()}:
        if value.strip():
            data = _bytes(value)
            encoded = {*_quoted(value), *_json(value), *_python(value, data), *_html(value), *_url(data)}
            encoded |= {*_base64(data), data.hex(), data.hex().upper()}
            found |= {value, *(form for form in encoded if len(form) >= MIN_ENCODED)}
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        for line in lines:
            if len(line) >= MIN_LINE:
                found |= {line, *_quoted(line), *_json(line), *_python(line, _bytes(line)), *_html(line)}
    return found


def _bytes(value: str) -> bytes:
    try:
        return value.encode("utf-8", "surrogateescape")  # as the environment holds it
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")


def _quoted(value: str) -> Iterator[str]:
    """As shells and tools that print commands write it."""
    yield shlex.quote(value)
    yield value.replace("'", "'\\''")
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", value)
    yield re.escape(value)
    yield re.sub(r'(["\\$`])', r"\\\1", value)
    yield "".join(_ANSI_C.get(char) or (f"\\{ord(char):03o}" if ord(char) < 32 else char) for char in value)
    octal = (_ANSI_C.get(chr(byte)) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in _bytes(value))
    yield "".join(octal)


def _json(value: str) -> Iterator[str]:
    """As JSON writers write it, also those that escape for HTML, and JSON within JSON."""
    for ascii_only in (True, False):
        plain = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        for form in (plain, plain.replace("/", "\\/"), re.sub("[<>&']", lambda m: f"\\u{ord(m[0]):04x}", plain)):
            yield form
            yield re.sub(r"\\u[0-9a-f]{4}", lambda match: "\\u" + match[0][2:].upper(), form)
            yield json.dumps(form, ensure_ascii=ascii_only)[1:-1]


def _python(value: str, data: bytes) -> Iterator[str]:
    """As Python's repr writes it, alone or within a longer string that has both kinds of quotes."""
    represent: tuple[Callable[[str], str], ...] = (repr, ascii)
    for function in represent:
        yield function(value)[1:-1]
        yield function(value + "'\"")[1:-4]
        yield function(function(value))[1:-1].strip("'\"")
    yield repr(data)[2:-1]
    yield repr(data + b"'\"")[2:-4]


def _html(value: str) -> Iterator[str]:
    """As HTML and XML writers write it; they differ in the quotes."""
    yield html.escape(value, quote=False)
    for single in ("&#x27;", "&#39;", "&apos;"):
        for double in ("&quot;", "&#34;"):
            yield html.escape(value, quote=False).replace("'", single).replace('"', double)


def _url(data: bytes) -> Iterator[str]:
    """As URLs and forms carry it."""
    written = [quote(data, safe=safe) for safe in ("", "/", _JS_COMPONENT, _JS_URI)]
    written += [quote_plus(data), quote_plus(data, safe="*").replace("~", "%7E")]
    for form in written:
        yield form
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), form)


def _base64(data: bytes) -> Iterator[str]:
    """Base64 of the secret, alone or within longer data: what is surely in it for each of the three alignments.

    With the secret at the end of the data (``user:token``, also with a newline as ``echo`` adds it) its last
    character is known too; within the data, the characters that the secret shares with its neighbours are
    left, at most four bits of its first and last byte.
    """
    for shift in range(3):
        first = -(-8 * shift // 6)
        for end in (b"", b"\n"):
            whole = base64.b64encode(bytes(shift) + data + end).decode()
            core = whole[first : 8 * (shift + len(data)) // 6]
            yield from _alphabets(core)
            if shift == 0 or len(core) >= MIN_ENCODED:
                yield from _alphabets(whole[first:])
                yield from _alphabets(whole[first:].rstrip("="))
            if shift == 0:
                yield quote(whole, safe="")
                for width in _WRAPS:
                    if len(whole) > width:
                        for start in range(0, len(whole), width):
                            if len(line := whole[start : start + width]) >= MIN_LINE:
                                yield line


def _alphabets(text: str) -> tuple[str, str]:
    return text, text.replace("+", "-").replace("/", "_")
