"""The JUnit file, checked against the rules by which Jenkins' junit step reads such files."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from kernel_gateway.projections.junit import TEXT_LIMIT, JUnit
from kernel_gateway.settings import Settings
from tests.projections.conftest import Log, code, markdown

SUITE = {"name", "tests", "failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id", "package"}
CASE = {"name", "assertions", "time", "classname", "status"}
ORDER = ["skipped", "error", "failure", "system-out", "system-err"]


def junit(log: Log) -> ElementTree.Element:
    """The parsed file of a log, after a check of its structure."""
    projection = JUnit(Settings(), log.blobs)
    for event in log.events:
        projection.feed(event)
    text = projection.result()
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    root = ElementTree.fromstring(text.encode("utf-8"))
    check(root)
    return root


def check(root: ElementTree.Element) -> None:
    """What Jenkins' schema for these files asks: elements, attributes, their order, kinds and sums."""
    assert root.tag == "testsuites"
    assert all(suite.tag == "testsuite" for suite in root)
    for suite in root:
        assert set(suite.attrib) <= SUITE
        cases = suite.findall("testcase")
        assert len(cases) == len(suite)
        assert suite.attrib["tests"] == str(len(cases))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert suite.attrib[attribute] == str(sum(case.find(tag) is not None for case in cases))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib.get("timestamp", "2026-01-01T00:00:00"))
        names = [(case.attrib["classname"], case.attrib["name"]) for case in cases]
        assert len(set(names)) == len(names), "Jenkins tells cases apart by class and name"
        for case in cases:
            assert set(case.attrib) <= CASE
            float(case.attrib["time"])
            tags = [child.tag for child in case]
            assert tags == sorted(set(tags), key=ORDER.index)
            assert len({"skipped", "error", "failure"} & set(tags)) <= 1
            for child in case:
                allowed = {"skipped": {"message"}, "error": {"message", "type"}, "failure": {"message", "type"}}
                assert set(child.attrib) <= allowed.get(child.tag, set())


def cases(log: Log) -> dict[str, Any]:
    return {case.attrib["name"]: case for case in junit(log).iter("testcase")}


def outcome(case: ElementTree.Element) -> str:
    return next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")


def test_every_code_cell_and_every_gate_is_a_case_with_its_outcome(rich_log: Log) -> None:
    found = cases(rich_log)

    assert {name: outcome(case) for name, case in found.items()} == {
        "01 epochs = 3": "passed",
        "02 Train": "passed",
        "03 Skip me": "skipped",
        "04 Expected": "passed",
        "05 Plot": "passed",
        "06 Check the data": "failure",
        "07 Never": "skipped",
        "loss <= 0.1": "failure",
        "loss <= 1": "passed",
    }
    assert {case.attrib["classname"] for case in found.values()} == {"train", "train.gates"}
    assert [suite.attrib["name"] for suite in junit(rich_log)] == ["train.ipynb", "train.ipynb gates"]


def test_a_failure_carries_the_error_and_its_traceback_without_colours(rich_log: Log) -> None:
    failure = cases(rich_log)["06 Check the data"].find("failure")

    assert failure is not None
    assert failure.attrib == {"message": "ValueError: no data", "type": "ValueError"}
    assert failure.text == "Traceback (most recent call last)\nValueError: no data"


def test_what_was_never_reached_says_where_the_run_ended(rich_log: Log) -> None:
    skipped = cases(rich_log)["07 Never"].find("skipped")

    assert skipped is not None
    assert skipped.attrib["message"] == "not reached: the run ended in cell 5 (Check the data)"


def test_streams_are_folded_and_free_of_what_xml_forbids() -> None:
    log = Log(code("x", "X")).start().cell(0)
    log.print("\x1b[31mred\x1b[0m \x00\x08<&>\n10%").print("\r99%\n").print("warn\n", name="stderr").done(0).end()
    case = cases(log)["01 X"]

    assert case.findtext("system-out") == "red <&>\n99%\n"
    assert case.findtext("system-err") == "warn\n"


