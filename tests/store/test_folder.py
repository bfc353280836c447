"""A run's folder and its baseline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernel_gateway.errors import UsageError
from kernel_gateway.events import EventType
from kernel_gateway.settings import Settings
from kernel_gateway.store.baseline import previous_results
from kernel_gateway.store.folder import RunFolder


def finish(folder: RunFolder, status: str = "succeeded") -> None:
    program = {"name": "n", "cells": [], "metadata": {}, "parameters": {}}
    folder.log.append(EventType.RUN_QUEUED, run="r1", program=program, resources={}, provenance={})
    folder.log.append(EventType.METRIC, name="f1", value=0.5, step=None, cell=None)
    folder.log.append(EventType.RUN_FINISHED, status=status, reason="", seconds=1.0, exit_code=0)
    folder.log.close()
    folder.write_results()
    folder.release()


def test_every_result_file_is_written(tmp_path: Path) -> None:
    finish(RunFolder(tmp_path / "out", Settings()))
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"run.json", "events.jsonl", "executed.ipynb", "console.log", "metrics.json", "junit.xml"} <= names
    assert "report/index.html" in names
    assert not [name for name in names if name.startswith(".")]


def test_results_of_an_earlier_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "old.bin").write_text("old")
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "mine.txt").write_text("mine")
    finish(RunFolder(tmp_path, Settings()))
    assert not (tmp_path / "artifacts").exists()
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["report/thesis.html", "artifacts/model.bin", "metrics.json"])
def test_a_folder_with_things_of_the_users_own_is_refused_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=f"its {name.split('/')[0]}, which would be replaced, is of no earlier run"):
        RunFolder(tmp_path, Settings())
    assert (tmp_path / name).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [name.split("/")[0]]


def test_an_empty_folder_of_a_results_name_is_nothing_to_keep(tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    finish(RunFolder(tmp_path, Settings()))
    assert (tmp_path / "run.json").exists()


def test_a_link_in_place_of_a_result_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("keep")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "events.jsonl").write_text("")
    (tmp_path / "out" / "report").symlink_to(tmp_path / "precious")
    finish(RunFolder(tmp_path / "out", Settings()))
    assert (tmp_path / "precious" / "data").read_text() == "keep"


def test_one_run_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    first = RunFolder(tmp_path, Settings())
    with pytest.raises(UsageError, match="another run"):
        RunFolder(tmp_path, Settings())
    finish(first)
    finish(RunFolder(tmp_path, Settings()))


def test_a_successful_run_is_the_next_ones_baseline(tmp_path: Path) -> None:
    assert previous_results(tmp_path) is None
    finish(RunFolder(tmp_path, Settings()))
    baseline = previous_results(tmp_path)
    assert baseline is not None
    assert baseline.run == "r1"
    assert baseline.metrics["f1"].last == 0.5


def test_what_a_shell_made_for_our_output_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "console.log").touch()
    (tmp_path / "artifacts").mkdir()

    RunFolder(tmp_path, Settings()).release()


def test_a_failed_run_hands_its_own_baseline_on(tmp_path: Path) -> None:
    metrics = {"f1": {"first": 0.4, "last": 0.4, "min": 0.4, "max": "NaN", "mean": 0.4, "count": 1}}
    record = {
        "id": "r2",
        "status": "failed",
        "metrics": {},
        "provenance": {"baseline": {"run": "r0", "metrics": metrics}},
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    baseline = previous_results(tmp_path)
    assert baseline is not None
    assert baseline.run == "r0"
    assert baseline.metrics["f1"].last == 0.4


def test_a_record_that_makes_no_sense_is_no_baseline(tmp_path: Path) -> None:
    for text in ("", "[]", '{"status": "succeeded"}', '{"status": "succeeded", "id": "x", "metrics": {"a": 3}}'):
        (tmp_path / "run.json").write_text(text)
        assert previous_results(tmp_path) is None


def test_a_refused_opener_does_not_free_the_folder(tmp_path: Path) -> None:
    holder = RunFolder(tmp_path, Settings())
    for _ in range(2):
        with pytest.raises(UsageError, match="another run"):
            RunFolder(tmp_path, Settings())
    finish(holder)
