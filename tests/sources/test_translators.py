"""Parameters arrive intact: the code written for a language is run by that language's own interpreter."""

from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_gateway.errors import ParameterError
from kernel_gateway.sources import Cell, Program, parameterize

NASTY = 'it\'s "q" $HOME ${x} \\n \\ `id` $(id) !x %d #c {{y}} a\r\nb\té中😀\x01\x7f\x1b[1m\u2028end\\'

VALUES: dict[str, Any] = {
    "text": NASTY,
    "blank": "",
    "hyphen": "-n",
    "yes": True,
    "no": False,
    "nothing": None,
    "small": -7,
    "large": 12_345_678_901,
    "fraction": 0.1,
    "tiny": 1e-300,
    "huge": 1e16,
    "unset": math.nan,
    "lowest": -math.inf,
    "many": [1, NASTY, [2, [True]], {"k": [1.5]}],
    "same": [1, 2, 3],
    "empty_list": [],
    "mapping": {"a b": 1, NASTY: {"z": [0.5, False]}, "__proto__": 3},
    "empty_map": {},
}


def code(parameters: dict[str, Any], language: str) -> str:
    program = Program(name="p", path=None, format="script", digest="", cells=[])
    return parameterize(program, parameters, language=language, kernel_name="k").cells[0].source


def run(command: list[str], stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=120, cwd=tempfile.gettempdir())
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def canonical(value: Any) -> str:
    """A value as text that each language's probe writes alike: strings as code points, numbers in full."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "<" + " ".join(str(ord(character)) for character in value) + ">"
    if isinstance(value, int | float):
        return "nan" if math.isnan(value) else f"{value:.17e}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return "{" + ",".join(f"{canonical(key)}:{canonical(item)}" for key, item in value.items()) + "}"


def bits(value: float) -> int:
    """The 64 bits of a float as Java and JavaScript give them, NaN always the same."""
    return 0x7FF8000000000000 if math.isnan(value) else int.from_bytes(struct.pack(">d", value))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
@settings(max_examples=200, deadline=None)
def test_python_gets_any_json_value_back(value: Any) -> None:
    names: dict[str, Any] = {}
    exec(code({"value": value}, "python"), names)
    assert names["value"] == value
    assert type(names["value"]) is type(value)


def test_python_gets_nan_and_the_infinities() -> None:
    names: dict[str, Any] = {}
    exec(code({"values": [math.nan, math.inf, -math.inf]}, "python"), names)
    assert math.isnan(names["values"][0])
    assert names["values"][1:] == [math.inf, -math.inf]


BASH_SCALARS = {
    "text": NASTY,
    "blank": "",
    "hyphen": "-n",
    "star": "*",
    "tilde": "~",
    "spaces": "  a  ",
    "yes": "true",
    "no": "false",
    "nothing": "",
    "big": str(2**70),
    "fraction": "0.1",
    "unset": "nan",
}


@needs("bash")
def test_bash_gets_every_scalar_as_its_text() -> None:
    values = {**BASH_SCALARS, "yes": True, "no": False, "nothing": None, "big": 2**70, "fraction": 0.1}
    shown = "".join(f"printf '%s\\0' \"${{{name}}}\"\n" for name in values)

    output = run(["bash", "-u"], code({**values, "unset": math.nan}, "bash") + shown + "printf '%s\\0' \"$unset\"\n")

    assert output.split("\0")[: len(values)] == [BASH_SCALARS[name] for name in values]


@needs("bash")
def test_bash_gets_lists_as_arrays_and_mappings_as_associative_arrays_with_json_inside() -> None:
    values = {"many": [1, "a b", NASTY, None, [1, {"k": NASTY}]], "mapping": {"a b": "x", NASTY: [1]}, "none": []}
    probe = (
        'many=old\n%sprintf "%%s\\0" "${#none[@]}" "${many[@]}" "${mapping[a b]}"\n'
        'for k in "${!mapping[@]}"; do printf "%%s\\0" "$k"; done'
    )

    output = run(["bash"], probe % code(values, "bash")).split("\0")[:-1]

    assert output[:5] == ["0", "1", "a b", NASTY, ""]
    assert json.loads(output[5]) == [1, {"k": NASTY}]
    assert output[6] == "x"
    assert set(output[7:]) == {"a b", NASTY}


@needs("bash")
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=30))
@settings(max_examples=25, deadline=None)
def test_bash_gets_any_text_back(texts: list[str]) -> None:
    output = run(["bash"], code({"texts": texts}, "bash") + "printf '%s\\0' \"${texts[@]}\"")
    assert output.split("\0")[:-1] == texts


NODE_PROBE = """
const points = s => "<" + Array.from(s).map(c => c.codePointAt(0)).join(" ") + ">";
const view = new DataView(new ArrayBuffer(8));
const bits = v => { view.setFloat64(0, v); return "bits " + view.getBigUint64(0); };
const show = v => v === null ? "null"
  : typeof v === "string" ? points(v)
  : typeof v === "boolean" ? String(v)
  : typeof v === "bigint" ? "big " + v
  : typeof v === "number" ? bits(v)
  : Array.isArray(v) ? "[" + v.map(show).join() + "]"
  : "{" + Object.keys(v).map(k => points(k) + ":" + show(v[k])).join() + "}";
