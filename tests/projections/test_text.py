"""Folding: what a terminal would show, computed piece by piece."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_gateway.projections.text import (
    WINDOW,
    Folder,
    HeadTail,
    clip,
    fold,
    seconds_text,
    size_text,
    strip_ansi,
    xml_text,
)


class Grid:
    """The plainest screen there is: a character a place, no windows, no speed."""

    def __init__(self) -> None:
        self.places: dict[tuple[int, int], str] = {}
        self.row = self.column = self.bottom = 0

    def take(self, op: str) -> None:
        if op == "\n":
            self.row, self.column = self.row + 1, 0
            self.bottom = max(self.bottom, self.row)
        elif op == "\r":
            self.column = 0
        elif op in ("\b", "\x1b[D"):
            self.column = max(0, self.column - 1)
        elif op == "\x1b[A":
            self.row = max(0, self.row - 1)
        elif op == "\x1b[B":
            self.row = min(self.bottom, self.row + 1)
        elif op == "\x1b[2C":
            self.column += 2
        elif op == "\x1b[3G":
            self.column = 2
        elif op in ("\x1b[K", "\x1b[1K", "\x1b[2K"):
            for row, column in list(self.places):
                here = column >= self.column if op == "\x1b[K" else column <= self.column or op == "\x1b[2K"
                if row == self.row and here:
                    del self.places[row, column]
        elif not op.startswith("\x1b"):
            for character in op:
                self.places[self.row, self.column] = character
                self.column += 1

    def text(self) -> str:
        lines = []
        for row in range(self.bottom + 1):
            columns = [column for at, column in self.places if at == row]
            lines.append("".join(self.places.get((row, c), " ") for c in range(max(columns, default=-1) + 1)))
        return "\n".join(lines)


def bare(text: str) -> str:
    return "\n".join(line.rstrip(" ") for line in strip_ansi(text).split("\n"))


OPS = st.one_of(
    st.sampled_from(["\n", "\r", "\b", "\x1b[A", "\x1b[B", "\x1b[D", "\x1b[2C", "\x1b[3G"]),
    st.sampled_from(["\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[31m", "\x1b[0m", "\x1b[?25l", "\x1b]0;title\x07", "\r\n"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f\x85"), max_size=6),
)


@given(st.lists(OPS, max_size=40))
@settings(max_examples=300, deadline=None)
def test_folded_text_is_what_a_plain_screen_model_shows(ops: list[str]) -> None:
    grid = Grid()
    for op in ops:
        for part in ["\r", "\n"] if op == "\r\n" else [op]:
            grid.take(part)

    assert bare(fold("".join(ops))) == bare(grid.text())


@given(st.lists(OPS, max_size=40), st.lists(st.integers(0, 120), max_size=6))
@settings(max_examples=300, deadline=None)
def test_where_the_text_is_cut_into_chunks_makes_no_difference(ops: list[str], cuts: list[int]) -> None:
    text = "".join(ops)
    folder, done, at = Folder(), "", 0

    for cut in [*sorted(min(cut, len(text)) for cut in cuts), len(text)]:
        done += folder.feed(text[at:cut])
        at = cut

    assert done + folder.rest() == fold(text)


def test_a_carriage_return_overwrites_and_a_longer_rest_remains() -> None:
    assert fold("100 percent\r 50") == " 50 percent"
    assert fold("100 percent\r50\x1b[K") == "50"
    assert fold("one\r\ntwo\r\n") == "one\ntwo\n"
    assert fold("abc\b\bX") == "aXc"


def test_nested_progress_bars_keep_a_row_each() -> None:
    # tqdm's own sequence for a bar at position 1: down, redraw, up again.
    text = "\router 0%\n\rinner 50%\x1b[A\n\rinner 99%\x1b[A\router 1%"

    assert fold(text) == "outer 1%\ninner 99%"


def test_colours_stay_with_the_characters_that_they_were_written_with() -> None:
    assert fold("\x1b[31mAAAA\x1b[0m\rBB") == "BB\x1b[31mAA\x1b[0m"
    assert fold("\x1b[1mbold\x1b[0m plain\n") == "\x1b[1mbold\x1b[0m plain\n"


def test_a_colour_in_force_survives_a_flood_of_plain_lines() -> None:
    lines = "x\n" * (3 * WINDOW)

    folded = fold("\x1b[31mred\n" + lines + "still\x1b[0m")

    assert strip_ansi(folded) == "red\n" + lines + "still"
    assert folded.endswith("\x1b[31mstill\x1b[0m")


def test_rows_above_the_window_are_final() -> None:
    folder = Folder()

    done = folder.feed("".join(f"line {number}\n" for number in range(WINDOW + 10)))

    assert done.startswith("line 0\nline 1\n")
    assert folder.rest().count("\n") <= WINDOW


def test_a_line_without_end_takes_bounded_memory() -> None:
    folder, size = Folder(), 0
    chunk = "x" * 65536
    tracemalloc.start()
    for _ in range(320):
        size += len(folder.feed(chunk))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert size + len(folder.rest()) == 320 * 65536
    assert peak < 2 * 1024 * 1024


def test_a_million_redraws_of_one_line_fold_to_its_last_state() -> None:
    folder = Folder()
    for chunk in range(100):
        assert folder.feed("".join(f"\r{chunk * 1000 + n:>8}" for n in range(1000))) == ""

    assert folder.rest() == "   99999"


def test_head_and_tail_are_kept_and_the_remark_counts_what_is_missing() -> None:
    lines = [f"line {number:05}\n" for number in range(10_000)]

    text = clip("".join(lines), 1000)

    head, remark, *tail = text.partition("[kernel-gateway] ")
    assert head.startswith("line 00000\n")
    assert "events.jsonl" in tail[0]
    assert text.endswith("line 09999\n")
    missing = int(tail[0].split()[0].replace(",", ""))
    shown = text.replace(f"{remark}{tail[0].splitlines()[0]}\n", "")
    assert len(shown) + missing in (110_000, 110_001)


def test_a_text_within_the_limit_is_kept_as_it_is() -> None:
    kept = HeadTail(100)
    for _ in range(10):
        kept.add("0123456789")

    assert kept.text() == "0123456789" * 10
    assert HeadTail(100).text("x" * 100) == "x" * 100


def test_xml_text_has_no_colours_and_no_forbidden_characters() -> None:
    assert xml_text("\x1b[1;31mred\x1b[0m\x00\x08 \ufffe\ud800ok\n\t\U0001f600") == "red ok\n\t\U0001f600"


def test_sizes_and_durations_are_written_for_people() -> None:
    assert [size_text(n) for n in (0, 1023, 24_000, 5 * 1024**2)] == ["0 B", "1023 B", "23.4 KiB", "5.0 MiB"]
    assert [seconds_text(n) for n in (0.04, 12.34, 125, 3725)] == ["0.0 s", "12.3 s", "2 min 5 s", "1 h 2 min"]
