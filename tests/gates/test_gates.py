"""Gates are read exactly, judged exactly, and say what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel_gateway.errors import GateError
from kernel_gateway.gates import Verdict, parse_gate
from kernel_gateway.projections.metrics import MetricSummary


@dataclass
class Series:
    """Aggregates of a list of values."""

    first: float
    last: float
    min: float
    max: float
    mean: float
    count: int


def series(*values: float) -> Series:
    return Series(values[0], values[-1], min(values), max(values), sum(values) / len(values), len(values))


RUN = {
    "accuracy": series(0.5, 0.95, 0.9),
    "loss": series(1.0, 0.25, 0.5),
    "val/acc": series(0.8),
    "val acc": series(0.7),
    "top-5": series(0.99),
    "gpu.memory.peak": series(1024.0),
    "recall@10": series(0.6),
    "min": series(7.0),
    "bad": series(math.nan),
    "big": series(math.inf),
}
BASELINE = {"loss": series(0.6, 0.5), "accuracy": series(0.9), "f1": series(0.4)}


def judge(text: str, baseline: Mapping[str, Series] | None = BASELINE) -> Verdict:
    return parse_gate(text).evaluate(RUN, baseline)


@pytest.mark.parametrize(
    ("text", "value", "bound", "passed"),
    [
        ("accuracy >= 0.9", 0.9, 0.9, True),
        ("accuracy>=0.92", 0.9, 0.92, False),
        ("accuracy >= 90%", 0.9, 0.9, True),
        ("accuracy > .9", 0.9, 0.9, False),
        ("loss < 5e-1", 0.5, 0.5, False),
        ("loss == 0.5", 0.5, 0.5, True),
        ("loss != 0.5", 0.5, 0.5, False),
        ("loss <= baseline * 1.02", 0.5, 0.51, True),
        ("loss <= champion", 0.5, 0.5, True),
        ("loss < baseline-0.01", 0.5, 0.49, False),
        ("loss <= baseline/2", 0.5, 0.25, False),
        ("loss <= first(baseline)", 0.5, 0.6, True),
        ("baseline >= loss", 0.5, 0.5, True),
        ("accuracy > baseline.f1", 0.9, 0.4, True),
        ('accuracy > champion."f1"', 0.9, 0.4, True),
        ("last(loss) < first(loss)", 0.5, 1.0, True),
        ("last(loss)-first(loss) < 0", -0.5, 0.0, True),
        ("max(accuracy) == 0.95", 0.95, 0.95, True),
        ("mean( accuracy ) < 0.8", pytest.approx(2.35 / 3), 0.8, True),
        ("count(loss) == 3", 3.0, 3.0, True),
        ("min > 6", 7.0, 6.0, True),
        ("min(min) > 6", 7.0, 6.0, True),
        ("abs(loss - 1) <= 0.5", 0.5, 0.5, True),
        ("-loss < +1", -0.5, 1.0, True),
        ("--loss > 0", 0.5, 0.0, True),
        ("1 + 2 * 3 == 7", 7.0, 7.0, True),
        ("(1 + 2) * 3 == 9", 9.0, 9.0, True),
        ("8 / 4 / 2 == 1", 1.0, 1.0, True),
        ("5 - 3 - 1 == 1", 1.0, 1.0, True),
        ("val/acc > 0.75", 0.8, 0.75, True),
        ("loss / accuracy < 1", pytest.approx(0.5 / 0.9), 1.0, True),
        ('"val acc" > 0.75', 0.7, 0.75, False),
        ("`val acc` > 0.6", 0.7, 0.6, True),
        ("top-5 > 0.9", 0.99, 0.9, True),
        ("recall@10 > 0.5", 0.6, 0.5, True),
        ("gpu.memory.peak < 2e3", 1024.0, 2000.0, True),
        ("0.1 < loss < 0.9", 0.5, 0.1, True),
        ("0.1 < loss < 0.3", 0.5, 0.3, False),
        ("0.6 < loss < 0.9", 0.5, 0.6, False),
        ("big > 1e300", math.inf, 1e300, True),
        ("accuracy > 0.8 and loss < 0.6", 0.9, 0.8, True),
        ("accuracy > 0.8 and loss < 0.4", 0.5, 0.4, False),
    ],
)
def test_a_gate_is_worth_what_it_says(text: str, value: float, bound: float, passed: bool) -> None:
    verdict = judge(text)

    assert verdict.expression == text
    assert (verdict.value, verdict.bound, verdict.passed) == (value, bound, passed)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("acuracy > 0.9", "did you mean 'accuracy'?"),
        ("ACCURACY > 0.9", "did you mean 'accuracy'?"),
        ("zzz > 0.9", "it has 'accuracy', 'loss'"),
        ("loss-0.1 < 1", "put blanks around it: loss - 0.1"),
        ("loss/accuracy < 1", "put blanks around it: loss / accuracy"),
        ("bad > 0.5", "The metric 'bad' is NaN"),
        ("bad != 0.5", "is NaN"),
        ("big - big < 1", "is NaN"),
        ("accuracy / (loss - 0.5) > 1", "divides 0.9 by zero"),
        ("val/acc > baseline", "The baseline has no metric 'val/acc'"),
        ("accuracy > 0.5 and zzz > 1", "has no metric 'zzz'"),
    ],
)
def test_what_can_not_be_evaluated_does_not_pass_and_says_why(text: str, word: str) -> None:
    verdict = judge(text)

    assert not verdict.passed
    assert verdict.value is None
    assert word in verdict.message


def test_a_run_without_metrics_is_told_how_to_record_one() -> None:
    assert "::metric name=accuracy" in parse_gate("accuracy > 0.9").evaluate({}, None).message


def test_without_any_baseline_a_first_run_passes_with_a_remark() -> None:
    verdict = judge("loss <= baseline * 1.02", None)

    assert verdict == Verdict("loss <= baseline * 1.02", 0.5, None, True, verdict.message)
    assert "no baseline yet" in verdict.message


def test_without_a_baseline_all_else_still_counts() -> None:
    assert not judge("loss <= baseline and accuracy > 0.99", None).passed
    assert not judge("zzz <= baseline", None).passed
    assert not judge("baseline.f1 < zzz", None).passed
    assert not judge("bad <= baseline", None).passed
    assert "no baseline yet" in judge("accuracy > 0.5 and loss <= baseline", None).message


def test_a_gate_of_several_parts_names_those_that_are_not_met() -> None:
    assert judge("accuracy > 0.8 and loss < 0.4 and min > 9").message == "Not met: loss < 0.4; min > 9."
    assert judge("accuracy > 0.95").message == ""


def test_a_gate_knows_whether_it_needs_a_baseline() -> None:
    assert parse_gate("abs(loss - 2 * baseline) < 1").needs_baseline
    assert not parse_gate("loss < 1 and f1 > 2").needs_baseline


def test_gates_take_the_summaries_that_projections_make() -> None:
    summary = MetricSummary()
    for value in (1.0, 3.0):
        summary.add(value)

    assert parse_gate("mean(x) == 2 and count(x) == 2").evaluate({"x": summary}, None).passed


@pytest.mark.parametrize(
    ("text", "column", "word"),
    [
        ("", 1, "a metric's name or a number is missing"),
        ("accuracy", 9, "a comparison is missing"),
        ("accuracy >=", 12, "a metric's name or a number is missing"),
        ("accuracy = 0.9", 10, "Write =="),
        ("accuracy ≥ 0.9", 10, "Write >="),
        ("accuracy >= 0.9 or loss < 1", 17, "no “or”"),
        ("accuracy >= 0.9 loss < 1", 17, "should end"),
        ("accuracy >= (0.9", 17, "closing parenthesis"),
        ("median(loss) < 1", 1, "no function 'median'"),
        ("max(1) < 1", 5, "a metric's name is missing"),
        ("min(a, b) < 1", 6, "',' has no meaning"),
        ('"val acc > 1', 1, "quote is not closed"),
        ("accuracy >= 0.9x", 13, "Write the name in quotes"),
        ("1st > 0", 1, "Write the name in quotes"),
        ("accuracy > 1e999", 12, "too large"),
        ("a + b > baseline", 9, "Write baseline.NAME, since several metrics (a, b)"),
        ("1 > baseline", 5, "Write baseline.NAME, since no metric"),
        ("baseline. > 1", 11, "a metric's name is missing"),
        ("__import__('os').system('id') > 0", 1, "no function '__import__'"),
        ("\taccuracy >> 1", 12, "is missing"),
    ],
)
def test_a_malformed_gate_is_pointed_at(text: str, column: int, word: str) -> None:
    with pytest.raises(GateError) as caught:
        parse_gate(text)

    first, shown, caret = str(caught.value).split("\n")
    assert f"at column {column}." in first
    assert word in first
    assert shown == "    " + text.replace("\t", " ")
    assert caret == " " * (3 + column) + "^"
    assert caught.value.field == "require"


@pytest.mark.parametrize("text", ["(" * 5000, "-" * 5000 + "1 > 0", "(" * 90 + "1" + ")" * 90 + " > 0", "1+" * 400])
def test_an_endless_gate_is_refused(text: str) -> None:
    with pytest.raises(GateError):
        parse_gate(text)


def test_the_deepest_gates_still_work() -> None:
    assert judge("(" * 45 + "1" + ")" * 45 + " > 0").passed
    assert judge("-" * 96 + "1 > 0").passed


WORDS = ["accuracy", "loss", "val/acc", "baseline", "champion.f1", "0.5", "1e3", "90%", "and", "or", "min", "abs"]
SIGNS = [">=", "<", "==", "+", "-", "*", "/", "(", ")", "%", ".", "=", ",", '"', "é", "\x00"]
pieces = st.sampled_from([*WORDS, *SIGNS, "`val acc`", " ", "\n"])


@given(st.one_of(st.text(max_size=40), st.lists(pieces, max_size=25).map("".join), st.lists(pieces).map(" ".join)))
@example("loss < baseline.")
@example("0.5 < 1")
def test_whatever_is_written_only_a_gate_error_comes_out(text: str) -> None:
    try:
        gate = parse_gate(text)
    except GateError:
        return
    for baseline in (None, BASELINE, {}):
        verdict = gate.evaluate(RUN, baseline)
        assert verdict.expression == text
        assert verdict.passed or verdict.message or verdict.value is not None


finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(finite, finite, st.sampled_from([">=", "<=", ">", "<", "==", "!="]))
def test_comparisons_are_those_of_the_numbers(value: float, bound: float, sign: str) -> None:
    verdict = parse_gate(f"x {sign} {bound!r}").evaluate({"x": series(value)}, None)

    assert verdict.passed == eval(f"{value!r} {sign} {bound!r}")
    assert verdict.value == value


@given(st.lists(st.tuples(st.sampled_from("+-*"), st.integers(0, 99)), max_size=12), st.integers(0, 99))
def test_arithmetic_binds_as_in_mathematics(terms: list[tuple[str, int]], first: int) -> None:
    text = str(first) + "".join(f" {sign} {number}" for sign, number in terms)

    assert parse_gate(f"{text} == {eval(text)}").evaluate({}, None).passed


@given(st.sampled_from(["nan > 0", "x > x", "x == x", "x != 1", "abs(x) >= 0", "-x < 1", "0 * x == 0"]))
def test_nan_passes_no_gate(text: str) -> None:
    assert not parse_gate(text.replace("nan", "x")).evaluate({"x": series(math.nan)}, None).passed


def test_sides_that_are_not_finite_stand_in_the_event_as_text() -> None:
    assert judge("big < 10").to_dict() == {
        "expression": "big < 10",
        "value": "Infinity",
        "bound": 10.0,
        "passed": False,
        "message": "",
    }
    assert (judge("-big < big").to_dict()["value"], judge("nope > 1").to_dict()["value"]) == ("-Infinity", None)
