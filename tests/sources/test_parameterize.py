"""Where parameters go in a program, and which names a program knows."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_gateway.errors import ParameterError
from kernel_gateway.sources import Cell, Program, known_parameters, parameterize, parameters_cell


def cell(id: str, source: str = "x = 1", *tags: str, kernel: str | None = None) -> Cell:
    return Cell(id=id, type="code", source=source, kernel=kernel, metadata={"tags": list(tags)})


def program(*cells: Cell) -> Program:
    return Program(name="p", path=None, format="notebook", digest="sha256:0", cells=list(cells))


def inject(given: Program, language: str = "python", /, **parameters: Any) -> Program:
    return parameterize(given, parameters, language=language, kernel_name="python3")


def ids(given: Program) -> list[str]:
    return [cell.id for cell in given.cells]


def test_the_values_stand_right_after_the_defaults() -> None:
    given = program(cell("a"), cell("p", "lr = 0.1", "parameters", kernel="ir"), cell("b"))

    made = inject(given, lr=0.5)

    assert ids(made) == ["a", "p", "injected-parameters", "b"]
    assert made.cells[2].source == "# Parameters\nlr = 0.5\n"
    assert made.cells[2].tags == ["injected-parameters"]
    assert made.cells[2].kernel == "ir"
    assert made.cells[2].title == "Parameters"
    assert made.parameters == {"lr": 0.5}


def test_the_given_program_stays_as_it_is() -> None:
    given = program(cell("p", "lr = 0.1", "parameters"))
    inject(given, lr=1)
    assert ids(given) == ["p"]
    assert given.parameters == {}


def test_an_earlier_injected_cell_is_replaced_where_it_stands() -> None:
    given = program(cell("p", "a = 1", "parameters"), cell("b"), cell("old", "a = 2", "injected-parameters"), cell("c"))
    assert ids(inject(given, a=3)) == ["p", "b", "old", "c"]
    assert inject(given, a=3).cells[2].source == "# Parameters\na = 3\n"
    assert ids(inject(inject(given, a=3), a=4)) == ["p", "b", "old", "c"]


def test_without_a_parameters_cell_the_values_come_first_and_any_name_goes() -> None:
    assert ids(inject(program(cell("a"), cell("injected-parameters")), new=1)) == [
        "injected-parameters-2",
        "a",
        "injected-parameters",
    ]


def test_without_parameters_nothing_changes() -> None:
    given = program(cell("p", "lr = 0.1", "parameters"))
    assert inject(given) == given


def test_papermill_would_write_the_same_for_simple_values() -> None:
    from papermill.translators import translate_parameters  # type: ignore[import-untyped, unused-ignore]

    values = {"a": 1, "b": "text", "c": [1, 2.5, None], "d": {"k": True}}
    for language in ("python", "R", "scala", "julia"):
        written = parameterize(program(cell("a")), values, language=language, kernel_name="").cells[0].source
        assert written == translate_parameters("", language, values)


def test_an_unknown_parameter_is_refused_with_the_known_ones_and_a_guess() -> None:
    given = program(cell("p", "learning_rate = 0.1\nepochs = 3\nname: str", "parameters"))
    with pytest.raises(ParameterError) as raised:
        inject(given, learning_rte=1, zzz=2)
    assert str(raised.value) == (
        "Unknown parameters 'learning_rte' (did you mean 'learning_rate'?), 'zzz'."
        " The source knows: learning_rate (default 0.1), epochs (default 3), name."
    )


@pytest.mark.parametrize("source", ["# to be filled", "from defaults import *\na = 1", "%run defaults.py\na = 1"])
def test_a_parameters_cell_that_cannot_be_read_off_takes_any_name(source: str) -> None:
    assert inject(program(cell("p", source, "parameters")), anything=1).parameters == {"anything": 1}


def test_the_first_code_cell_tagged_parameters_is_the_one() -> None:
    text = Cell(id="t", type="markdown", source="x", metadata={"tags": ["parameters"]})
    first = cell("1", "a = 1", "parameters")
    assert parameters_cell(program(text, first, cell("2", "b = 1", "parameters"))) is first
    assert parameters_cell(program(text)) is None


PYTHON = """
%matplotlib inline
import os  # a comment
a = 1
b: float = 2.5
c, d = 3, "four"
e = f = [
    1,  # one
]
g = !ls
h = %env HOME
(i, *j), k = x
!pip list
?os
if a:
    l = 1
else:
    m = 1
try:
    n = 1
except OSError as error:
    o = 1