"""


def javascript_form(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"big {value}" if isinstance(value, int) and abs(value) > 2**53 else f"bits {bits(float(value))}"
    if isinstance(value, list):
        return "[" + ",".join(map(javascript_form, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{canonical(key)}:{javascript_form(item)}" for key, item in value.items()) + "}"
    return canonical(value)


@needs("node")
@pytest.mark.parametrize("language", ["javascript", "typescript"])
def test_javascript_gets_every_value_and_whole_numbers_beyond_its_own_as_bigint(language: str) -> None:
    values = {**VALUES, "big": 2**70 + 1, "negative_big": -(2**63) - 1}
    shown = "".join(f"console.log(show({name}));\n" for name in values)

    lines = run(["node"], NODE_PROBE + code(values, language) + shown).splitlines()

    assert dict(zip(values, lines, strict=True)) == {name: javascript_form(value) for name, value in values.items()}


R_PROBE = """
points <- function(s) paste0("<", paste(utf8ToInt(enc2utf8(s)), collapse = " "), ">")
show <- function(v) if (is.null(v)) "null" else if (is.list(v)) { n <- names(v); i <- vapply(v, show, "")
  if (is.null(n)) paste0("[", paste(i, collapse = ","), "]")
  else paste0("{", paste(paste0(vapply(n, points, ""), ":", i), collapse = ","), "}")
} else if (is.logical(v)) tolower(as.character(v)) else if (is.numeric(v)) { if (is.nan(v)) "nan" else
  if (is.infinite(v)) tolower(as.character(v)) else sprintf("%.17e", v) } else points(v)
"""


@needs("Rscript")
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_r_gets_every_value_in_any_locale(locale: str) -> None:
    values = {**VALUES, "exact": 2**70, "unnamed": {"": 1, "b": 2}}
    shown = "".join(f'cat(show({name}), "\\n", sep = "")\n' for name in values)

    output = run(["env", f"LC_ALL={locale}", "Rscript", "-"], R_PROBE + code(values, "r") + shown)

    expected = {name: canonical(value) for name, value in values.items()} | {"empty_map": "[]"}
    assert dict(zip(values, output.splitlines(), strict=True)) == expected


OCTAVE_PROBE = """1;
function show(v)
  if ischar(v)
    printf("<%s>", strjoin(arrayfun(@(c) sprintf("%d", c), double(v), "UniformOutput", false), " "));
  elseif iscell(v)
    printf("[");
    for i = 1:numel(v)
      if i > 1, printf(","); end
      show(v{i});
    end
    printf("]");
  elseif isobject(v)
    k = keys(v);
    printf("{");
    for i = 1:numel(k)
      if i > 1, printf(","); end
      show(k{i}); printf(":"); show(v(k{i}));
    end
    printf("}");
  elseif islogical(v)
    if v, printf("true"); else, printf("false"); end
  elseif isnan(v)
    printf("nan");
  elseif isinf(v)
    if v > 0, printf("inf"); else, printf("-inf"); end
  else
    printf("%.17e", v);
  end
