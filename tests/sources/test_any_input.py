"""Whatever comes in, a reader answers with a program or with a `SourceError`, never with another exception."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel_gateway.errors import SourceError
from kernel_gateway.sources import READERS, load_source

NOTEBOOK: dict[str, Any] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "sos"}, "sos": {"kernels": [["R", "ir", "R", ""]], "default_kernel": "R"}},
    "cells": [
        {"id": "a", "cell_type": "markdown", "source": ["# T"], "metadata": {}, "attachments": {}},
        {
            "id": "b",
            "cell_type": "code",
            "source": "1",
            "metadata": {"tags": []},
            "outputs": [],
            "execution_count": None,
        },
    ],
}
OLD: dict[str, Any] = {
    "nbformat": 3,
    "nbformat_minor": 0,
    "metadata": {"name": ""},
    "worksheets": [
        {"cells": [{"cell_type": "code", "input": "1", "language": "python", "outputs": [], "metadata": {}}]}
    ],
}
NOTE: dict[str, Any] = {
    "name": "n",
    "defaultInterpreterGroup": "python",
    "paragraphs": [{"text": "%python\n1", "title": "t", "id": "x", "config": {"enabled": True}}],
}

STRANGERS: tuple[Any, ...] = (..., None, 7, "x", [], {}, [[]], [{}], {"a": 1}, True)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a JSON document."""
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    return [path, *(place for key in keys for place in places(document[key], (*path, key)))]


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of the document with another value at a path; the value ``...`` removes what is there."""
    if not path:
        return None if value is ... else value
    document = copy.deepcopy(document)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return document


def program_or_source_error(content: bytes, suffix: str) -> None:
    try:
        program = load_source(content, name="n", path=None, suffix=suffix)
    except SourceError:
        return
    ids = [cell.id for cell in program.cells]
    assert len(set(ids)) == len(ids)
    json.dumps(program.to_dict()).encode()


@pytest.mark.parametrize(("document", "suffix"), [(NOTEBOOK, ".ipynb"), (OLD, ".ipynb"), (NOTE, ".zpln")])
def test_a_document_with_anything_missing_or_of_another_kind(document: dict[str, Any], suffix: str) -> None:
    for path in places(document):
        for value in STRANGERS:
            program_or_source_error(json.dumps(changed(document, path, value)).encode(), suffix)


@given(
    st.data(),
    st.sampled_from([(NOTEBOOK, ".ipynb"), (OLD, ".ipynb"), (NOTE, ".zpln"), (NOTEBOOK, ""), (NOTE, ".json")]),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_document_with_any_value_anywhere(data: st.DataObject, given: tuple[dict[str, Any], str]) -> None:
    document, suffix = given
    path = data.draw(st.sampled_from(places(document)))
    program_or_source_error(json.dumps(changed(document, path, data.draw(json_values))).encode(), suffix)


pieces = st.sampled_from(
    ["# %%", "# %% [markdown]", "\n", "```{r", "}", "```", "```python", "---", "jupyter:", "#|", " eval: ", "%%kernel ",
     "x = 1", "'''", "# +", '{"', "// %%", "-- %%", "tags=[", "\r\n", "﻿", "%%R", "{=html}", "c(", "é"]
)  # fmt: skip


@given(st.lists(pieces | st.text(max_size=4), max_size=20).map("".join), st.sampled_from(sorted(READERS)))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_with_any_suffix(text: str, suffix: str) -> None:
    program_or_source_error(text.encode("utf-8", "surrogatepass"), suffix)


@given(st.binary(max_size=60), st.sampled_from(sorted(READERS)))
@settings(max_examples=60, deadline=None)
def test_any_bytes_with_any_suffix(content: bytes, suffix: str) -> None:
    program_or_source_error(content, suffix)
