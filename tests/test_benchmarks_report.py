"""What the benchmarks compute from samples: lost lines, ratios, aims, tables and plot, from ``results.json`` alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.contestants import CONTESTANTS, OURS
from benchmarks.lines import NumberedLines
from benchmarks.plot import plot
from benchmarks.report import BEGIN, END, markdown, renew_page
from benchmarks.samples import SCHEMA, Sample, percentile, ratio
from benchmarks.targets import verdicts
from benchmarks.workloads import FULL, workloads

ROOT = Path(__file__).parent.parent


def sample(seconds: float | None = None, **fields: Any) -> dict[str, Any]:
    return asdict(Sample(seconds=seconds, **fields))


def result(**samples: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Results of some workloads, as ``results.json`` has them."""
    names = list(dict.fromkeys(name for of in samples.values() for name in of))
    about = {"date": "2026-01-02", "commit": "abc", "command": "benchmarks/run", "machine": "a machine", "quick": False}
    about |= {"load_before": 0.1, "load_after": 0.2, "took": 60.0, "sandbox": True}
    return {
        "schema": SCHEMA,
        "about": {**about, "versions": {"python": "3"}, "environments": {"papermill": {"papermill": "2"}}},
        "contestants": {name: {"title": name, "ours": name in OURS, "obstacle": None} for name in names},
        "workloads": {
            name: {"title": f"the {name} workload", "samples": of, "failures": {}} for name, of in samples.items()
        },
    }


# -- statistics --------------------------------------------------------------------------------------


def test_lost_lines_are_counted_whatever_was_dropped() -> None:
    lines = NumberedLines(100)
    text = lines.text
    each = text.splitlines(keepends=True)

    assert len(text) == lines.characters == 10_000
    assert lines.lost([text]) == 0
    assert lines.lost(text[i : i + 7] for i in range(0, len(text), 7)) == 0
    assert lines.lost(["a remark\n", text, "another\n"]) == 0
    assert lines.lost([*each[:50], *each[51:]]) == 1
    assert lines.lost([*each[:50], each[50][:60], *each[51:]]) == 2  # half a line spoils the one it runs into
    assert lines.lost([each[1], each[0], *each[2:]]) == 1
    assert lines.lost([*each, *each[:3]]) == 0
    assert lines.lost([]) == 100
    assert lines.lost([text[:250]]) == 98  # what is left of the third is no line
    assert lines.lost([text, text]) == 0


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    ours = [sample(1.0), sample(10.0), sample(1.0)]

    assert ratio(ours, [sample(2.0), sample(20.0), sample(4.0)]) == 0.5
    assert ratio(ours, [sample(2.0)]) == 0.5
    assert ratio(ours, [sample(2.0)], "cells") is None
    assert ratio([], [sample(1.0)]) is None


def test_a_percentile_is_a_value_that_occurred() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0


# -- the report --------------------------------------------------------------------------------------


def verdict(what: str, **samples: dict[str, list[dict[str, Any]]]) -> tuple[float | None, str, bool | None]:
    (found,) = (one for one in verdicts(result(**samples)) if one.target.what == what)
    return found.figure, found.of, found.met


def test_an_aim_is_judged_by_what_was_measured() -> None:
    hello = "hello, whole command ÷ papermill's"
    assert verdict(hello, hello={"warm": [sample(1.0)], "papermill": [sample(10.0)]}) == (0.1, "warm", True)
    assert verdict(hello, hello={"warm": [sample(2.0)], "papermill": [sample(10.0)]}) == (0.2, "warm", False)
    assert verdict(hello, hello={"cold": [sample(1.0)], "papermill": [sample(10.0)]}) == (None, "", None)


def test_of_several_of_ours_the_worst_counts_and_for_throughput_the_best() -> None:
    cells = {"embedded": [sample(1.0)], "warm": [sample(2.0)], "bare loop": [sample(1.0)]}
    assert verdict("1,000 cells ÷ bare loop", cells=cells) == (2.0, "warm", False)
    flood = {"embedded": [sample(3.0)], "warm": [sample(1.0)], "bare loop": [sample(1.0)]}
    assert verdict("100 MB, prints: rate ÷ bare loop's", lines=flood) == (1 / 3, "embedded", False)
    batch = {"cold": [sample(10.0)], "forked": [sample(1.0)], "papermill": [sample(10.0)]}
    aim = "throughput of short notebooks, four at a time ÷ papermill's"
    assert verdict(aim, throughput=batch) == (10.0, "forked", True)


def test_one_lost_line_of_a_million_is_not_met() -> None:
    flood = {"embedded": [sample(1.0, lost=0)] * 6 + [sample(1.0, lost=1)]}

    assert verdict("100 MB, prints: lines lost", lines=flood) == (1, "embedded", False)


