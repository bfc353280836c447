"""Titles: what a cell is called in console, JUnit and report."""

from __future__ import annotations

import pytest

from kernel_gateway.sources.program import Cell, CellType
from kernel_gateway.sources.titles import LIMIT, first_line, last_heading, set_titles


def titles(*cells: tuple[CellType, str]) -> list[str]:
    made = [Cell(id=str(index), type=type, source=source) for index, (type, source) in enumerate(cells)]
    set_titles(made, "python")
    return [cell.title for cell in made if cell.type == "code"]


def test_a_heading_titles_the_first_code_cell_below_it_only() -> None:
    assert titles(("markdown", "# Load"), ("code", "x = 1"), ("code", "y = 2")) == ["Load", "y = 2"]


def test_the_nearest_heading_wins_and_text_below_it_is_no_obstacle() -> None:
    assert titles(("markdown", "# All\ntext\n## Part"), ("markdown", "more text"), ("code", "x")) == ["Part"]


def test_anything_but_markdown_between_breaks_the_tie_but_blank_code_does_not() -> None:
    assert titles(("markdown", "# A"), ("raw", "r"), ("code", "x")) == ["x"]
    assert titles(("markdown", "# A"), ("code", " \n"), ("code", "x")) == ["", "A"]


@pytest.mark.parametrize(
    ("markdown", "heading"),
    [
        ("## Load **the** [data](http://x) `now` ##", "Load the data now"),
        ("Title\n=====\n", "Title"),
        ("<h1 align='center'>Big <i>one</i></h1>", "Big one"),
        ("```python\n# no heading\n```", ""),
        ("~~~\n# no\n~~~\n# yes", "yes"),
        ("#no", ""),
        ("- item\n---", ""),
        ("# Named {#id}", "Named"),
        ("text", ""),
    ],
)
def test_headings_are_read_as_plain_text(markdown: str, heading: str) -> None:
    assert last_heading(markdown) == heading


@pytest.mark.parametrize(
    ("source", "language", "title"),
    [
        ("# Train the model\nfit()", "python", "Train the model"),
        ("\n\nfit()\n# later", "python", "fit()"),
        ("#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n# -----\n# Real\nx", "python", "Real"),
        ("%%time\nfit()", "python", "fit()"),
        ("%%time", "python", "%%time"),
        ("%matplotlib inline", "python", "%matplotlib inline"),
        ("// Load\nf();", "javascript", "Load"),
        ("/* Load */\nf();", "java", "Load"),
        ("/**\n * Load\n */", "java", "Load"),
        ("-- Load\nselect 1", "sql", "Load"),
        ("%% Load\nx = 1", "octave", "Load"),
        ("#| eval: false\nx <- 1", "r", "x <- 1"),
        ('"""Train."""\nx', "python", "Train."),
        ("# noqa\nx", "python", "x"),
        ('# /// script\n# dependencies = ["rich"]\n# ///\n# Load\nx', "python", "Load"),
        ("  \n", "python", ""),
        ("-----", "python", "-----"),
        ("x = '\x1b[1m'\ty", "python", "x = ' [1m' y"),
    ],
)
def test_a_first_line_that_tells_something_is_the_title(source: str, language: str, title: str) -> None:
    assert first_line(source, language) == title


def test_long_titles_are_cut() -> None:
    assert len(first_line("x" * 500, None)) == LIMIT
    assert first_line("x" * 500, None).endswith("x…")
    assert first_line("x" * LIMIT, None) == "x" * LIMIT
