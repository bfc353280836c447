"""Terminal text as plain text: carriage returns and cursor movements folded, ANSI codes dropped, length bounded.

Programs draw progress bars by printing over what they printed before. `fold` gives the text that a terminal
would show in the end; `Folder` does the same piece by piece with bounded memory, `Screen` is the model of
the terminal behind both. Escape sequences are those of ECMA-48 (CSI, OSC) as xterm and VTE read them.
A character counts as one column; wide characters and line wrapping are not modelled.
"""

from __future__ import annotations

import re
from collections import deque
from functools import cache
from itertools import groupby

WINDOW = 50
"""Rows that a program may still reach with cursor-up; rows above are final, as on a screen of this height."""

LINE_LIMIT = 64 * 1024
"""Longest line, in characters, that can still be redrawn; a longer one is let go as it stands."""

WHOLE_IN = "events.jsonl"
"""Where the remarks about left-out text send the reader."""

_ESCAPE = r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]"
_ANSI = re.compile(_ESCAPE + r"|\x1b")
_TOKEN = re.compile(r"[^\x1b\r\n\b\x07]+|" + _ESCAPE + r"|[\x1b\r\n\b\x07]")
_SGR = re.compile(r"\x1b\[[0-9;:]*m")
_NOT_SGR = re.compile(r"\x1b(?!\[[0-9;:]*m)")
_MOTION = re.compile(r"[\r\b\x07]|" + _NOT_SGR.pattern)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,256}\x1b?|[ -/]*)?\Z")
_PEN_CODES = 8


def strip_ansi(text: str) -> str:
    """The text without escape sequences (colours, cursor movements, window titles)."""
    return _ANSI.sub("", text) if "\x1b" in text else text


def xml_text(text: str) -> str:
    """The text without ANSI codes and without characters that XML 1.0 forbids (section 2.2) or discourages."""
    plain = strip_ansi(text)
    if plain.replace("\n", "").isprintable():  # nearly always, and the pattern takes milliseconds to compile
        return plain
    return _not_xml().sub("", plain)


@cache
def _not_xml() -> re.Pattern[str]:
    return re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010fffd]")


def fold(text: str) -> str:
    """The text as a terminal shows it in the end. Colours stay; other escape sequences go."""
    folder = Folder()
    return folder.feed(text) + folder.rest()


def has_motion(text: str) -> bool:
    """Whether the text does more than print lines in colours, that is, whether folding can change it."""
    if "\r" in text or "\b" in text or "\x07" in text:
        return True
    return "\x1b" in text and _NOT_SGR.search(text) is not None


def first_motion(text: str) -> int:
    """Where the text first does more than print lines in colours. Only for text that `has_motion`."""
    match = _MOTION.search(text)
    return match.start() if match else len(text)


def split_unfinished(text: str) -> tuple[str, str]:
    """The text, and the escape sequence that is cut off at its end, if there is one."""
    if "\x1b" in text[-300:]:
        match = _UNFINISHED.search(text, max(0, len(text) - 300))
        if match:
            return text[: match.start()], match[0]
    return text, ""


def size_text(size: int) -> str:
    """A size in bytes for people, e.g. ``23.4 KiB``."""
    if size < 1024:
        return f"{size} B"
    amount = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024 or unit == "GiB":
            break
    return f"{amount:.1f} {unit}"


def one_line(text: str) -> str:
    """A name that somebody else chose, for a line of ours: what does not print stands as in a Python string."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def seconds_text(seconds: float) -> str:
    """A duration for people, e.g. ``12.3 s`` or ``2 min 5 s``."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def left_out(count: int) -> str:
    """The remark that stands where text was left out."""
    return f"[kernel-gateway] {count:,} characters are left out here; {WHOLE_IN} has them whole."


def clip(text: str, limit: int) -> str:
    """The text, or its head and tail with a remark between them where it is longer than ``limit`` characters."""
    kept = HeadTail(limit)
    kept.add(text)
    return kept.text()


