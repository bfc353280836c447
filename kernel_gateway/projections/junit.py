"""``junit.xml``: a test case a code cell and one a gate, as Jenkins' junit step reads it.

Jenkins shows a case by ``classname`` (split at the last dot into package and class) and ``name``, both of
which it also uses to compare builds, so neither may change from run to run. Text is free of ANSI codes
and of characters that XML forbids, and is bounded.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ..events import CellStatus, Event, EventType, Status
from ..settings import Settings
from .bundles import Blobs
from .cells import BAD, CellState, RunState
from .margins import judged, margin_text
from .text import Folder, HeadTail, clip, xml_text

TEXT_LIMIT = 128 * 1024
"""Characters of one cell's stdout, stderr or traceback in the file; Jenkins keeps all of it in memory."""

SHORT = 1000
"""Longest ``message`` attribute."""


class _Text:
    """One stream of one cell."""

    def __init__(self, limit: int) -> None:
        self._folder = Folder()
        self._kept = HeadTail(limit)

    def add(self, text: str) -> None:
        self._kept.add(self._folder.feed(text))

    def text(self) -> str:
        return self._kept.text(self._folder.rest())


class JUnit:
    """The projection behind ``junit.xml``."""

    def __init__(self, settings: Settings, blobs: Blobs) -> None:
        self._limit = min(settings.console_limit, TEXT_LIMIT)
        self._state = RunState()
        self._texts: dict[tuple[int, str], _Text] = {}

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self._state.feed(event)
        if event["type"] == EventType.STREAM:
            index = event.get("cell")
            index = self._state.current if index is None else index
            key = (-1 if index is None else index, event["name"])
            if key not in self._texts:
                self._texts[key] = _Text(self._limit)
            self._texts[key].add(event["text"])

    def result(self) -> str:
        """The file's text, with an XML declaration."""
        name = self._state.name
        suites = [self._suite(name, self._cases(), self._run_seconds())]
        gates = [self._gate(gate) for gate in self._state.gates]
        gates += [self._gate({"expression": gate, "passed": True}) for gate in dict.fromkeys(self._state.gates_left)]
        if gates:
            suites.append(self._suite(f"{name} gates", gates, 0.0))
        root = ElementTree.Element("testsuites", {"name": xml_text(name)})
        root.extend(suites)
        ElementTree.indent(root)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"

    def _suite(self, name: str, cases: list[ElementTree.Element], seconds: float) -> ElementTree.Element:
        def count(tag: str) -> str:
            return str(sum(1 for case in cases if case.find(tag) is not None))

        attributes = {
            "name": xml_text(name),
            "tests": str(len(cases)),
            "failures": count("failure"),
            "errors": count("error"),
            "skipped": count("skipped"),
            "time": f"{seconds:.3f}",
        }
        if self._state.queued:
            attributes["timestamp"] = self._state.queued["time"][:19]
        suite = ElementTree.Element("testsuite", attributes)
        suite.extend(cases)
        return suite

    def _run_seconds(self) -> float:
        return float((self._state.finished or {}).get("seconds") or sum(cell.seconds for cell in self._state.cells))

    def _cases(self) -> list[ElementTree.Element]:
        code = [cell for cell in self._state.cells if cell.type == "code" and cell.source.strip()]
        width = max(2, len(str(len(code))))
        cases = [self._cell(cell, f"{place:0{width}d} {cell.title}") for place, cell in enumerate(code, 1)]
        state = self._state
        blamed = any(case.find("failure") is not None or case.find("error") is not None for case in cases)
        if state.finished and state.status in BAD and not blamed:
            cases.append(self._run_case())
        return cases

    def _run_case(self) -> ElementTree.Element:
        """The run ended badly and no cell is to blame, e.g. because the kernel did not start."""
        state = self._state
        case = self._case("run", self._run_seconds())
        logs = [str(log.get("message", "")) for log in state.logs if log.get("level") == "error"]
        message = state.reason or f"The run ended as {state.status}."
        self._blame(case, "error", message, state.status, "\n".join([message, *logs]))
        self._streams(case, -1)
        return case

    def _cell(self, cell: CellState, name: str) -> ElementTree.Element:
        state = self._state
        case = self._case(name, cell.seconds)
        if cell.failed:
            self._failure(case, cell)
        elif cell.status == CellStatus.SKIPPED or "skip-execution" in cell.tags:
            self._skip(case, "skipped by its tag")
        elif cell.was_cut and state.finished:
            reason = state.reason or f"The run ended as {state.status} in this cell."
            self._blame(case, "error", reason, state.status, reason)
        elif cell.was_cut:
            self._skip(case, "not finished where the event log ends")
        elif cell.status not in (CellStatus.OK, CellStatus.ERROR):
            self._skip(case, self._not_reached())
        self._streams(case, cell.index)
        return case

    def _failure(self, case: ElementTree.Element, cell: CellState) -> None:
        error = cell.error or {}
        ename, evalue = str(error.get("ename") or "error"), str(error.get("evalue") or "")
        traceback = "\n".join(str(line) for line in error.get("traceback") or [])
        message = f"{ename}: {evalue}" if evalue else ename
        self._blame(case, "failure", message, ename, traceback or message)

    def _not_reached(self) -> str:
        state = self._state
        if not state.finished:
            return "not reached: the event log ends before"
        culprit = state.culprit
        if culprit:
            return f"not reached: the run ended in cell {culprit.number} ({culprit.title})"
        return f"not reached: the run ended as {state.status}" if state.status != Status.SUCCEEDED else "not run"

    def _case(self, name: str, seconds: float) -> ElementTree.Element:
        return ElementTree.Element(
            "testcase", {"classname": _class_name(self._state.name), "name": xml_text(name), "time": f"{seconds:.3f}"}
        )

    def _blame(self, case: ElementTree.Element, tag: str, message: str, kind: str, text: str) -> None:
        attributes = {"message": xml_text(clip(message, SHORT)), "type": xml_text(kind)}
        ElementTree.SubElement(case, tag, attributes).text = xml_text(clip(text, self._limit))

    def _skip(self, case: ElementTree.Element, message: str) -> None:
        ElementTree.SubElement(case, "skipped", {"message": xml_text(message)})

    def _streams(self, case: ElementTree.Element, index: int) -> None:
        for name, tag in (("stdout", "system-out"), ("stderr", "system-err")):
            text = self._texts.get((index, name))
            if text:
                ElementTree.SubElement(case, tag).text = xml_text(text.text())

    def _gate(self, gate: Event) -> ElementTree.Element:
        case = ElementTree.Element(
            "testcase",
            {
                "classname": f"{_class_name(self._state.name)}.gates",
                "name": xml_text(str(gate["expression"])),
                "time": "0.000",
            },
        )
        message = str(gate.get("message") or "")
        if not judged(gate):
            ended = f"the run ended as {self._state.status}" if self._state.finished else "the event log ends before"
            self._skip(case, message or f"not judged: {ended}")
        elif not gate.get("passed"):
            numbers = ""
            if gate.get("value") is not None:
                margin = margin_text(gate)
                numbers = f"value {gate['value']}, bound {gate.get('bound')}{f', {margin}' if margin else ''}"
            message = f"{numbers}: {message}" if numbers and message else numbers or message or "not met"
            self._blame(case, "failure", message, "gate", f"{gate['expression']}\n{message}")
        return case


def _class_name(name: str) -> str:
    """The program's name where Jenkins expects a class: a dot would split it into packages."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,8}$", "", name)
    return xml_text(re.sub(r"[^\w -]+", "_", stem)).strip() or "run"
