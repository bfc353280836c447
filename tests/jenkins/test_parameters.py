"""A parameters cell as a build's parameters: kind, default, choices, help, and what builds can't set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernel_gateway.jenkins.headings import headings, title_and_sections
from kernel_gateway.jenkins.parameters import BuildParameter, Kind, build_parameters
from kernel_gateway.sources import Program, load_source

ROOT = Path(__file__).parent.parent.parent


def notebook(*cells: tuple[str, str], language: str = "python") -> Program:
    """A program of cells, each a type and a source; a code cell is tagged as that of the parameters."""
    document = {
        "nbformat": 4,
        "nbformat_minor": 4,
        "metadata": {"kernelspec": {"name": language, "display_name": language, "language": language}},
        "cells": [
            {"cell_type": type, "metadata": {"tags": ["parameters"]}, "source": source}
            | ({"outputs": [], "execution_count": None} if type == "code" else {})
            for type, source in cells
        ],
    }
    return load_source(json.dumps(document).encode(), name="example", path=None, suffix=".ipynb")


def one(source: str, language: str = "python") -> BuildParameter:
    """The only parameter of a cell."""
    found, left_out = build_parameters(notebook(("code", source), language=language))
    assert left_out == []
    (parameter,) = found
    return parameter


@pytest.mark.parametrize(
    ("source", "kind", "default"),
    [
        ("x = True", Kind.BOOLEAN, True),
        ("x = 20", Kind.WHOLE, "20"),
        ("x = -3", Kind.WHOLE, "-3"),
        ("x = 0.002", Kind.NUMBER, "0.002"),
        ("x = 1e-07", Kind.NUMBER, "1e-07"),
        ("x: float = 1", Kind.NUMBER, "1"),
        ("x = 1  # type: float", Kind.NUMBER, "1"),
        ("x = 'model'", Kind.LINE, "model"),
        ("x = ''", Kind.LINE, ""),
        ('x = "with # hash"', Kind.LINE, "with # hash"),
        ('x = """a\nb"""', Kind.TEXT, "a\nb"),
        ("x = (\n    'a'\n    'b'\n)", Kind.LINE, "ab"),
        ("%matplotlib inline\nx = 3", Kind.WHOLE, "3"),
    ],
)
def test_kind_and_default_are_those_of_the_value(source: str, kind: Kind, default: str | bool) -> None:
    parameter = one(source)

    assert (parameter.kind, parameter.default, parameter.choices, parameter.optional) == (kind, default, [], False)


@pytest.mark.parametrize(
    ("source", "language", "kind", "default"),
    [
        ("epochs <- 20L", "R", Kind.WHOLE, "20"),
        ("rate <- 0.5", "R", Kind.NUMBER, "0.5"),
        ("fast <- TRUE", "R", Kind.BOOLEAN, True),
        ("name <- 'x'", "R", Kind.LINE, "x"),
        ("name=churn", "bash", Kind.LINE, "churn"),
        ("let name = 'x';", "javascript", Kind.LINE, "x"),
        ("val epochs = 20", "kotlin", Kind.WHOLE, "20"),
        ("double rate = 1.5;", "java", Kind.NUMBER, "1.5"),
    ],
)
def test_other_languages_are_read_too(source: str, language: str, kind: Kind, default: str | bool) -> None:
    parameter = one(source, language)

    assert (parameter.kind, parameter.default) == (kind, default)


@pytest.mark.parametrize(
    ("source", "choices", "help"),
    [
        ('x: Literal["a", "b"] = "b"  # which', ["a", "b"], "which"),
        ('x: typing.Literal["a", "b"] = "a"', ["a", "b"], ""),
        ("x: Literal[1, 2] = 2", ["1", "2"], ""),
        ('x = "adam"  # the optimiser (choices: adam, sgd)', ["adam", "sgd"], "the optimiser"),
        ('x = "adam"  # one of: adam | sgd', ["adam", "sgd"], ""),
        ('x = "adam"  # choices: sgd, rmsprop', [], ""),
        ("x = 3  # choices: 3, many", [], ""),
    ],
)
def test_choices_come_from_the_annotation_or_the_comment(source: str, choices: list[str], help: str) -> None:
    parameter = one(source)

    assert (parameter.choices, parameter.help) == (choices, help)


@pytest.mark.parametrize(
    ("source", "help"),
    [
        ("x = 1  # passes over the data", "passes over the data"),
        ("x = 1  # type: int  # passes", "passes"),
        ("x = '# no'  # yes", "yes"),
        ("# above\nx = 1", ""),
        ("x = (\n1)  # behind it", "behind it"),
    ],
)
def test_help_is_the_comment_behind_the_assignment(source: str, help: str) -> None:
    assert one(source).help == help


@pytest.mark.parametrize("annotation", ["Optional[int]", "int | None", "None | int", "typing.Optional[int]"])
def test_none_with_a_type_may_be_left_empty(annotation: str) -> None:
    parameter = one(f"x: {annotation} = None")

    assert (parameter.kind, parameter.default, parameter.optional) == (Kind.WHOLE, "", True)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = [1, 2]", "no field for such a value"),
        ("x = {'a': 1}", "no field for such a value"),
        ("x = None", "no field for such a value"),
        ("x = 1e999", "no field for such a value"),
        ("x = b'1'", "no field for such a value"),
        ("x = Path('a')", "computed by the notebook"),
        ("x = 2 * 3", "computed by the notebook"),
        ("x = f'{1}'", "computed by the notebook"),
        ("x = 12345678901", "at most 9 digits"),
        ("x = 'a\\x00b'", "characters that Jenkins can't keep"),
        ("x = 'a\\r\\nb'", "characters that Jenkins can't keep"),
        ("x = '\\ud800'", "characters that Jenkins can't keep"),
        ("PATH = '/bin'", "environment variable"),
        ("BUILD_NUMBER = 1", "environment variable"),
        ("KERNEL_GATEWAY_URL = 'x'", "environment variable"),
    ],
)
def test_what_builds_cant_set_is_left_out_with_a_reason(source: str, reason: str) -> None:
    found, left_out = build_parameters(notebook(("code", source)))

    assert found == []
    assert [reason in one.reason for one in left_out] == [True]


def test_a_notebook_without_a_parameters_cell_has_none() -> None:
    assert build_parameters(notebook(("markdown", "# x"), ("markdown", "y"), ("code", ""))) == ([], [])


def test_the_training_example_has_all_its_parameters() -> None:
    content = (ROOT / "examples" / "train.ipynb").read_bytes()

    found, left_out = build_parameters(load_source(content, name="train", path=None, suffix=".ipynb"))

    assert [parameter.name for parameter in found] == [
        "epochs", "learning_rate", "hidden", "test_size", "seed", "model_dir",
    ]  # fmt: skip
    assert left_out == []
    assert found[1].help == "of the Adam optimiser"


def test_headings_are_those_of_commonmark_as_plain_text() -> None:
    program = notebook(
        ("markdown", "# The *title* with `code` and a [link](x)\n\n```\n# no heading\n```\nUnder\n---\n"),
        ("markdown", "## Second <b>part</b>\n### Deeper\n## "),
        ("code", "# no heading"),
    )

    assert headings(program) == [
        (1, "The title with code and a link"),
        (2, "Under"),
        (2, "Second part"),
        (3, "Deeper"),
    ]
    assert title_and_sections(program, "x") == ("The title with code and a link", ["Under", "Second part"])


def test_a_notebook_without_headings_has_its_name_for_a_title() -> None:
    assert title_and_sections(notebook(("code", "x = 1")), "churn") == ("churn", [])
