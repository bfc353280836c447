"""The benchmarks' harness: it runs, and what it computes from samples is right. No test here judges a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import run
from benchmarks.report import BEGIN, END, markdown, percentile, ratios, renew_page
from benchmarks.workloads import CONTENDERS, WORKLOADS, Workload, flood, ours, write_notebook

ROOT = Path(__file__).parent.parent


def sample(seconds: float, **fields: Any) -> dict[str, Any]:
    return {"seconds": seconds, "peak_mb": 50.0, "cells": None, "delays": [], "loss": None, **fields}


def result(samples: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    about = {"date": "", "commit": "", "command": "", "machine": "", "load_before": 0.0, "load_after": 0.0}
    return {"about": {**about, "versions": {}}, "workloads": {"w": {"title": "a workload", "samples": samples}}}


def test_one_tiny_workload_runs_and_leaves_its_results(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", "hello", "--contender", "ours", "--repeats", "1"]

    done = subprocess.run(
        [*command, "--output", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads((tmp_path / "results.json").read_text())["workloads"]["hello"]["samples"]["ours"]
    assert len(measured) == 1
    assert measured[0]["seconds"] > 0
    assert measured[0]["peak_mb"] > 1
    assert "| hello notebook | ours |" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "results.svg").read_text().startswith("<?xml")


def test_lost_text_is_noticed_and_whole_text_is_not(tmp_path: Path) -> None:
    def printed() -> Iterator[str]:
        yield "one\n"
        yield "two\n"

    whole = Workload("tiny", "", ["print('one')", "print('two')"], ["ours"], printed=printed)
    cut = Workload("tiny", "", ["print('one')"], ["ours"], printed=printed)
    swapped = Workload("tiny", "", ["print('two')", "print('one')"], ["ours"], printed=printed)

    assert ours(whole, write_notebook(whole, tmp_path / "whole")).loss == 0.0
    assert ours(cut, write_notebook(cut, tmp_path / "cut")).loss == 0.5
    assert ours(swapped, write_notebook(swapped, tmp_path / "swapped")).loss == 1.0


def test_the_time_a_line_takes_is_measured_where_it_arrives(tmp_path: Path) -> None:
    code = "import time; print(time.time_ns(), flush=True); time.sleep(0.2); print(time.time_ns() - 10**9, flush=True)"

    sample, _ = run([sys.executable, "-c", code], tmp_path, stamps=True)

    assert len(sample.delays) == 2
    assert 0 <= sample.delays[0] < 1000 <= sample.delays[1]


def test_a_contender_that_fails_spoils_the_measurement_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with 3: gone wrong"):
        run([sys.executable, "-c", "print('gone wrong'); exit(3)"], tmp_path)


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    samples = {"ours": [sample(1.0), sample(10.0), sample(1.0)], "peer": [sample(2.0), sample(20.0), sample(4.0)]}

    assert ratios(samples) == {"peer": 0.5}
    assert ratios(samples, "cells") == {}
    assert ratios({"peer": [sample(1.0)]}) == {}


def test_the_tables_show_ratios_memory_loss_and_latency() -> None:
    samples = {
        "ours": [sample(1.0, cells=0.5, loss=0.0, delays=[1.0, 2.0, 9.0])],
        "peer": [sample(2.0, cells=1.0, loss=0.25)],
    }
    text = markdown(result(samples))

    assert "| a workload | ours | 1.00 (1.00–1.00) | 0.50 | 50 | none |" in text
    assert "| a workload | peer | 2.00 (2.00–2.00) | 1.00 | 50 | 25.0% |" in text
    assert "| ours | 2.0 | 9.0 | 3 |" in text
    samples["ours"][0]["delays"] = []
    assert "peer **0.50**, peer, cells only **0.50**" in markdown(result(samples))


def test_a_percentile_is_a_value_that_occurred() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0


def test_renewing_the_page_replaces_the_numbers_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    renew_page(page, "new\n")

    assert page.read_text() == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="marks"):
        renew_page(page, "new")


def test_the_page_that_is_published_has_the_marks_and_the_workloads() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")

    assert BEGIN in page
    assert END in page
    assert [known.title for known in WORKLOADS if not known.stamps and known.title not in page] == []


def test_every_workload_names_known_contenders_and_ours_is_among_them() -> None:
    for workload in WORKLOADS:
        assert {*workload.contenders, *workload.once} <= CONTENDERS.keys()
        assert "ours" in workload.contenders


def test_the_flood_is_100_mb() -> None:
    assert sum(map(len, flood())) == 100_000_000


def test_the_commands_may_be_run() -> None:
    assert all(os.access(ROOT / name, os.X_OK) for name in ("benchmarks/run", "scripts/peers"))
