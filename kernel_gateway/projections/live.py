"""One stream of the live console: text as printed, except that progress bars become a few lines.

A log can't take back what it shows. So text is passed on as it comes until it moves the cursor back; from
there on the rows that it redraws are followed on a `Screen`, and a row is shown as a line of its own when
enough time has passed, and in its final state.
"""

from __future__ import annotations

from collections.abc import Iterator

from .text import LINE_LIMIT, Row, Screen, first_motion, has_motion, split_unfinished

Piece = tuple[str, bool]
"""Text to show, and whether it must begin on a fresh line."""


class LiveStream:
    """Turns a stream's chunks into console text. One for stdout and one for stderr."""

    def __init__(self, interval: float, *, progress: bool) -> None:
        """``interval``: seconds between two lines of a bar; ``progress``: whether to show states before the last."""
        self._interval = interval
        self._progress = progress
        self._shown_at: float | None = None
        self._screen: Screen | None = None
        self._line = ""
        self._held = ""

    def feed(self, text: str, time: float) -> Iterator[Piece]:
        """Take the next chunk, printed at ``time`` (seconds)."""
        text = self._held + text
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        text, self._held = (text[:-1], "\r") if text.endswith("\r") else split_unfinished(text)
        if not text:
            return
        moving = has_motion(text)
        if self._screen is not None and self._screen.moved_up and not moving and "\n" in text and text.strip():
            yield from self.flush()
            text = text.lstrip("\n")  # these only lead the cursor out of the rows just shown
        if self._screen is None:
            if not moving:
                yield text, False
                self._remember(text)
                return
            start = text.rfind("\n", 0, first_motion(text)) + 1
            if start:
                yield text[:start], False
                self._line, text = "", text[start:]
            self._screen = Screen()
            self._screen.write(self._line)
            self._screen.row.shown = self._screen.row.text
        self._screen.write(text)
        yield from self._advance(self._screen, time)

    def flush(self) -> Iterator[Piece]:
        """Show the final state of every row that is still open; the stream begins anew."""
        if self._screen is not None:
            for row in self._screen.scrolled + self._screen.rows:
                yield from self._show(row)
        self._screen = None
        self._line = ""

    def _remember(self, text: str) -> None:
        end = text.rfind("\n")
        self._line = text[end + 1 :] if end >= 0 else (self._line + text)[-LINE_LIMIT:]

    def _advance(self, screen: Screen, time: float) -> Iterator[Piece]:
        done = screen.scrolled
        screen.scrolled = []
        if not screen.moved_up:
            done = done + screen.rows[: screen.at]
            del screen.rows[: screen.at]
            screen.at = 0
        for row in done:
            yield from self._show(row)
        if not screen.moved_up and not screen.row.redrawn:
            row = screen.row
            self._screen, self._line = None, row.render() + screen.pen
            if row.text != (row.shown or ""):
                yield self._line, True
            elif screen.pen:
                yield screen.pen, False
            return
        due = self._shown_at is None or time - self._shown_at >= self._interval
        changed = [row for row in screen.rows if _is_new(row)]
        if self._progress and due and changed:
            self._shown_at = time
            for row in changed:
                yield from self._show(row)

    def _show(self, row: Row) -> Iterator[Piece]:
        if not _is_new(row):
            return
        before = row.shown or ""
        if before and not row.redrawn and row.text.startswith(before):
            yield row.text[len(before) :] + "\n", False
        else:
            yield row.render().rstrip() + "\n", True
        row.shown = row.text


def _is_new(row: Row) -> bool:
    text = row.text.rstrip()
    if not text:
        return not row.redrawn and row.shown is None
    return text != (row.shown or "").rstrip()
