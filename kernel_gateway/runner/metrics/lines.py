"""Metrics from lines of stdout: ``::metric name=accuracy value=0.93 step=4``, in any language.

A line begins with ``::metric`` (colours and blanks before it don't matter) and gives ``name``, ``value`` and, if there
is one, ``step``, in any order; what has blanks in it is quoted: ``name="val acc"``.
"""

from __future__ import annotations

import re

from ...events import Event, EventType
from .findings import Finding, Metric, Remark, Unreadable, read_name, read_step, shorten

MAX_LINE = 4096
"""Longest line, in characters, that is read as a metric."""

_MARK = "::metric"
_COLOURS = re.compile(r"\x1b\[[0-9;:?]*[A-Za-z]")
_ENDS = re.compile(r"[\r\n]+")
_FIELD = re.compile(r"""\s*([A-Za-z_]\w*)=("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"']\S*)(?=\s|$)""")
_FIELDS = ("name", "value", "step")


class LineSource:
    """Reads stdout as it comes, in chunks that need not end with a line. One remark for each kind of mistake."""

    def __init__(self) -> None:
        self._rest = ""  # the beginning of a line that may become a metric
        self._cell: int | None = None
        self._skipping = False  # within a line that is none
        self._told: set[str] = set()

    def feed(self, event: Event) -> list[Finding]:
        """Take stdout's text; the end of a cell ends its last line."""
        type = event["type"]
        if type == EventType.STREAM and event["name"] == "stdout":
            return self._text(event["text"], event.get("cell"))
        if type == EventType.CELL_FINISHED:
            return self._end()
        return []

    def _text(self, text: str, cell: int | None) -> list[Finding]:
        found = self._end() if cell != self._cell else []
        self._cell = cell
        if not self._rest and _MARK not in text:
            # Nearly all output: only its last, unfinished line may matter later.
            cut = max(text.rfind("\n"), text.rfind("\r")) + 1
            if cut:
                self._skipping = False
            self._begin("" if self._skipping else text[cut:])
            return found
        *lines, rest = _ENDS.split(self._rest + text)
        for line in lines:
            if not self._skipping:
                found += self._line(line)
            self._skipping = False
        if not self._skipping:
            self._begin(rest)
        return found

    def _begin(self, rest: str) -> None:
        """Keep the beginning of a line if it may be a metric, else pass over the rest of the line."""
        start = _COLOURS.sub("", rest[: 2 * MAX_LINE]).lstrip()
        undecided = _MARK.startswith(start) or start.startswith((_MARK, "\x1b"))
        too_long = len(rest) > MAX_LINE
        self._skipping = self._skipping or not undecided or (too_long and not start.startswith(_MARK))
        # One character more than allowed is enough to know that the line is too long.
        self._rest = "" if self._skipping else rest[: MAX_LINE + 1]

    def _end(self) -> list[Finding]:
        line, self._rest, self._skipping = self._rest, "", False
        return self._line(line) if line else []

    def _line(self, line: str) -> list[Finding]:
        text = _COLOURS.sub("", line[: MAX_LINE + 1]).strip()
        if not text.startswith(_MARK) or text[len(_MARK) : len(_MARK) + 1].strip():
            return []
        if len(line) > MAX_LINE:
            return self._remark("length", text, f"it is longer than {MAX_LINE} characters")
        fields: dict[str, str] = {}
        position = len(_MARK)
        while position < len(text):
            match = _FIELD.match(text, position)
            if match is None:
                return self._remark("syntax", text, f"{shorten(text[position:].strip())} is not written as key=value")
            key, value = match.groups()
            if key not in _FIELDS:
                return self._remark("field", text, f"{key!r} is not one of {', '.join(_FIELDS)}")
            fields[key] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] in "\"'" else value
            position = match.end()
        return self._metric(fields, text)

    def _metric(self, fields: dict[str, str], text: str) -> list[Finding]:
        for key in ("name", "value"):
            if key not in fields:
                return self._remark(key, text, f"it has no {key}=…")
        try:
            value = float(fields["value"])
        except ValueError:
            return self._remark("number", text, f"the value {shorten(fields['value'])} is not a number")
        try:
            return [Metric(read_name(fields["name"]), value, read_step(fields.get("step")), self._cell)]
        except Unreadable as error:
            return self._remark("step" if "step" in str(error) else "name", text, str(error))

    def _remark(self, kind: str, line: str, reason: str) -> list[Finding]:
        if kind in self._told:
            return []
        self._told.add(kind)
        return [
            Remark(
                f"The line {shorten(line)} is not read as a metric: {reason}. Write ::metric name=accuracy value=0.93 "
                "step=4; further lines like it are passed over without a remark."
            )
        ]
