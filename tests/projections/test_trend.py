"""Baseline, history and trend: how a run compares with those before it."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.projections import Report
from kernel_gateway.projections.history import MAX_METRICS, MAX_RUNS, history_after, read_history
from kernel_gateway.projections.margins import margin_text, number_text
from kernel_gateway.projections.report.changes import change_text
from kernel_gateway.projections.run import Run
from kernel_gateway.settings import Settings
from tests.projections.conftest import Log, code

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


def judged_run(accuracy: float, *, passed: bool = True, number: int = 1, **provenance: Any) -> Log:
    """A run of one metric and one gate."""
    url = f"https://jenkins.example/job/train/{number}/"
    log = Log(code("x", "X"), build={"job": "train", "number": number, "url": url}, **provenance).start().cell(0)
    log.add("metric", name="accuracy", value=accuracy, step=None, cell=0).done(0)
    log.add("gate", expression="accuracy >= 0.9", value=accuracy, bound=0.9, passed=passed, message="")
    return log.end("succeeded" if passed else "unstable", "", 0 if passed else 3)


def record(log: Log) -> dict[str, Any]:
    run = Run(Settings(), log.blobs)
    for event in log.events:
        run.feed(event)
    made: dict[str, Any] = json.loads(run.result())
    return made


def report(log: Log, **options: Any) -> dict[str, str]:
    made = Report(Settings(), log.blobs, **options)
    for event in log.events:
        made.feed(event)
    return {name: content.decode("utf-8", "replace") for name, content in made.files()}


def test_each_run_hands_its_history_and_itself_on() -> None:
    first = judged_run(0.91)
    second = judged_run(0.85, passed=False, number=2, history=history_after(record(first)))
    history = history_after(record(second))

    assert [(entry["status"], entry["build"]["number"], entry["metrics"]) for entry in history] == [
        ("succeeded", 1, {"accuracy": 0.91}),
        ("unstable", 2, {"accuracy": 0.85}),
    ]


def test_a_history_stays_small_and_keeps_what_gates_name() -> None:
    log = Log(code("x"), history=[{"id": f"r{number}", "metrics": {}} for number in range(200)])
    for number in range(100):
        log.add("metric", name=f"m{number:03d}", value=number, step=None, cell=0)
    log.add("gate", expression="m099 > 1", value=99, bound=1, passed=True, message="")

    history = history_after(record(log.end()))

    assert len(history) == MAX_RUNS
    assert len(history[-1]["metrics"]) == MAX_METRICS
    assert history[-1]["metrics"]["m099"] == 99.0


@given(JSON)
def test_no_record_and_no_history_makes_the_readers_fail(value: Any) -> None:
    read_history(value)
    read_history([value, {"id": value, "build": value, "metrics": value}])
    history_after({"id": "x", "build": value, "gates": value, "metrics": value, "provenance": value})


def test_the_trend_shows_the_runs_before_with_a_chart_and_a_table() -> None:
    history = history_after(record(judged_run(0.85, passed=False, number=7)))
    made = report(judged_run(0.95, number=8, history=history))
    page = made["index.html"]

    assert '<img src="trend-001.svg" alt="accuracy over 2 runs: 0.85, 0.95; 1 of the runs missed a gate; ' in page
    assert '<a href="https://jenkins.example/job/train/7/">#7 2026-11-21 03:00</a>' in page
    assert "◆ unstable" in page
    chart = made["trend-001.svg"]
    ElementTree.fromstring(chart)
    assert ">gate</text>" in chart
    assert ">#7</text>" in chart
    assert made["trend-001-dark.svg"] != chart


def test_history_handed_in_counts_more_than_that_of_the_events_and_none_gives_no_section() -> None:
    log = judged_run(0.95, history=[{"id": "old", "metrics": {"accuracy": 0.1}}])

    assert (
        "accuracy over 2 runs: 0.5, 0.95"
        in report(log, history=[{"id": "o", "metrics": {"accuracy": 0.5}}])["index.html"]
    )
    assert 'id="trend"' not in report(log, history=[])["index.html"]
    assert 'id="trend"' not in report(judged_run(0.95))["index.html"]


def test_links_of_a_history_that_are_no_web_addresses_are_left_out() -> None:
    entry = {"id": "a", "build": {"number": "<b>", "url": "javascript:alert(1)"}, "metrics": {"accuracy": 1}}
    page = report(judged_run(0.95, history=[entry]))["index.html"]

    assert "javascript" not in page
    assert "&lt;b&gt;" in page


def test_metrics_stand_beside_the_baseline_with_the_change_in_words() -> None:
    baseline = {"run": "run-0", "metrics": {"accuracy": {"last": 0.9, "count": 1}}}
    history = [{"id": "run-0", "build": {"number": 3, "url": "https://jenkins.example/3/"}, "metrics": {}}]
    page = report(judged_run(0.99, baseline=baseline, history=history))["index.html"]

    assert '<a href="https://jenkins.example/3/"><code>run-0</code></a> (build 3)' in page
    assert '<td>0.9</td><td>▲ +0.09 (+10 %) <span class="ok">better</span></td>' in page


def test_values_have_six_digits_and_whole_ones_all_of_theirs() -> None:
    values = (None, 0.1234567, 3, 1_000_000.0, 1e15, -0.0, "NaN", float("inf"))

    assert [number_text(value) for value in values] == ["–", "0.123457", "3", "1000000", "1e+15", "0", "NaN", "inf"]


@pytest.mark.parametrize(
    ("value", "before", "better", "text"),
    [
        (0.5, 0.4, 1, '▲ +0.1 (+25 %) <span class="ok">better</span>'),
        (0.5, 0.4, -1, '▲ +0.1 (+25 %) <span class="bad">worse</span>'),
        (0.4, 0.5, -1, '▼ −0.1 (−20 %) <span class="ok">better</span>'),
        (0.5, 0.4, 0, "▲ +0.1 (+25 %)"),
        (1.0, 0.0, 0, "▲ +1"),
        (1.0, 1.0, 1, "no change"),
        (1e308, -1e308, 1, "–"),
        (1.0, 5e-324, 0, "▲ +1 (+– %)"),
    ],
)
def test_changes_have_a_sign_percents_and_a_word(value: float, before: float, better: int, text: str) -> None:
    assert change_text(value, before, better) == text


@pytest.mark.parametrize(
    ("value", "bound", "passed", "text"),
    [
        (0.9, 0.92, False, "missed by 0.02 (2.17 %)"),
        (0.95, 0.9, True, "met by 0.05 (5.56 %)"),
        (1.0, 1.0, True, "exactly at the bound"),
        (1.0, 0.0, True, "met by 1"),
        (None, 0.9, False, ""),
        ("NaN", 0.9, False, ""),
        (1e308, -1e308, True, ""),
    ],
)
def test_a_gate_says_by_how_much_it_was_met_or_missed(value: Any, bound: Any, passed: bool, text: str) -> None:
    assert margin_text({"type": "gate", "value": value, "bound": bound, "passed": passed}) == text


def test_a_gate_without_a_baseline_is_not_judged() -> None:
    log = Log(code("x", "X")).start().cell(0).done(0)
    log.add(
        "gate", expression="f1 > baseline", value=None, bound=None, passed=True, message="There is no baseline yet."
    )

    assert '<span class="quiet">– not judged</span>' in report(log.end())["index.html"]