def test_memory_that_nobody_could_measure_is_not_met_by_default() -> None:
    flood = {"embedded": [sample(1.0, runner_mb=100.0)], "warm": [sample(1.0)]}

    assert verdict("100 MB, prints: peak memory of the runner", lines=flood) == (None, "", None)


def test_the_report_shows_aims_ratios_figures_loss_latency_and_memory() -> None:
    text = markdown(
        result(
            hello={"warm": [sample(1.0, first=0.5)], "papermill": [sample(10.0, first=9.0)]},
            lines={"embedded": [sample(2.0, lost=0, runner_mb=99.6, tree_mb=400.0)], "nbclient": [sample(4.0, lost=7)]},
            latency={"warm": [sample(9.0, delays=[1.0, 2.0, 9.0])]},
            memory={"warm": [sample(idle_mb=50.4, running_mb=80.0)]},
        )
    )

    assert "| hello, whole command ÷ papermill's | ≤ 0.15 | 0.10 (warm) | met |" in text
    assert "| 1,000 cells ÷ bare loop | ≤ 1.1 | not measured |  |" in text
    assert "| the hello workload | first output | papermill | 0.056 |" in text
    assert "| the lines workload | whole command | nbclient |  | 0.50 |" in text
    assert "| the lines workload | embedded | 1 | 2.00 (2.00–2.00) |  |  | 100 | 400 | 0 |" in text
    assert "| the lines workload | nbclient | 1 | 4.00 (4.00–4.00) |  |  |  |  | 7 |" in text
    assert "| the latency workload | warm | 2.0 | 9.0 | 9.0 | 3 |" in text
    assert "| warm | 50 | 80 |" in text
    assert "papermill: papermill 2" in text


def test_the_report_says_who_did_not_take_part_who_failed_and_that_the_machine_was_busy() -> None:
    found = result(hello={"embedded": [sample(1.0)]})
    found["contestants"]["warm"] = {"title": "", "ours": True, "obstacle": "It has no option --warm."}
    found["workloads"]["hello"]["failures"]["cold"] = "ended with 1:\n<b>|</b>"
    found["about"] |= {"load_before": 1.5, "quick": True}

    text = markdown(found)

    assert "**warm** did not take part. It has no option --warm." in text
    assert "**cold failed** in “the hello workload”: ended with 1: &lt;b>\\|&lt;/b>" in text
    assert "**The machine was not quiet**: load 1.5" in text
    assert "**A smoke test of small workloads**" in text


def test_the_plot_is_transparent_and_holds_every_contestant(tmp_path: Path) -> None:
    found = result(
        hello={"embedded": [sample(1.0), sample(1.1)], "papermill": [sample(2.0), sample(2.2)]},
        latency={"cold": [sample(1.0, delays=[1.0, 3.0])]},
        memory={"warm": [sample(running_mb=1.0)]},
    )

    plot(found, tmp_path / "plot.svg")

    texts = {element.text for element in ElementTree.parse(tmp_path / "plot.svg").iter() if element.text}
    assert {"embedded", "papermill", "cold", "the hello workload, s", "the latency workload, ms"} <= texts
    assert "warm" not in texts
    assert "#ffffff" not in (tmp_path / "plot.svg").read_text()


def test_an_earlier_result_is_reported_without_measuring(tmp_path: Path) -> None:
    found = result(hello={"embedded": [sample(1.0)]})
    (tmp_path / "old.json").write_text(json.dumps(found))
    command = [sys.executable, "-m", "benchmarks", "--report", str(tmp_path / "old.json"), "--output", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == markdown(found) + "\n"
    assert (tmp_path / "results.svg").read_text().startswith("<?xml")


def test_renewing_the_page_replaces_the_numbers_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    renew_page(page, "new\n")

    assert page.read_text() == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="marks"):
        renew_page(page, "new")


# -- what is published ----------------------------------------------------------------


def test_the_page_that_is_published_describes_every_workload_and_contestant() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    described = page.partition(BEGIN)[0]

    assert [known.title for known in workloads(FULL) if known.title not in described] == []
    assert [name for name in CONTESTANTS if f"**{name}**" not in described] == []


def test_the_numbers_of_the_page_are_those_of_the_json_beside_it() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    published = json.loads((ROOT / "docs" / "performance.json").read_text(encoding="utf-8"))
    shown = page.partition(BEGIN)[2].partition(END)[0]

    if published.get("schema") == SCHEMA:
        assert shown.strip() == markdown(published).strip()
    assert published["about"]["commit"] in shown
    assert published["about"]["date"] in shown