def local(): p = 1
q.attribute = 1
r["key"] = 1
s += 1
a = 2
t: int
"""


def test_python_names_are_read_from_the_syntax_tree_magics_or_not() -> None:
    known = known_parameters(program(cell("p", PYTHON, "parameters")), "python")
    assert known == {
        "a": "2", "b": "2.5", "c": "3", "d": '"four"', "e": "[\n    1,  # one\n]",
        "f": "[\n    1,  # one\n]", "g": "!ls", "h": "%env HOME", "i": "x", "k": "x", "l": "1", "m": "1", "n": "1",
        "o": "1",
        "t": "",
    }  # fmt: skip


def test_python_that_does_not_parse_is_read_by_patterns() -> None:
    source = "a = 1 # one\nb: float = 2\n= 2\nc == 3\nprint 'x'\nd = [\n 1,\n 2]\n"
    assert known_parameters(program(cell("p", source, "parameters")), "python") == {
        "a": "1",
        "b": "2",
        "d": "[\n 1,\n 2]",
    }


@pytest.mark.parametrize(
    ("language", "source", "known"),
    [
        (
            "R",
            "a <- 1 # one\nb = 'x#y'\nc.d <- list(e = 1,\n f = 2)\n3 -> g\nif (h == 1) {}",
            {"a": "1", "b": "'x#y'", "c.d": "list(e = 1,\n f = 2)", "g": "3"},
        ),
        (
            "bash",
            (
                "a=1 # one\nexport B='x y'; c=\"$HOME#\"\n"
                "if [ d = 1 ]; then :; fi\n: ${e:=5}\ndeclare -A f=([k]=v)\ng=${g:-7}"
            ),
            {"a": "1", "B": "'x y'", "c": '"$HOME#"', "e": "5", "f": "([k]=v)", "g": "${g:-7}"},
        ),
        (
            "javascript",
            "let a = 1; // one\nconst b = {c: 'x;y'};\nvar d = [\n1]\ne = 2\nif (f == 1) {}\ng => 1",
            {"a": "1", "b": "{c: 'x;y'}", "d": "[\n1]", "e": "2"},
        ),
        ("typescript", "let a: number = 1;\nexport const b: string[] = ['x'];", {"a": "1", "b": "['x']"}),
        (
            "java",
            (
                'int a = 1;\nfinal String b = "x;";\nvar c = 2.5;\n'
                "List<String> d = List.of();\ndouble[] e = {1};\nf = 3;\nimport java.util.*;"
            ),
            {"a": "1", "b": '"x;"', "c": "2.5", "d": "List.of()", "e": "{1}", "f": "3"},
        ),
        (
            "kotlin",
            "val a = 1\nvar b: Double = 2.5\nval c: List<Int> = listOf(1)",
            {"a": "1", "b": "2.5", "c": "listOf(1)"},
        ),
        ("scala", "val a = 1\nlazy val b: Double = 2.5", {"a": "1", "b": "2.5"}),
        ("julia", "a = 1\nconst b = 2\nc::Float64 = 2.5\nd == 3", {"a": "1", "b": "2", "c": "2.5"}),
        (
            "octave",
            "a = 1; % one\nb = 'x%y';\nc = d'; e = [1 2\n3];\nf == 1",
            {"a": "1", "b": "'x%y'", "c": "d'", "e": "[1 2\n3]"},
        ),
        ("cobol", "a = 1", {}),
    ],
)
def test_other_languages_are_read_by_their_assignments(language: str, source: str, known: dict[str, str]) -> None:
    assert known_parameters(program(cell("p", source, "parameters")), language) == known


@pytest.mark.parametrize(
    ("language", "line"), [("java", "var lr = 1.0;"), ("kotlin", "var lr = 1.0"), ("scala", "val lr = 1.0")]
)
def test_a_whole_number_for_a_fractional_default_stays_fractional_where_types_are_static(
    language: str, line: str
) -> None:
    given = program(cell("p", "val lr = 0.5" if language != "java" else "double lr = 0.5;", "parameters"))
    assert inject(given, language, lr=1).cells[1].source == f"// Parameters\n{line}\n"


@pytest.mark.parametrize(("language", "source"), [("javascript", "const lr = 1"), ("bash", "readonly lr=1")])
def test_a_constant_default_is_refused_where_it_could_not_be_overridden(language: str, source: str) -> None:
    with pytest.raises(ParameterError, match="can't be given another value"):
        inject(program(cell("p", source, "parameters")), language, lr=2)


def test_sql_programs_get_python_variables() -> None:
    made = inject(program(cell("a", "select {{n}}")), "sql", n=1).cells[0]
    assert (made.source, made.metadata["language"]) == ("# Parameters\nn = 1\n", "python")
