"""Parameter values as typed: on the command line and in files."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.errors import ParameterError
from kernel_gateway.sources import parse_parameters

BOMB = b"a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n" + b"".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n".encode() for before, name in pairwise("abcdefghi")
)
"""Nine lines of YAML that stand for 10⁹ values."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        (".5", 0.5),
        ("3", 3),
        ("-3", -3),
        ("007", 7),
        ("0x1F", 31),
        ("1_000", 1000),
        (str(2**80), 2**80),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
        (".inf", math.inf),
        ("true", True),
        ("True", True),
        ("false", False),
        ("None", None),
        ("null", None),
        ("~", None),
        ("[1, 1e-3, a, no, true]", [1, 0.001, "a", "no", True]),
        ('{"a": {"b": null}, "c": 12:30}', {"a": {"b": None}, "c": "12:30"}),
        ("{2: a, true: b}", {"2": "a", "true": "b"}),
        ("'1.0'", "1.0"),
        ('"a\\nb"', "a\nb"),
    ],
)
def test_values_get_the_type_they_look_like(text: str, value: Any) -> None:
    parsed = parse_parameters([("x", text)])["x"]
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "abc", "no", "yes", "on", "off", "12:30", "12:30:45", "2024-01-31", "a: b", "- a", "a # b", "# a",
        "*x", "&x", "!x", "!!python/object:os.system {}", "[1, 2", "{{x}}", '"a" b', "a\nb", "1 2", "1.2.3", "é😀", "|",
        "@x", "-", "+", ".", "_1", "1_", "e5", "9" * 5000,
    ],
)  # fmt: skip
def test_whatever_yaml_refuses_or_would_twist_stays_the_text_typed(text: str) -> None:
    assert parse_parameters([("x", text)]) == {"x": text}


def test_nan_is_a_number() -> None:
    assert math.isnan(parse_parameters([("x", "nan")])["x"])


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_gives_a_value_that_json_holds(text: str) -> None:
    json.dumps(parse_parameters([("x", text)]))


def test_files_are_mappings_in_yaml_or_json_and_dates_are_text() -> None:
    content = b"lr: 1e-3\nflag: yes\nday: 2024-01-31\nat: 12:30\nnested: {a: [1, 2]}\nbig: 0x10\nnone:\n"
    assert parse_parameters([], [content]) == {
        "lr": 0.001, "flag": True, "day": "2024-01-31", "at": "12:30", "nested": {"a": [1, 2]}, "big": 16, "none": None,
    }  # fmt: skip
    assert parse_parameters([], [json.dumps({"a": [1.5, None, True], "t": "no"}).encode()]) == {
        "a": [1.5, None, True],
        "t": "no",
    }
    assert parse_parameters([], [b"day: !!timestamp 2024-01-31"]) == {"day": "2024-01-31"}
    assert parse_parameters([], [b""]) == {}


def test_pairs_win_over_files_and_later_ones_over_earlier_ones() -> None:
    files = [b"a: 1\nb: 1\nc: 1", b"b: 2\nc: 2"]
    assert parse_parameters([("c", "3"), ("d", "3"), ("d", "4")], files) == {"a": 1, "b": 2, "c": 3, "d": 4}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"- a\n- b", "must be a mapping of names to values, not a list"),
        (b"hello", "not a text"),
        (b"a: [1,\nb: 2", r"neither YAML nor JSON \(line 2, column \d+\)"),
        (b"a: !!python/object/apply:os.system [ls]", "neither YAML nor JSON"),
        (b"\xff", "not UTF-8"),
        (b"a: !!set {x}", "The parameter a is a set, which JSON can't hold"),
        (b"a: !!binary aGk=", "The parameter a is binary data"),
        (b"a: &x [*x]", "contains itself"),
        (BOMB, r"The parameter f holds more than 1,000,000 values\. Hand them over in a file"),
        (b'a: "\\uD83D"', "isn't valid Unicode"),
    ],
)
def test_a_bad_parameter_file_is_told_what_is_wrong(content: bytes, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        parse_parameters([], [content])


def test_the_file_at_fault_is_counted() -> None:
    with pytest.raises(ParameterError, match="parameter file number 2 must be"):
        parse_parameters([], [b"a: 1", b"[]"])


def test_a_parameter_needs_a_name() -> None:
    with pytest.raises(ParameterError, match="without a name"):
        parse_parameters([("", "1")])
