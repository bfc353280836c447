"""Zeppelin notes: interpreters, headings, disabled paragraphs, and what isn't one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kernel_gateway.errors import SourceError
from kernel_gateway.sources import Program, load_source


def load(*paragraphs: Any, **fields: Any) -> Program:
    note = {"paragraphs": list(paragraphs), "name": "Note"} | fields
    return load_source(json.dumps(note).encode(), name="n", path="n.zpln", suffix=".zpln")


def text(content: str | None, **fields: Any) -> dict[str, Any]:
    return {"text": content, "config": {"enabled": True}, "results": {"code": "SUCCESS", "msg": []}} | fields


def test_the_interpreter_becomes_the_cells_language() -> None:
    paragraphs = [
        "%md\n# Load",
        "%python\nx = 1",
        "%python.ipython y",
        "%sh ls",
        "%r\nz",
        "%spark.pyspark\nq",
        "%jdbc(default)\nselect 1",
        "%jupyter(kernel=ir)\nw",
    ]

    program = load(*map(text, paragraphs))

    assert [(cell.type, cell.kernel, cell.source) for cell in program.cells] == [
        ("markdown", None, "# Load"),
        ("code", None, "x = 1"),
        ("code", None, "y"),
        ("code", "bash", "ls"),
        ("code", "r", "z"),
        ("code", None, "q"),
        ("code", "sql", "select 1"),
        ("code", "ir", "w"),
    ]
    assert (program.language, program.kernel, program.format) == ("python", None, "zeppelin")
    assert program.cells[1].title == "Load"


def test_a_paragraph_without_interpreter_takes_the_notes_default() -> None:
    program = load(text("ls"), text("%python\nx"), defaultInterpreterGroup="sh")
    assert program.language == "bash"
    assert [cell.kernel for cell in program.cells] == [None, "python"]


def test_a_paragraphs_title_becomes_a_heading_and_its_id_stays() -> None:
    program = load(text("%sh\nls", title="List  it", id="paragraph_1_2"), text("%sh\nls", id="no good!"))

    assert [(cell.id, cell.type, cell.source) for cell in program.cells] == [
        ("cell-0000", "markdown", "## List it"),
        ("paragraph_1_2", "code", "ls"),
        ("cell-0002", "code", "ls"),
    ]
    assert program.cells[1].title == "List it"


def test_a_disabled_paragraph_is_skipped() -> None:
    program = load(text("%sh\nls", config={"enabled": False}), text("%sh\npwd"))
    assert [cell.is_executable for cell in program.cells] == [False, True]


def test_paragraphs_without_text_are_left_out_and_web_pages_are_not_run() -> None:
    program = load(text(None), {}, text("%html <b>"), text("%sh\nls"))
    assert [cell.type for cell in program.cells] == ["raw", "code"]


def test_ipython_magics_are_no_interpreters() -> None:
    assert load(text("%%time\nf()"), defaultInterpreterGroup="python").cells[0].source == "%%time\nf()"


def test_an_unknown_interpreter_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SourceError, match=r"`paragraphs\[1\]`.*%flink.*%md.*%python,.*%jupyter"):
        load(text("%sh\nls"), text("%flink\nx"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "isn't JSON"),
        ("[]", "`paragraphs` is missing"),
        ('{"paragraphs": 1}', "`paragraphs` is missing or not a list"),
        ('{"paragraphs": [1]}', r"`paragraphs\[0\]` is not an object"),
        ('{"paragraphs": [{"text": 1}]}', r"`paragraphs\[0\]\.text` is not a string"),
        ('{"paragraphs": [{"text": "%md\\nx"}]}', "holds no code"),
    ],
)
def test_a_broken_note_names_what_is_wrong(content: str, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        load_source(content.encode(), name="n", path=None, suffix=".zpln")
