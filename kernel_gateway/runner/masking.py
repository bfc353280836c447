"""Secrets are masked here, before anything is written.

`MaskingSink` stands before the event log, so that the log, and with it every projection, never sees a
secret. `encodings.forms` says in which forms a secret is recognised. All of a text that belongs to any
form becomes ``****``; where forms overlap, the whole of them does.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..events import STREAM_CHUNK, Event, EventSink, EventType
from .encodings import forms

MASK = "****"
"""What stands in place of a secret."""

WEAK = 4
"""Secrets with fewer characters are `Masker.weak`: whoever runs the program should be told."""

NAME_FORMS = 6
"""Shortest form, in characters, that is masked in names and in base64 of images, where others turn up by chance."""

Span = tuple[int, int]

_ESCAPE = "\x1b"
_COLOURS = re.compile(r"\x1b\[[0-9;:?]*[A-Za-z]")
_CUT_COLOUR = re.compile(r"\x1b(?:\[[0-9;:?]{0,32})?\Z")
_COLOUR_SLACK = 4096
_GRAM = 6
_NUMBER = re.compile(r"[-+]?[0-9.]+(?:e[-+]?[0-9]+)?")

_KEPT = frozenset(
    {"agent", "blobs", "bound", "cell", "count", "exit_code", "execution_count", "id", "kernel", "level", "media_type"}
    | {"packages", "passed", "resources", "run", "seconds", "sha256", "size", "status", "step", "value", "versions"}
    | {"wait"}
)
_NAMES = frozenset({"display_id", "ename", "name", "path"})
_KEPT_IN_PROGRAM = frozenset({"format", "digest", "kernel", "language", "id", "type"})
_KEPT_IN_PROVENANCE = frozenset({"source_digest", "secrets"})
_BINARY = ("image/", "audio/", "video/", "application/pdf", "application/octet-stream")


class Matcher:
    """Finds a set of strings in text, also where terminal colours stand inside them."""

    def __init__(self, strings: Iterable[str]) -> None:
        ordered = sorted(set(strings), key=len)
        self.longest = len(ordered[-1]) if ordered else 0
        # A string that contains another is looked for only in texts that have the shorter one.
        self._roots: list[tuple[str, list[str]]] = []
        self._by_first: dict[str, list[str]] = {}
        for string in ordered:
            root = next((longer for short, longer in self._roots if short in string), None)
            if root is None:
                self._roots.append((string, [string]))
            else:
                root.append(string)
            self._by_first.setdefault(string[0], []).append(string)
        self._grams = frozenset(
            string[start : start + _GRAM] for string in ordered for start in range(len(string) - _GRAM + 1)
        )
        self._first = re.compile("[" + "".join(map(re.escape, self._by_first)) + "]") if ordered else None

    def spans(self, text: str) -> list[Span]:
        """Where strings stand in `text`, overlapping ones joined, in order. Colours inside them belong to them."""
        found = self._find(text)
        if _ESCAPE in text:
            plain = _Plain(text)
            found += [(plain.index(start), plain.index(end - 1) + 1) for start, end in self._find(plain.text)]
        return join(found)

    def _find(self, text: str) -> list[Span]:
        found: list[Span] = []
        for root, strings in self._roots:
            if root not in text:
                continue
            for string in strings:
                start = text.find(string)
                while start >= 0:
                    found.append((start, start + len(string)))
                    start = text.find(string, start + 1)
        return found

    def open_end(self, text: str) -> int:
        """Where the part of `text` begins that more text could make one of the strings; its length if none could."""
        start = self._open_end(text)
        if _ESCAPE in text:
            plain = _Plain(text)
            start = min(start, plain.index(self._open_end(plain.text)))
        return start

    def _open_end(self, text: str) -> int:
        if self._first is None:
            return len(text)
        length = self.longest - 1
        if len(text) >= _GRAM and text[-_GRAM:] not in self._grams:
            length = min(length, _GRAM - 1)
        window = text[-length:] if length else ""
        for match in self._first.finditer(window):
            tail = window[match.start() :]
            if any(string.startswith(tail) and len(string) > len(tail) for string in self._by_first[tail[0]]):
                return len(text) - len(tail)
        return len(text)


class _Plain:
    """A text without its colours, and the way back from its indices; a colour that is cut at the end counts as one."""

    def __init__(self, text: str) -> None:
        pieces: list[str] = []
        self._starts: list[int] = []
        self._origins: list[int] = []
        length = position = 0
        codes = [match.span() for match in _COLOURS.finditer(text)]
        if cut := _CUT_COLOUR.search(text):
            codes.append(cut.span())
        for start, end in [*codes, (len(text), len(text))]:
            if start > position:
                pieces.append(text[position:start])
                self._starts.append(length)
                self._origins.append(position)
                length += start - position
            position = end
        self._starts.append(length)
        self._origins.append(cut.start() if cut else len(text))
        self.text = "".join(pieces)

    def index(self, plain: int) -> int:
        """The index in the original text of a character of this one, or of its end."""
        piece = bisect_right(self._starts, plain) - 1
        return self._origins[piece] + plain - self._starts[piece]


def join(spans: list[Span]) -> list[Span]:
    """Spans in order, overlapping ones made one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


