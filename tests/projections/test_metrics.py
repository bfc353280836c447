"""Metrics: aggregates that never grow, and a flat file for DVC."""

from __future__ import annotations

import json
import math
import tracemalloc
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kernel_gateway.projections.metrics import MAX_POINTS, Metrics, MetricSummary, MetricTable
from kernel_gateway.settings import Settings
from tests.projections.conftest import Log, code


def result(log: Log) -> dict[str, Any]:
    projection = Metrics(Settings(), log.blobs)
    for event in log.events:
        projection.feed(event)
    parsed: dict[str, Any] = json.loads(projection.result())
    return parsed


def test_the_file_is_flat_and_has_the_last_value_of_each_metric(rich_log: Log) -> None:
    assert result(rich_log) == {"loss": 0.2, "odd": "NaN"}


def test_without_metrics_the_file_is_an_empty_object() -> None:
    assert result(Log(code("x"))) == {}


def test_numbers_that_json_lacks_are_strings_and_nonsense_is_ignored() -> None:
    log = Log(code("x"))
    for name, value in (("up", "Infinity"), ("down", "-Infinity"), ("bad", "many"), ("none", None), ("whole", 3)):
        log.add("metric", name=name, value=value, step=None, cell=None)

    assert result(log) == {"up": "Infinity", "down": "-Infinity", "whole": 3.0}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_aggregates_are_those_of_the_whole_series(values: list[float]) -> None:
    summary = MetricSummary()
    for value in values:
        summary.add(value)

    assert (summary.first, summary.last, summary.count) == (values[0], values[-1], len(values))
    assert (summary.min, summary.max) == (min(values), max(values))
    assert math.isclose(summary.mean, sum(values) / len(values), rel_tol=1e-9, abs_tol=1e-9)
    assert summary.steps() == list(enumerate(values))


def test_nan_counts_but_is_neither_smallest_nor_largest() -> None:
    summary = MetricSummary()
    for value in (1.0, math.nan, 3.0, math.nan):
        summary.add(value, 5)

    assert (summary.min, summary.max, summary.first, summary.count) == (1.0, 3.0, 1.0, 4)
    assert math.isnan(summary.last)
    assert math.isnan(summary.mean)


def test_a_million_points_are_thinned_and_stay_small() -> None:
    summary = MetricSummary()
    tracemalloc.start()
    for step in range(300_000):
        summary.add(step / 2, step)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    for step in range(300_000, 1_000_000):
        summary.add(step / 2, step)

    steps = [step for step, _ in summary.steps()]
    gaps = [b - a for a, b in pairwise(steps)]
    assert peak < 1024 * 1024
    assert summary.count == 1_000_000
    assert len(steps) <= MAX_POINTS
    assert (steps[0], steps[-1]) == (0, 999_999)
    assert max(gaps) <= 5 * 1_000_000 / MAX_POINTS


def test_a_single_spike_among_a_million_points_is_still_to_be_seen() -> None:
    summary = MetricSummary()
    for step in range(100_000):
        summary.add(100.0 if step == 77_777 else -100.0 if step == 33_333 else math.sin(step), step)

    steps = summary.steps()
    assert (77_777, 100.0) in steps
    assert (33_333, -100.0) in steps
    assert (steps[0], steps[-1]) == ((0, 0.0), (99_999, math.sin(99_999)))


def test_a_series_of_many_nans_keeps_its_numbers() -> None:
    summary = MetricSummary()
    for step in range(5000):
        summary.add(1.0 if step % 7 == 0 else math.nan, step)

    assert len(summary.steps()) <= MAX_POINTS
    assert sum(value == 1.0 for _, value in summary.steps()) > MAX_POINTS / 5
    assert summary.not_finite == 5000 - summary.count // 7 - 1


def test_steps_that_go_backwards_stay_in_the_order_in_which_they_came() -> None:
    summary = MetricSummary()
    for step in (0, 1, 2, 0, 1):
        summary.add(float(step), step)

    assert [step for step, _ in summary.steps()] == [0, 1, 2, 0, 1]
    assert summary.last_step == 1


def test_a_table_keeps_metrics_apart_and_ignores_other_events(rich_log: Log) -> None:
    table = MetricTable()
    for event in rich_log.events:
        table.feed(event)

    assert list(table.summary()) == ["loss", "odd"]
    assert table.summary()["loss"].max == 1.0