class HeadTail:
    """Keeps the head and the tail of a text of any length: three quarters and one quarter of ``limit`` characters."""

    def __init__(self, limit: int, *, head: int | None = None) -> None:
        """``head``: characters kept from the start, where three quarters of the limit is not wanted."""
        self._room = limit - limit // 4 if head is None else head
        self._tail_limit = max(1, limit // 4)
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self.dropped = 0
        self.kept = 0

    def add(self, text: str) -> None:
        """Append text."""
        if self._room:
            taken = text[: self._room]
            self._room -= len(taken)
            self._head.append(taken)
            self.kept += len(taken)
            text = text[len(taken) :]
        if not text:
            return
        self._tail.append(text)
        self._tail_size += len(text)
        self.kept += len(text)
        while self._tail_size - len(self._tail[0]) >= self._tail_limit:
            gone = len(self._tail.popleft())
            self._tail_size -= gone
            self.kept -= gone
            self.dropped += gone

    def text(self, rest: str = "") -> str:
        """What is kept, with a remark where text is missing. ``rest`` is shown as if it had been added."""
        head, tail = "".join(self._head), "".join(self._tail)
        if rest:
            taken = 0 if self._tail else min(self._room, len(rest))
            head, tail = head + rest[:taken], tail + rest[taken:]
        dropped = self.dropped
        if dropped or len(tail) > self._tail_limit:
            cut = max(0, len(tail) - self._tail_limit)
            line_end = tail.find("\n", cut, cut + 1000)
            cut = line_end + 1 if line_end >= 0 and line_end + 1 < len(tail) else cut
            dropped, tail = dropped + cut, tail[cut:]
        if not dropped:
            return head + tail
        gap = "" if not head or head.endswith("\n") else "\n"
        return f"{head}{gap}{left_out(dropped)}\n{tail}"


class Row:
    """One row of the screen. ``redrawn``: the cursor went back in it; ``shown`` is a note of the console's."""

    __slots__ = ("cut", "pens", "redrawn", "shown", "text")

    def __init__(self) -> None:
        self.text = ""
        self.pens: list[str] | None = None
        self.redrawn = False
        self.shown: str | None = None
        self.cut = False

    def put(self, column: int, text: str, pen: str) -> None:
        """Write over what stands at ``column``; ``pen`` is the colour in force, as its escape codes."""
        old = self.text
        gap = column - len(old)
        if pen and self.pens is None:
            self.pens = [""] * len(old)
        if gap > 0:
            old += " " * gap
        self.text = old[:column] + text + old[column + len(text) :] if column < len(old) else old + text
        if self.pens is not None:
            if gap > 0:
                self.pens += [""] * gap
            self.pens[column : column + len(text)] = [pen] * len(text)

    def erase(self, mode: int, column: int) -> None:
        """CSI K: from the cursor to the end (0), from the start to the cursor (1), all (2)."""
        if mode == 0:
            self.text = self.text[:column]
        elif mode == 1 and column + 1 < len(self.text):
            self.text = " " * (column + 1) + self.text[column + 1 :]
            if self.pens is not None:
                self.pens[: column + 1] = [""] * (column + 1)
        else:
            self.text = ""
        if self.pens is not None:
            del self.pens[len(self.text) :]

    def render(self) -> str:
        """The row as text with its colours."""
        if self.pens is None:
            return self.text
        parts, at, pen = [], 0, ""
        for new, group in groupby(self.pens):
            length = sum(1 for _ in group)
            parts.append(("\x1b[0m" if pen else "") + new + self.text[at : at + length])
            at, pen = at + length, new
        return "".join(parts) + ("\x1b[0m" if pen else "")


class Screen:
    """A terminal of `WINDOW` rows without an edge on the right. Rows that scroll out land in ``scrolled``."""

    def __init__(self) -> None:
        self.rows = [Row()]
        self.at = 0
        self.column = 0
        self.pen = ""
        self.moved_up = False
        self.scrolled: list[Row] = []
        self._unfinished = ""

    @property
    def row(self) -> Row:
        """The row with the cursor."""
        return self.rows[self.at]

    @property
    def at_end(self) -> bool:
        """Whether the next character is appended to all text so far."""
        return self.at == len(self.rows) - 1 and self.column == len(self.row.text) and not self._unfinished

    def write(self, text: str) -> None:
        """Take text as a terminal does. A sequence cut off at the end waits for the next call."""
        text, self._unfinished = split_unfinished(self._unfinished + text)
        for match in _TOKEN.finditer(text):
            self._take(match[0])

    def _take(self, token: str) -> None:
        first = token[0]
        if first == "\n":
            self._down(1)
            self.column = 0
        elif first == "\r":
            self.column = 0
            self.row.redrawn = True
        elif first == "\b":
            self.column = max(0, self.column - 1)
            self.row.redrawn = True
        elif first == "\x1b":
            self._escape(token)
        elif first != "\x07":
            row = self.row
            row.put(self.column, token, self.pen)
            self.column += len(token)
            if len(row.text) > LINE_LIMIT:
                self._let_go()

    def _escape(self, token: str) -> None:
        if not token.startswith("\x1b["):
            return
        if token.endswith("m"):
            self.pen = next_pen(self.pen, token)
            return
        number, final = token[2:-1].split(";")[0], token[-1]
        count = min(int(number), 10_000) if number.isascii() and number.isdigit() else 0
        if final == "A":
            self.at = max(0, self.at - max(1, count))
            self.moved_up = True
        elif final == "B":
            self._down(min(max(1, count), len(self.rows) - 1 - self.at))
        elif final == "C":
            self.column += max(1, count)
        elif final == "D":
            self.column = max(0, self.column - max(1, count))
        elif final == "G":
            self.column = max(1, count) - 1
        elif final == "K":
            self.row.erase(count, self.column)
        elif final == "J" and count == 0:
            self.row.erase(0, self.column)
            del self.rows[self.at + 1 :]
        else:
            return
        self.row.redrawn = True

    def _down(self, count: int) -> None:
        self.at += count
        if self.at == len(self.rows):
            self.rows.append(Row())
            if len(self.rows) > WINDOW:
                self.scrolled.append(self.rows.pop(0))
                self.at -= 1

    def _let_go(self) -> None:
        row = self.row
        self.scrolled += self.rows[: self.at]
        row.cut = True
        self.scrolled.append(row)
        self.rows[: self.at + 1] = [Row()]
        self.at = self.column = 0


def next_pen(pen: str, code: str) -> str:
    """The colour in force after one more SGR code: a reset forgets all, else the latest few codes add up."""
    if code in ("\x1b[0m", "\x1b[m"):
        return ""
    return "".join([old for old in _SGR.findall(pen) if old != code][1 - _PEN_CODES :]) + code


class Folder:
    """Folds text that comes piece by piece, in memory that does not grow with it."""

    def __init__(self) -> None:
        self._screen = Screen()
        self._return = ""

    def feed(self, text: str) -> str:
        """Take text; give back what can't change any more."""
        if self._return or "\r" in text:
            text = (self._return + text).replace("\r\n", "\n")
            self._return = "\r" if text.endswith("\r") else ""
            text = text[: len(text) - len(self._return)]
        screen = self._screen
        direct = ""
        if screen.at_end and text.count("\n") > WINDOW and not has_motion(text):
            direct, text = self._pass_on(text)
        screen.write(text)
        if not screen.scrolled:
            return direct
        done = "".join([row.render() + ("" if row.cut else "\n") for row in screen.scrolled])
        screen.scrolled.clear()
        return direct + done

    def _pass_on(self, text: str) -> tuple[str, str]:
        """Plain lines far above the cursor need no screen: let them through, keep the last ones in reach."""
        screen = self._screen
        cut = len(text)
        for _ in range(WINDOW):
            cut = text.rindex("\n", 0, cut)
        cut += 1
        lines = text[:cut]
        direct = "\n".join([row.render() for row in screen.rows]) + screen.pen + lines
        if "\x1b" in lines:
            for code in _SGR.findall(lines):
                screen.pen = next_pen(screen.pen, code)
        screen.rows, screen.at, screen.column = [Row()], 0, 0
        return direct + ("\x1b[0m" if screen.pen else ""), text[cut:]

    def rest(self) -> str:
        """The rows that later text could still change. Nothing is consumed."""
        return "\n".join([row.render() for row in self._screen.rows])