class Masker:
    """Masks the given secrets, name → value. False when there is nothing to mask.

    ``weak`` are the names of secrets with fewer than four characters: they are masked, and much else with them.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        found = {form for secret in secrets.values() for form in forms(secret)}
        self.text = Matcher(found)
        self._names = Matcher(form for form in found if len(form) >= NAME_FORMS)
        self._has_numbers = any(len(form) >= NAME_FORMS and _NUMBER.fullmatch(form) for form in found)
        self.weak = tuple(name for name, secret in secrets.items() if 0 < len(secret.strip()) < WEAK)

    def __bool__(self) -> bool:
        return self.text.longest > 0

    def mask(self, text: str) -> str:
        """`text` with every secret replaced."""
        return _replace(text, self.text.spans(text))

    def mask_name(self, text: str) -> str:
        """A name or base64 of binary data with the secrets replaced that are too long to stand there by chance."""
        return _replace(text, self._names.spans(text))

    def mask_value(self, value: Any) -> Any:
        """A JSON value with secrets replaced in all its strings; in keys as `mask_name` does. Returns a copy."""
        try:
            return self._mask_value(value)
        except RecursionError:
            return MASK

    def _mask_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, Mapping):
            return {
                self.mask_name(key) if isinstance(key, str) else key: self._mask_value(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._mask_value(item) for item in value]
        if self._has_numbers and isinstance(value, int | float) and not isinstance(value, bool):
            text = repr(value)
            masked = self.mask_name(text)
            return value if masked == text else masked
        return value

    def mask_bundle(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """A MIME bundle with secrets replaced in its values; whoever stores large values as blobs calls it before."""
        return {
            self.mask_name(mime): self.mask_name(value)
            if isinstance(value, str) and mime.startswith(_BINARY) and "svg" not in mime
            else self.mask_value(value)
            for mime, value in data.items()
        }

    def mask_event(self, type: EventType, fields: Event) -> Event:
        """An event's fields with secrets replaced in what a program or a person wrote.

        What gives the log its structure (statuses, indices, digests, MIME types …) stays, so that a secret
        like ``ok`` can't break it.
        """
        masked: Event = {}
        for key, value in fields.items():
            if key in _KEPT or (key == "name" and type == EventType.STREAM):
                masked[key] = value
            elif key in _NAMES:
                masked[key] = self.mask_name(value) if isinstance(value, str) else self.mask_value(value)
            elif key == "data" and isinstance(value, Mapping):
                masked[key] = self.mask_bundle(value)
            elif key == "program" and isinstance(value, Mapping):
                masked[key] = self._mask_program(value)
            elif key == "provenance" and isinstance(value, Mapping):
                masked[key] = {
                    name: item if name in _KEPT_IN_PROVENANCE else self.mask_value(item) for name, item in value.items()
                }
            else:
                masked[key] = self.mask_value(value)
        return masked

    def _mask_program(self, program: Mapping[str, Any]) -> dict[str, Any]:
        masked: dict[str, Any] = {}
        for key, value in program.items():
            if key in _KEPT_IN_PROGRAM:
                masked[key] = value
            elif key in _NAMES and isinstance(value, str):
                masked[key] = self.mask_name(value)
            elif key == "cells":
                masked[key] = [self._mask_program(cell) for cell in value]
            else:
                masked[key] = self.mask_value(value)
        return masked


def _replace(text: str, spans: list[Span]) -> str:
    if not spans:
        return text
    pieces: list[str] = []
    position = 0
    for start, end in spans:
        pieces += (text[position:start], MASK)
        position = end
    pieces.append(text[position:])
    return "".join(pieces)


class _Stream:
    """What of one stream is not written yet: the shortest tail that may be the beginning of a secret."""

    def __init__(self, matcher: Matcher, write: Callable[[Event, str], None]) -> None:
        self._matcher = matcher
        self._write = write
        self._text = ""
        self._sources: list[tuple[int, Event]] = []  # from which index on text belongs to which cell
        self._covered = 0  # characters at the front that an already written mask stands for

    def add(self, fields: Event, text: str) -> None:
        """Take text, and write what can't be part of a secret that is yet to be completed."""
        if not self._sources or self._sources[-1][1] != fields:
            self._sources.append((len(self._text), fields))
        self._text += text
        self._release(self._matcher.open_end(self._text))

    def close(self) -> None:
        """Write the rest."""
        self._release(len(self._text))

    def _release(self, end: int) -> None:
        spans = self._matcher.spans(self._text)
        covered = self._covered
        if covered:
            spans = join([(0, covered), *spans])
        position = 0
        for start, stop in spans:
            masked_before = start == 0 and covered > 0
            if start >= end and not masked_before:
                break
            self._write_part(position, start)
            if not masked_before:
                self._write(self._source(start), MASK)
            position = stop
        if position < end:
            self._write_part(position, end)
        self._covered = max(position - end, 0)
        self._keep(end)

    def _write_part(self, start: int, end: int) -> None:
        while start < end:
            index = self._source_index(start)
            stop = min(end, self._sources[index + 1][0]) if index + 1 < len(self._sources) else end
            self._write(self._sources[index][1], self._text[start:stop])
            start = stop

    def _source_index(self, position: int) -> int:
        return bisect_right(self._sources, position, key=lambda source: source[0]) - 1

    def _source(self, position: int) -> Event:
        return self._sources[self._source_index(position)][1]

    def _keep(self, end: int) -> None:
        text = self._text[end:]
        self._sources = [
            (max(start - end, 0), fields) for start, fields in self._sources[self._source_index(end) :] if text
        ]
        if len(text) > self._matcher.longest + _COLOUR_SLACK:  # a tail made long by colours alone: go on without them
            self._covered = len(_COLOURS.sub("", text[: self._covered]))
            text = _COLOURS.sub("", text)
            self._sources = self._sources[:1]
        self._text = text


