"""Metrics are read from lines, displays, scraps and files; what is malformed is said, and never raised."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.events import EventType
from kernel_gateway.runner.metrics import Finding, Metric, MetricReader, Remark, file_metrics

METRICS = "application/vnd.kernel-gateway.metrics+json"


def out(text: str, cell: int | None = 0, name: str = "stdout") -> dict[str, Any]:
    return {"type": EventType.STREAM, "cell": cell, "name": name, "text": text}


def show(mime: str, value: Any, type: EventType = EventType.DISPLAY) -> dict[str, Any]:
    return {"type": type, "cell": 3, "data": {"text/plain": "…", mime: value}, "metadata": {}}


def read(*events: dict[str, Any]) -> list[Finding]:
    reader = MetricReader()
    return [finding for event in events for finding in reader.feed(event)]


def remarks(findings: list[Finding]) -> list[str]:
    return [finding.message for finding in findings if isinstance(finding, Remark)]


@pytest.mark.parametrize(
    ("line", "metric"),
    [
        ("::metric name=accuracy value=0.93 step=4", Metric("accuracy", 0.93, 4, 0)),
        ("::metric value=1e-3 name=loss", Metric("loss", 0.001, None, 0)),
        ('::metric name="val acc" value=0.5', Metric("val acc", 0.5, None, 0)),
        (r"::metric name='it\'s' value='7'", Metric("it's", 7.0, None, 0)),
        ("  ::metric   name=val/acc\tvalue=-1", Metric("val/acc", -1.0, None, 0)),
        ("\x1b[32m::metric name=a value=1\x1b[0m", Metric("a", 1.0, None, 0)),
        ("::metric name=a value=inf", Metric("a", math.inf, None, 0)),
        ("::metric name=a value=-Infinity", Metric("a", -math.inf, None, 0)),
    ],
)
def test_a_metric_line_is_read(line: str, metric: Metric) -> None:
    assert read(out(f"before\n{line}\nafter\n")) == [metric]


@pytest.mark.parametrize("name", ["précision", "R²", "損失", "loss(train)", "a=b", "top-5/acc@10", "🙂"])
def test_a_name_may_have_any_letters(name: str) -> None:
    assert read(out(f"::metric name={name} value=1\n")) == [Metric(name, 1.0, None, 0)]


def test_a_name_in_quotes_may_be_made_of_words_and_quotes() -> None:
    found = read(out("::metric name='say \\'hi\\' \"twice\"' value=1\n"))

    assert found == [Metric("say 'hi' \"twice\"", 1.0, None, 0)]


def test_blanks_and_line_ends_in_a_name_become_single_blanks() -> None:
    assert read(show(METRICS, {"val\n  acc\t": 1})) == [Metric("val acc", 1.0, None, 3)]


@pytest.mark.parametrize("name", ["", "  ", "a\x1b[31m", "a\x00b", "\ud800", "n" * 251])
def test_a_name_that_cannot_be_shown_is_remarked_upon(name: str) -> None:
    found = read(show(METRICS, {name: 1}), out(f"::metric name='{name}' value=1\n"))

    assert not any(isinstance(finding, Metric) for finding in found) or "\x1b" in name
    assert remarks(found)


@pytest.mark.parametrize("value", ["True", "yes", "'0.9 %'", "0,93", "0x10", "None", "''"])
def test_a_value_in_words_is_no_number(value: str) -> None:
    [remark] = remarks(read(out(f"::metric name=a value={value}\n")))

    assert "is not a number" in remark
    assert "::metric name=a" in remark


def test_steps_may_repeat_and_go_backwards() -> None:
    lines = "".join(f"::metric name=a value={step} step={step}\n" for step in (3, 3, -1, 0))

    assert [metric.step for metric in read(out(lines)) if isinstance(metric, Metric)] == [3, 3, -1, 0]


def test_a_field_that_is_given_twice_counts_as_given_last() -> None:
    assert read(out("::metric name=a value=1 value=2\n")) == [Metric("a", 2.0, None, 0)]


def test_nan_is_a_value() -> None:
    [metric] = read(out("::metric name=a value=NaN\n"))

    assert isinstance(metric, Metric)
    assert math.isnan(metric.value)


def test_lines_may_end_in_any_way_and_follow_a_progress_bar() -> None:
    found = read(
        out("50%|██\r::metric name=a value=1\r\n::metric name=b value=2\r"), out("\n::metric name=c value=3\n")
    )

    assert [metric.name for metric in found if isinstance(metric, Metric)] == ["a", "b", "c"]


def test_a_last_line_without_its_end_counts_when_the_cell_or_its_output_ends() -> None:
    finished = {"type": EventType.CELL_FINISHED, "cell": 0, "status": "ok"}

    assert read(out("::metric name=a value=1"), finished) == [Metric("a", 1.0, None, 0)]
    assert read(out("::metric name=a value=1", cell=0), out("x\n", cell=1)) == [Metric("a", 1.0, None, 0)]
    assert read(out("::metric name=a value=1")) == []


def test_only_lines_of_stdout_that_begin_with_the_mark_count() -> None:
    assert read(out("::metric name=a value=1\n", name="stderr")) == []
    assert read(out("see ::metric name=a value=1\n::metrics name=a value=1\n")) == []
    assert read(out("see "), out("::metric name=a value=1\n")) == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("::metric", "no name="),
        ("::metric name=a", "no value="),
        ("::metric name=a value=good", "'good' is not a number"),
        ("::metric name=a value=1 step=2.5", "'2.5' is not a whole number"),
        ("::metric name=a value=1 step=99999999999999999999", "out of range"),
        ("::metric name=a value=1 epoch=2", "'epoch' is not one of name, value, step"),
        ("::metric accuracy 0.93", "'accuracy 0.93' is not written as key=value"),
        ('::metric name="a value=1', "is not written as key=value"),
        (f"::metric name={'n' * 300} value=1", "longer than 250"),
        (f"::metric name={'n' * 5000} value=1", "longer than 4096"),
    ],
)
def test_a_malformed_line_is_remarked_upon_once_a_kind(line: str, word: str) -> None:
    found = read(out(f"{line}\n{line}\n"), out(f"{line}\n::metric name=b value=2\n"))

    assert found[1:] == [Metric("b", 2.0, None, 0)]
    assert word in remarks(found)[0]
    assert len(remarks(found)[0]) < 400


def test_an_endless_line_is_not_kept() -> None:
    reader = MetricReader()

    for start in ("::metric ", "\x1b[0m" * 100, "x"):
        reader.feed(out(start))
        for _ in range(100):
            reader.feed(out(start * 1000))
        held = sum(len(getattr(source, "_rest", "")) for source in reader._sources)
        assert held < 10_000
        reader.feed(out("\n"))
    assert reader.feed(out("::metric name=a value=1\n")) == [Metric("a", 1.0, None, 0)]


@given(st.data())
def test_however_lines_are_cut_the_same_metrics_are_read(data: st.DataObject) -> None:
    lines = data.draw(
        st.lists(
            st.sampled_from(
                ["::metric name=a value=1 step=2", "::metric name='b c' value=3", "text", "::met", "", "::metric x"]
            )
        )
    )
    text = "".join(line + data.draw(st.sampled_from(["\n", "\r\n", "\r"])) for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert read(*map(out, pieces)) == read(out(text))
    assert sum(isinstance(finding, Metric) for finding in read(out(text))) == sum("value" in line for line in lines)


@given(st.text(max_size=60))
def test_no_line_makes_the_reader_fail(text: str) -> None:
    read(out(f"::metric {text}\n::metric name={text} value={text} step={text}\n"))


def test_displays_give_metrics_by_name_or_as_a_list() -> None:
    assert read(show(METRICS, {"accuracy": 0.9, "loss": "NaN"}))[0] == Metric("accuracy", 0.9, None, 3)
    items = [{"name": "loss", "value": 0.5, "step": 1}, {"name": "loss", "value": 0.25, "step": 2}]
    expected = [Metric("loss", 0.5, 1, 3), Metric("loss", 0.25, 2, 3)]
    assert read(show(METRICS, items)) == expected
    assert read(show(METRICS, json.dumps(items), EventType.RESULT)) == expected
    assert read(show(METRICS, items[0], EventType.DISPLAY_UPDATE)) == expected[:1]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ({"a": True}, "True of 'a' is not a number"),
        ({"a": "0.9"}, "'0.9' of 'a' is not a number"),
        ([{"name": "a"}], "None of 'a' is not a number"),
        ([{"value": 1}], "None is not a name"),
        ([{"name": "a", "value": 1, "step": "x"}], "'x' is not a whole number"),
        ([1], "1 is not a name"),
        ("not json", "'not json' is neither an object nor a list"),
    ],
)
def test_displays_that_hold_no_metric_are_remarked_upon(value: Any, word: str) -> None:
    found = read(show(METRICS, value))

    assert len(found) == 1
    assert word in remarks(found)[0]


def test_a_flood_of_wrong_displays_gets_few_remarks() -> None:
    assert len(read(*[show(METRICS, {"a": "x"})] * 500)) == 10


def test_scraps_and_records_that_are_numbers_are_metrics() -> None:
    scrap = {"name": "rmse", "data": 0.25, "encoder": "json", "version": 1}
    table = {"name": "rows", "data": [1, 2], "encoder": "json", "version": 1}

    assert read(show("application/scrapbook.scrap.json+json", scrap)) == [Metric("rmse", 0.25, None, 3)]
    assert read(show("application/scrapbook.scrap.json+json", table)) == []
    assert read(show("application/papermill.record+json", {"f1": 0.5, "note": "fine", "done": True})) == [
        Metric("f1", 0.5, None, 3)
    ]


def test_a_metrics_file_is_read_as_dvc_has_it() -> None:
    content = {"train": {"loss": 0.1, "acc": {"top-5": 1}}, "f1": 0.5, "best": True, "model": "svm", "curve": [1, 2]}

    found = file_metrics(json.dumps(content).encode())

    assert found[:3] == [Metric("train.loss", 0.1), Metric("train.acc.top-5", 1.0), Metric("f1", 0.5)]
    assert remarks(found) == [
        "metrics.json holds values that are no numbers and are left out: 'best', 'model', 'curve'."
    ]


def test_a_metrics_file_may_hold_what_is_not_finite() -> None:
    found = file_metrics(b'\xef\xbb\xbf{"a": NaN, "b": -Infinity, "c": "inf", "d": 1' + b"0" * 400 + b"}")

    assert [metric.value for metric in found[1:] if isinstance(metric, Metric)] == [-math.inf, math.inf, math.inf]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 100_000])
def test_a_metrics_file_that_is_none_is_remarked_upon(content: bytes) -> None:
    assert len(remarks(file_metrics(content))) == 1


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.dictionaries(st.text(), x)))
def test_no_json_makes_the_readers_fail(value: Any) -> None:
    file_metrics(json.dumps(value).encode())
    read(show(METRICS, value), show("application/scrapbook.scrap.json+json", value))
    read(show("application/papermill.record+json", value))