end
"""


def octave_form(value: Any) -> str:
    if isinstance(value, str):
        return "<" + " ".join(str(byte) for byte in value.encode()) + ">"
    if value is None:
        return "nan"
    if isinstance(value, list):
        return "[" + ",".join(map(octave_form, value)) + "]"
    if isinstance(value, dict):  # containers.Map sorts its keys
        pairs = sorted(value.items(), key=lambda pair: pair[0].encode())
        return "{" + ",".join(f"{octave_form(key)}:{octave_form(item)}" for key, item in pairs) + "}"
    return canonical(value)


@needs("octave")
def test_octave_gets_every_value(tmp_path: Path) -> None:
    values = {**VALUES, "exact": 2**70}
    shown = "".join(f'show({name}); printf("\\n");\n' for name in values)

    script = tmp_path / "probe.m"
    script.write_text(OCTAVE_PROBE + code(values, "octave") + shown)
    output = run(["octave", "--no-gui", "--quiet", "--norc", str(script)])

    assert dict(zip(values, output.splitlines(), strict=True)) == {name: octave_form(v) for name, v in values.items()}


JAVA_PROBE = """
import java.util.stream.*;
String join(Stream<String> parts, String by) { return parts.collect(Collectors.joining(by)); }
String points(Object s) { return "<" + join(((String) s).codePoints().mapToObj(Integer::toString), " ") + ">"; }
String pair(java.util.Map.Entry<?, ?> entry) { return points(entry.getKey()) + ":" + show(entry.getValue()); }
String show(Object v) {
  if (v == null) return "null";
  if (v instanceof String) return points(v);
  if (v instanceof java.util.List) return "[" + join(((java.util.List<?>) v).stream().map(i -> show(i)), ",") + "]";
  if (v instanceof java.util.Map)
    return "{" + join(((java.util.Map<?, ?>) v).entrySet().stream().map(e -> pair(e)), ",") + "}";
  return v.getClass().getSimpleName() + " " + v;
}
"""


def java_form(value: Any) -> str:
    if isinstance(value, bool):
        return f"Boolean {canonical(value)}"
    if isinstance(value, int):
        kind = "Integer" if -(2**31) <= value < 2**31 else "Long" if -(2**63) <= value < 2**63 else "BigInteger"
        return f"{kind} {value}"
    if isinstance(value, list):
        return "[" + ",".join(map(java_form, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{canonical(key)}:{java_form(item)}" for key, item in value.items()) + "}"
    return canonical(value)


@pytest.mark.slow
@needs("jshell")
def test_java_gets_every_value_with_its_type() -> None:
    values = {**VALUES, "big": 2**70 + 1, "lowest_long": -(2**63), "nulls": [None], "long_text": "é$" * 40_000}
    floats = [name for name, value in values.items() if isinstance(value, float)]
    nested = {
        "many": [1, NASTY, [2, [True]], {"k": ["x"]}],
        "mapping": {"a b": 1, NASTY: {"z": [False]}, "__proto__": 3},
    }
    values = {name: value for name, value in values.items() if name not in floats} | nested
    doubles = {name: VALUES[name] for name in floats}
    shown = "".join(f'System.out.println("{name}=" + show({name}));\n' for name in values)
    shown += "".join(f'System.out.println("{name}=" + Double.doubleToLongBits({name}));\n' for name in doubles)

    output = run(["jshell", "-s", "-"], JAVA_PROBE + code({**values, **doubles}, "java") + shown)

    lines = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    assert {name: lines[name] for name in values} == {name: java_form(value) for name, value in values.items()}
    assert {name: int(lines[name]) & (2**64 - 1) for name in doubles} == {
        name: bits(value) for name, value in doubles.items()
    }


@pytest.mark.parametrize(
    ("language", "value", "written"),
    [
        ("kotlin", "a$b", 'var x = "a\\$b"'),
        ("kotlin", -(2**63), "var x = Long.MIN_VALUE"),
        ("kotlin", {"k": [None, 2**40]}, 'var x = mapOf<String, Any?>("k" to listOf(null, 1099511627776L))'),
        ("kotlin", None, "var x: Any? = null"),
        ("scala", "é😀", 'val x = "\\u00e9\\ud83d\\ude00"'),
        ("scala", 2**64, 'val x = BigInt("18446744073709551616")'),
        ("julia", "a$b é", 'x = "a\\$b \\U000000e9"'),
        ("julia", math.inf, "x = Inf"),
        ("matlab", 'a"b\nc', 'x = ("a""b" + char(10) + "c");'),
        ("matlab", {"k": 1}, "x = containers.Map({char(\"k\")}, {1}, 'UniformValues', false);"),
        ("r", [1, None], "x = list(1, NULL)"),
    ],
)
def test_languages_whose_interpreter_may_be_missing_get_this_code(language: str, value: Any, written: str) -> None:
    assert code({"x": value}, language).splitlines()[1] == written


@pytest.mark.parametrize(
    ("language", "value"),
    [("r", 2**53 + 1), ("octave", 2**63 - 1), ("r", "a\0b"), ("bash", "a\0b"), ("bash", {"": 1}), ("r", [[2**70 + 1]])],
)
def test_a_value_without_a_faithful_form_is_refused(language: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"'x' can't be written in {language}"):
        code({"x": value}, language)


@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("python", "class"),
        ("python", "a b"),
        ("bash", "a;rm"),
        ("r", "1a"),
        ("java", "a-b"),
        ("octave", "x=1;y"),
        ("sql", ""),
    ],
)
def test_a_name_that_is_no_variable_is_refused(language: str, name: str) -> None:
    with pytest.raises(ParameterError, match="can't be the name of a variable"):
        code({name: 1}, language)


def test_a_language_without_translator_is_refused_with_the_list_of_those_that_have_one() -> None:
    with pytest.raises(ParameterError, match=r"'cobol'.*bash, ipython, java"):
        code({"x": 1}, "cobol")


def test_languages_that_only_papermill_knows_are_left_to_papermill() -> None:
    cell = Cell(id="a", type="code", source="1")
    program = Program(name="p", path=None, format="notebook", digest="", cells=[cell])
    written = parameterize(program, {"x": 5}, language="C#", kernel_name=".net-csharp").cells[0].source
    assert written == "// Parameters\nvar x = 5;\n"
