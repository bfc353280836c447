"""Packages that a source asks for in its own metadata."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kernel_gateway.errors import SourceError
from kernel_gateway.sources import load_source, peek_packages

BLOCK = '# /// script\n# requires-python = ">=3.11"\n# dependencies = [\n#   "six",\n# ]\n# ///\n'
WANTED = {"dependencies": ["six"], "requires-python": ">=3.11"}


def notebook(*cells: str, **metadata: Any) -> bytes:
    made: list[dict[str, Any]] = [
        {"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "execution_count": None} for cell in cells
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": metadata, "cells": made}).encode()


def environment(content: bytes, suffix: str) -> dict[str, Any] | None:
    found = load_source(content, name="s", path=None, suffix=suffix).environment
    assert found is None or peek_packages(content)
    return found


@pytest.mark.parametrize("text", [BLOCK + "import six\n", BLOCK + "\n# %%\nimport six\n", "# %%\n" + BLOCK + "x = 1\n"])
def test_a_script_and_a_percent_script_name_them_in_a_comment(text: str) -> None:
    assert environment(text.encode(), ".py") == WANTED


def test_a_notebook_names_them_in_a_comment_or_its_metadata_which_counts_more() -> None:
    assert environment(notebook(BLOCK.strip(), "import six"), ".ipynb") == WANTED
    own = {"env": ["idna"]}
    assert environment(notebook(BLOCK, kernel_gateway=own), ".ipynb") == {"dependencies": ["idna"]}
    own_file = {"env": "envs/requirements.txt"}
    assert environment(notebook("1", kernel_gateway=own_file), ".ipynb") == {"file": "envs/requirements.txt"}
    assert environment(notebook("1", kernel_gateway={"gates": []}), ".ipynb") is None


def test_text_that_shows_such_a_comment_asks_for_nothing() -> None:
    made = json.loads(notebook(BLOCK))
    made["cells"].append({"cell_type": "markdown", "source": f"```\n{BLOCK}```\n", "metadata": {}})
    assert environment(json.dumps(made).encode(), ".ipynb") == WANTED
    made["cells"][0]["source"] = "1"
    assert environment(json.dumps(made).encode(), ".ipynb") is None


def test_a_source_that_names_none_has_none() -> None:
    assert environment(b"print(1)", "") is None
    assert environment(b"# /// other\n# x = 1\n# ///\n1\n", ".py") is None


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ("../requirements.txt", "in the source's folder"),
        ("/etc/requirements.txt", "in the source's folder"),
        (7, "must be the name of a file"),
        ({"packages": []}, 'the key "packages"'),
        ({"dependencies": "six"}, "a list of texts"),
        (["-r /etc/passwd"], "not options"),
        ({"requires-python": 3}, "must be a text"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused_with_its_place(env: Any, word: str) -> None:
    with pytest.raises(SourceError, match=word) as caught:
        environment(notebook("1", kernel_gateway={"env": env}), ".ipynb")
    assert "metadata.kernel_gateway.env of the source" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "word"), [(BLOCK + "\n" + BLOCK, "several"), ("# /// script\n# x = \n# ///\n1", "not TOML")]
)
def test_a_comment_that_makes_no_sense_is_refused(text: str, word: str) -> None:
    with pytest.raises(SourceError, match=word):
        environment(text.encode(), ".py")