class MaskingSink:
    """An `EventSink` that masks what passes through, and may hold back the end of a stream.

    Text that could be the beginning of a secret is held until more text of that stream, from whichever
    cell, shows that it is or isn't, and is then written for the cell that printed it; ``run_finished``
    writes all of it first. `flush` passes on what is certain. `around` saves the detour when there are no secrets.
    """

    def __init__(self, sink: EventSink, masker: Masker) -> None:
        self._sink = sink
        self._masker = masker
        self._streams: dict[str, _Stream] = {}
        self._pending: tuple[Event, list[str]] | None = None

    @classmethod
    def around(cls, sink: EventSink, masker: Masker) -> EventSink:
        """The sink to append to: this one, or `sink` itself when there is nothing to mask."""
        return cls(sink, masker) if masker else sink

    def append(self, type: EventType, /, **fields: Any) -> None:
        """Mask an event and hand it on. Raises what the sink behind raises."""
        if type == EventType.STREAM:
            text = str(fields.pop("text"))
            stream = self._streams.get(fields["name"])
            if stream is None:
                stream = self._streams[fields["name"]] = _Stream(self._masker.text, self._write)
            stream.add(fields, text)
            self._write_pending()
            return
        if type == EventType.RUN_FINISHED:
            for stream in self._streams.values():
                stream.close()
                self._write_pending()
        self._sink.append(type, **self._masker.mask_event(type, fields))

    def flush(self) -> None:
        """Flush the sink behind."""
        self._sink.flush()

    def _write(self, fields: Event, text: str) -> None:
        if self._pending is not None and self._pending[0] is fields:
            self._pending[1].append(text)
        else:
            self._write_pending()
            self._pending = (fields, [text])

    def _write_pending(self) -> None:
        if self._pending is None:
            return
        fields, pieces = self._pending
        self._pending = None
        text = "".join(pieces)
        for start in range(0, len(text), STREAM_CHUNK):
            self._sink.append(EventType.STREAM, **fields, text=text[start : start + STREAM_CHUNK])
