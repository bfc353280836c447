"""Gates that a source brings along: in its metadata, and in a gates.yaml beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kernel_gateway.errors import GateError, SourceError
from kernel_gateway.sources import load_source, read_gates_file


def gates_of(own: Any) -> list[str]:
    """The gates of a notebook with this ``metadata.kernel_gateway``."""
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "source": "1",
        "outputs": [],
        "execution_count": None,
    }
    document = {"cells": [cell], "metadata": {"kernel_gateway": own}, "nbformat": 4, "nbformat_minor": 5}
    return load_source(json.dumps(document).encode(), name="x", path="x.ipynb", suffix=".ipynb").gates


def read(text: str | bytes, source: str = "train.ipynb") -> list[tuple[str, str]]:
    content = text.encode() if isinstance(text, str) else text
    return [(gate.expression, gate.place) for gate in read_gates_file(content, "models/gates.yaml", source)]


# -- metadata ----------------------------------------------------------------------------------------------


def test_gates_of_a_notebook_are_texts_or_objects() -> None:
    assert gates_of({"gates": ["accuracy >= 0.9", {"require": "loss < 1"}]}) == ["accuracy >= 0.9", "loss < 1"]


@pytest.mark.parametrize("own", [None, {}, {"gates": None}, {"gates": []}, {"run": "1", "status": "x", "reason": ""}])
def test_a_notebook_without_gates_asks_for_none(own: Any) -> None:
    assert gates_of(own) == []


def test_a_percent_script_names_its_gates_in_its_header() -> None:
    text = "# ---\n# jupyter:\n#   kernel_gateway:\n#     gates:\n#     - accuracy >= 0.9\n# ---\n# %%\nprint(1)\n"

    assert load_source(text.encode(), name="x", path="x.py", suffix=".py").gates == ["accuracy >= 0.9"]


def test_a_markdown_file_names_its_gates_in_its_header() -> None:
    text = "---\njupyter:\n  kernel_gateway:\n    gates: ['accuracy >= 0.9']\n---\n\n```{python}\nprint(1)\n```\n"

    assert load_source(text.encode(), name="x", path="x.Rmd", suffix=".Rmd").gates == ["accuracy >= 0.9"]


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("accuracy > 1", 'metadata.kernel_gateway of the source is "accuracy > 1"; it must be an object.'),
        ({"gate": []}, 'metadata.kernel_gateway of the source has the key "gate", which is not known'),
        ({"gates": "a > 1"}, 'metadata.kernel_gateway.gates of the source is "a > 1"; it must be a list'),
        ({"gates": ["a > 1", 5]}, "metadata.kernel_gateway.gates[1] of the source is 5; a gate is a text or an object"),
        ({"gates": [{"requires": "a > 1"}]}, 'gates[0] of the source has the key "requires"; only `require` is known'),
        ({"gates": [{}]}, "metadata.kernel_gateway.gates[0] of the source has no text `require`"),
        ({"gates": [{"require": 1}]}, "metadata.kernel_gateway.gates[0] of the source has no text `require`"),
        ({"gates": ["a > 1"] * 1001}, "metadata.kernel_gateway.gates of the source has 1001 gates; 1000 may be."),
    ],
)
def test_metadata_that_is_no_list_of_gates_is_told_with_its_place(own: Any, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        gates_of(own)

    assert said in str(caught.value)


# -- gates.yaml --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["", "gates:\n"])
def test_gates_stand_in_a_list_or_below_the_key_gates(head: str) -> None:
    line = 1 + head.count("\n")

    assert read(f"{head}- accuracy >= 0.9   # of the holdout\n- require: '\"val acc\" > 90%'\n") == [
        ("accuracy >= 0.9", f"models/gates.yaml, line {line}, column 3"),
        ('"val acc" > 90%', f"models/gates.yaml, line {line + 1}, column 12"),
    ]


def test_a_gate_may_be_for_some_sources_only() -> None:
    text = "- {require: a > 1, source: train.ipynb}\n- {require: b > 1, source: ['etl*', 'train*']}\n- c > 1\n"

    assert [expression for expression, _ in read(text)] == ["a > 1", "b > 1", "c > 1"]
    assert [expression for expression, _ in read(text, "etl.py")] == ["b > 1", "c > 1"]
    assert [expression for expression, _ in read(text, "report.R")] == ["c > 1"]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[]", "gates:\n", "gates: []\n", "---\n", "\ufeff[]"])
def test_an_empty_file_asks_for_nothing(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("- 'a' > 1\n", "line 1, column 9", "This is not YAML"),
        ("gates: [a > 1\n", "line 2, column 1", "This is not YAML"),
        ("a > 1\n", "line 1, column 1", "Here a list of gates is expected"),
        ("gates:\n  a: b\n", "line 2, column 3", "Here a list of gates is expected"),
        ("gates: []\nbars: []\n", "line 2, column 1", 'The key "bars" is not known here; `gates` may stand here.'),
        ("gates: []\ngates: []\n", "line 2, column 1", "stands here a second time"),
        ("- a > 1\n- 0.9\n", "line 2, column 3", "Here a text is expected."),
        ("- [a > 1]\n", "line 1, column 3", "Here a text is expected."),
        ("- requires: a > 1\n", "line 1, column 3", "`require` and `source` may stand here."),
        ("- source: x\n", "line 1, column 3", "This gate has no `require`, the gate itself."),
        ("- {require: a > 1, source: 5}\n", "line 1, column 28", "Here a text is expected."),
        ("- {require: true}\n", "line 1, column 13", "Here a text is expected."),
        ("- a > 1\n" * 1001, "line 1, column 1", "There are 1001 gates; 1000 may be."),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_column(text: str, place: str, said: str) -> None:
    with pytest.raises(GateError) as caught:
        read(text)

    assert str(caught.value).startswith(f"models/gates.yaml, {place}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"- \xff > 1",
        b"- a\x00b > 1",
        b"[" * 20_000,
        b"- *a",
        b"- &a [*a]",
        b"- &a {require: *a}",
        b"- !!python/object:os.system x",
        b"- !!str [a > 1]",
        b"- {require: !!str {a: b}}",
        b'- "\\UFFFFFFFF > 1"',
        b"%YAML 1." + b"9" * 5000 + b"\n---\n- a > 1",
        b"- a > 1 # " + b"x" * (1 << 20),
    ],
    ids=lambda content: content[:12].decode("latin-1"),
)
def test_a_hostile_file_is_refused_with_its_name(content: bytes) -> None:
    with pytest.raises(GateError, match=r"^models/gates.yaml"):
        read(content)
