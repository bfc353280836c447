"""Metrics, gates and the report of real runs: many, odd, and a million of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from tests.command.conftest import Run

PLOTS = """
import matplotlib.pyplot as plt
from IPython.display import display
for number in range(10):
    figure, axes = plt.subplots(figsize=(4, 2))
    axes.plot(range(number + 2))
    display(figure)
    plt.close(figure)
"""

METRICS = """
import math
for step in range(30):
    print(f"::metric name=loss value={math.exp(-step / 9):.6f} step={step}")
print("::metric name=accuracy value=0.91")
for number in range(18):
    print(f"::metric name=score_{number:02d} value={number / 20}")
"""


def test_20_metrics_3_gates_one_missed_and_10_figures_end_unstable_with_all_results(
    run: Run, notebook: Callable[..., str]
) -> None:
    gates = ("accuracy >= 0.92", "last(loss) < first(loss)", "score_17 > 0.8")
    required = [part for gate in gates for part in ("--require", gate)]

    finished = run(notebook(METRICS, PLOTS), *required)

    finished.assert_results("unstable", 3)
    assert len(json.loads((finished.folder / "metrics.json").read_text())) == 20
    assert [gate["passed"] for gate in finished.record["gates"]] == [False, True, True]
    suites = ElementTree.parse(finished.folder / "junit.xml").getroot()
    assert [suite.attrib["failures"] for suite in suites] == ["0", "1"]
    failure = suites.find(".//failure")
    assert failure is not None
    assert failure.attrib["message"] == "value 0.91, bound 0.92, missed by 0.01 (1.09 %)"
    page = (finished.folder / "report" / "index.html").read_text()
    assert "Unstable: a gate was not met</h1>" in page
    assert "missed by 0.01 (1.09 %)" in page
    images = re.findall(r'<img src="([^"]+)"', page)
    assert sum(image.startswith("image-") for image in images) == 10
    assert sum(image.startswith("curve-") for image in images) == 1
    assert all((finished.folder / "report" / image).stat().st_size > 500 for image in images)


def test_a_second_run_compares_itself_with_the_first(run: Run) -> None:
    for value in (0.9, 0.95):
        finished = run("-c", f"print('::metric name=accuracy value={value}')", "--require", "accuracy >= 0.9")

    page = (finished.folder / "report" / "index.html").read_text()
    assert '▲ +0.05 (+5.56 %) <span class="ok">better</span>' in page


def test_metrics_of_all_kinds_and_odd_names_arrive_and_what_is_wrong_is_said(run: Run) -> None:
    code = r"""
import json, math
from IPython.display import display
print("::metric name='val acc' value=nan")
print("::metric name=précision value=-inf step=3")
print("::metric name=précision value=0.5 step=1")
print("::metric name=broken value=many")
print("::metric name= value=1")
display({"application/vnd.kernel-gateway.metrics+json": {"shown": 2, "flag": True}}, raw=True)
scrap = {"name": "scrap", "data": 3, "encoder": "json", "version": 1}
display({"application/scrapbook.scrap.json+json": scrap}, raw=True)
json.dump({"test": {"f1": 0.5, "auc": float("inf")}, "best": True, "x\ud800": 1}, open("metrics.json", "w"))
"""
    finished = run("-c", code)

    finished.assert_results("succeeded", 0)
    assert json.loads((finished.folder / "metrics.json").read_text()) == {
        "val acc": "NaN",
        "précision": 0.5,
        "shown": 2.0,
        "scrap": 3.0,
        "test.f1": 0.5,
        "test.auc": "Infinity",
    }
    warnings = " ".join(event["message"] for event in finished.of("log") if event["level"] == "warning")
    for word in (
        "value=many",
        "'name= value=1' is not written",
        "True of 'flag' is not a number",
        "'best', 'x\\ud800'",
    ):
        assert word in warnings, warnings


@pytest.mark.slow
def test_a_million_points_stay_in_the_log_and_become_one_small_curve(run: Run) -> None:
    code = 'for i in range(1_000_000):\n    print(f"::metric name=loss value={1 / (i + 1)} step={i}")'

    finished = run("-c", code, "--require", "last(loss) < 0.001")

    assert finished.exit_code == 0, finished.stderr[-2000:]
    with (finished.folder / "events.jsonl").open() as log:
        assert sum('"type":"metric"' in line for line in log) == 1_000_000
    assert json.loads((finished.folder / "metrics.json").read_text()) == {"loss": 1e-06}
    loss = finished.record["metrics"]["loss"]
    assert loss["count"] == 1_000_000
    assert len(loss["steps"]) <= 1000
    assert loss["steps"][-1] == [999_999, 1e-06]
    assert (finished.folder / "report" / "curve-001.svg").stat().st_size < 20_000
    assert (finished.folder / "report" / "index.html").stat().st_size < 2 * 1024 * 1024


def test_more_names_than_can_be_kept_are_said(run: Run) -> None:
    code = 'for i in range(10_050):\n    print(f"::metric name=loss_{i} value={i}")'

    finished = run("-c", code)

    finished.assert_results("succeeded", 0)
    assert len(json.loads((finished.folder / "metrics.json").read_text())) == 10_000
    [warning] = [event["message"] for event in finished.of("log") if event["level"] == "warning"]
    assert warning.startswith("This run has more than 10,000 metric names")
    assert "9,500 more are in" in (finished.folder / "report" / "index.html").read_text()
