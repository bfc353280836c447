"""The peers' notebooks through our command, where checkouts of their repositories are at hand; and the table itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.peers.__main__ import Suite, unlisted
from tests.peers.checks import CHECKS
from tests.peers.compare import differences, outputs_of
from tests.peers.table import ENGINES, OUTCOMES, Case, load_table

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "peers.md"


def notebook(*cells: Any, **metadata: Any) -> Any:
    return nbformat.from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": list(cells)})


def code(source: str, *outputs: Any, count: int | None = None) -> dict[str, Any]:
    cell = {"cell_type": "code", "id": f"c{len(source)}", "metadata": {}, "source": source}
    return cell | {"outputs": list(outputs), "execution_count": count}


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def checkout_of(suite: str, scratch: Path) -> Path | None:
    """A peer's checkout, if one is named; papermill's notebooks also come with its package."""
    if named := os.environ.get(f"KERNEL_GATEWAY_PEER_{suite.upper()}"):
        return Path(named)
    found = find_spec(suite)
    if found is None or found.origin is None or not (tests := Path(found.origin).parent / "tests").is_dir():
        return None
    shutil.copytree(tests, scratch / suite / "tests")
    return scratch


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("suite", ENGINES)
def test_every_notebook_of_a_peers_tests_ends_as_their_tests_expect_or_has_a_reason(suite: str, tmp_path: Path) -> None:
    checkout = checkout_of(suite, tmp_path)
    if checkout is None:
        pytest.skip(
            f"needs a checkout of {suite}'s repository in KERNEL_GATEWAY_PEER_{suite.upper()}: no package has it"
        )

    done = subprocess.run(
        [sys.executable, "-m", "tests.peers", f"--{suite}", str(checkout)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_row_is_known_by_one_name_and_names_the_test_that_it_stands_on() -> None:
    cases = load_table().cases

    assert len({case.id for case in cases}) == len(cases)
    for case in cases:
        assert case.suite in ENGINES, case.id
        assert case.id.startswith(f"{case.suite}-")
        assert re.match(r"test_\w+\.py::|\(no test runs it", case.asserted_by), case.id
        assert all(path.endswith(".ipynb") and not Path(path).is_absolute() for path in case.notebooks), case.id
        assert not case.check or case.check in CHECKS, case.id
        assert case.parameters_by in ("-p", "--params"), case.id


def test_each_row_that_expects_another_end_than_the_peers_test_says_why() -> None:
    for case in load_table().cases:
        means_the_same = (case.status, case.exit_code) in OUTCOMES[case.peer]
        assert means_the_same or case.difference.endswith("."), case.id
        if case.peer == "not executed" and case.status != "succeeded":
            assert case.difference, case.id
        assert all(reason.endswith(".") for reason in case.differences.values()), case.id


def test_the_page_shows_every_row_and_every_reason() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = load_table()

    for case in table.cases:
        row = re.search(rf"^\| {re.escape(case.id)} \|.*$", page, re.MULTILINE)
        assert row, f"docs/peers.md lacks {case.id}"
        assert f"{case.status} ({case.exit_code})" in row[0], case.id
    cases = [reason for case in table.cases for reason in [case.difference, *case.differences.values()]]
    shared = [reason for reasons in table.everywhere.values() for reason in reasons.values()]
    assert [reason for reason in cases + shared if reason not in page] == []


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('id = "x"\nsuit = "nbclient"', "case x: there is no field suit"),
        ('id = "x"\nsuite = "nbclient"', "case x: asserted_by, exit_code, path, peer, status is missing"),
        ('id = "x"\nsuite = 1\npath = ""\nasserted_by = ""\npeer = ""\nstatus = ""\nexit_code = 0', "suite must be"),
        (
            'id = "x"\ncounts = ["1"]\nsuite = ""\npath = ""\nasserted_by = ""\npeer = ""\nstatus = ""\nexit_code = 0',
            "counts",
        ),
    ],
)
def test_a_misspelt_row_is_refused_by_name(tmp_path: Path, row: str, words: str) -> None:
    path = tmp_path / "table.toml"
    path.write_text(f"[everywhere]\n[[case]]\n{row}\n")

    with pytest.raises(ValueError, match=re.escape(words)):
        load_table(path)


def test_what_differs_is_found_and_what_only_looks_different_is_not() -> None:
    ours = notebook(code("f", stream("<f at 0x7f01234567>\n"), stream("more"), count=1), code("g", stream("x")))
    theirs = notebook(code("f", stream("<f at 0x7f89abcdef>\nmore"), count=1), code("g", stream("y"), count=2))

    assert sorted(differences(ours, theirs)) == ["cell 1 execution count", "cell 1 outputs"]
    assert differences(ours, ours) == {}


def test_svg_is_the_same_whatever_the_order_of_its_attributes() -> None:
    def drawing(text: str) -> Any:
        data = {"image/svg+xml": text}
        return notebook(code("s", {"output_type": "display_data", "metadata": {}, "data": data})).cells[0]

    assert outputs_of(drawing('<svg a="1" b="2">\n</svg>')) == outputs_of(drawing('<svg b="2" a="1"></svg>'))
    assert outputs_of(drawing('<svg a="1"/>')) != outputs_of(drawing('<svg a="2"/>'))


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """A checkout of a peer that does not exist, with one notebook in it."""
    folder = tmp_path / "checkout" / "tests"
    folder.mkdir(parents=True)
    (folder / "hello.ipynb").write_text(json.dumps(notebook(code("print('hello')", stream("hello\n"), count=1))))
    return Suite("nbclient", tmp_path / "checkout", tmp_path / "scratch", load_table().everywhere["nbclient"])


def case(**fields: Any) -> Case:
    row = {"id": "nbclient-x", "suite": "nbclient", "path": "tests/hello.ipynb", "asserted_by": "test_x.py::x"}
    return Case(**{**row, "peer": "succeeds", "status": "succeeded", "exit_code": 0, **fields})


def test_a_notebook_that_comes_out_as_stated_has_no_problems(suite: Suite) -> None:
    verdict = suite.run(case(stored_outputs=True, counts=[1], texts=[{"cell": 0, "text": "hello\n"}]))

    assert (verdict.problems, verdict.word) == ([], "same")


def test_each_fact_that_is_not_as_stated_is_a_problem(suite: Suite) -> None:
    verdict = suite.run(
        case(
            status="failed",
            exit_code=1,
            counts=[2],
            texts=[{"cell": 0, "text": "bye"}],
            errors=[{"cell": 0, "ename": "NameError"}],
            sources=[{"cell": 0, "source": "print('bye')"}],
            console=["goodbye"],
            differences={"cell 0 outputs": "They do not."},
        )
    )

    said = "\n".join(verdict.problems)
    for words in ("exit code 0", "status succeeded", "counts [1]", "'bye'", "NameError", "reads", "console lacks"):
        assert words in said
    assert "nbclient itself ends with success" in said
    assert "where nothing differs any more" in said


def test_a_kernel_that_is_not_there_leaves_the_case_out(suite: Suite) -> None:
    assert suite.run(case(needs=["no-such-kernel"])).word == "left out"


def test_a_notebook_without_a_row_is_noticed(suite: Suite) -> None:
    assert unlisted(load_table(), "nbclient", suite.root) == ["tests/hello.ipynb"]