def test_long_text_is_bounded() -> None:
    log = Log(code("x", "X")).start().cell(0)
    for _ in range(100):
        log.print("line of text\n" * 1000)
    log.add("error", cell=0, ename="E", evalue="v" * 5000, traceback=["t" * 1_000_000]).done(0, "error").end("failed")
    case = cases(log)["01 X"]
    failure = case.find("failure")

    assert failure is not None
    assert len(case.findtext("system-out") or "") < TEXT_LIMIT + 200
    assert len(failure.text or "") < TEXT_LIMIT + 200
    assert len(failure.attrib["message"]) < 1200


@pytest.mark.parametrize("status", ["timed_out", "kernel_died", "cancelled", "lost"])
def test_a_cell_in_which_the_run_was_cut_is_an_error_with_the_reason(status: str) -> None:
    log = Log(code("x", "X"), code("y", "Y")).start().cell(0).done(0, "aborted", 3).end(status, "The reason.", 4)
    found = cases(log)
    error = found["01 X"].find("error")

    assert error is not None
    assert error.attrib == {"message": "The reason.", "type": status}
    assert outcome(found["02 Y"]) == "skipped"


def test_a_cell_without_an_end_of_its_own_is_an_error_too() -> None:
    log = Log(code("x", "X")).start().cell(0).end("lost", "The runner vanished.", 5)

    assert outcome(cases(log)["01 X"]) == "error"


def test_a_run_that_ends_badly_outside_any_cell_has_an_error_case() -> None:
    log = Log(code("x", "X")).add("log", level="error", message="ImportError: no ipykernel")
    log.end("kernel_died", "The kernel did not start.", 5)
    found = cases(log)
    error = found["run"].find("error")

    assert error is not None
    assert error.attrib["message"] == "The kernel did not start."
    assert error.text == "The kernel did not start.\nImportError: no ipykernel"
    assert outcome(found["01 X"]) == "skipped"


def test_a_run_that_fails_between_cells_has_an_error_case() -> None:
    log = Log(code("x", "X")).start().cell(0).done(0).end("failed", "The disk is full.", 1)

    assert outcome(cases(log)["run"]) == "error"


def test_allowed_errors_are_failures_each() -> None:
    log = Log(code("x", "X"), code("y", "Y")).start()
    for index in (0, 1):
        log.cell(index).error(index).done(index, "error")

    assert [outcome(case) for case in cases(log.end("failed")).values()] == ["failure", "failure"]


def test_markdown_and_empty_cells_are_no_cases_and_names_hold_no_dots_for_a_class() -> None:
    log = (
        Log(markdown("# T"), code(" "), code("x", "a.b <c>"), name="v1.2 data.prep.ipynb").start().cell(2).done(2).end()
    )
    case = next(junit(log).iter("testcase"))

    assert len(cases(log)) == 1
    assert case.attrib["name"] == "01 a.b <c>"
    assert case.attrib["classname"] == "v1_2 data_prep"


def test_a_gate_that_is_missed_says_value_bound_and_margin() -> None:
    log = Log(code("x", "X")).start().cell(0).done(0)
    log.add("gate", expression="f1 >= 0.5", value=0.4, bound=0.5, passed=False, message="")
    log.add(
        "gate", expression="auc >= 0.5", value=None, bound=None, passed=False, message="The run has no metric 'auc'."
    )
    log.add(
        "gate", expression="f1 > baseline", value=None, bound=None, passed=True, message="There is no baseline yet."
    )
    found = cases(log.end("unstable", "A gate was not met.", 3))

    messages = {name: case[0].attrib["message"] for name, case in found.items() if len(case)}
    assert messages == {
        "f1 >= 0.5": "value 0.4, bound 0.5, missed by 0.1 (20 %)",
        "auc >= 0.5": "The run has no metric 'auc'.",
        "f1 > baseline": "There is no baseline yet.",
    }
    assert [outcome(found[name]) for name in messages] == ["failure", "failure", "skipped"]


def test_a_gate_that_the_run_never_came_to_is_skipped() -> None:
    log = Log(code("x", "X"))
    log.events[0]["gates"] = [{"expression": "f1 > 0.5", "origin": "request"}]
    log.end("kernel_died", "The kernel did not start.", 5)
    skipped = cases(log)["f1 > 0.5"].find("skipped")

    assert skipped is not None
    assert skipped.attrib["message"] == "not judged: the run ended as kernel_died"
