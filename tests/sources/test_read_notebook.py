"""Notebooks: what is kept, what is mended quietly, and what a broken one is told."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from kernel_gateway.errors import SourceError
from kernel_gateway.sources import Program, load_source, peek_kernel


def code(source: Any, id: str | None = None, **metadata: Any) -> dict[str, Any]:
    cell = {"cell_type": "code", "source": source, "metadata": metadata, "outputs": [], "execution_count": None}
    return cell | ({"id": id} if id is not None else {})


def markdown(source: str, id: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source, "metadata": {}, "id": id}


def notebook(*cells: Any, minor: int = 5, **metadata: Any) -> dict[str, Any]:
    return {"nbformat": 4, "nbformat_minor": minor, "metadata": metadata, "cells": list(cells)}


def load(document: Any, suffix: str = ".ipynb") -> Program:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_source(content, name="n", path="n.ipynb", suffix=suffix)


PYTHON: dict[str, Any] = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "Python"}}


def test_a_notebook_keeps_ids_order_metadata_and_attachments() -> None:
    picture = {"plot.png": {"image/png": "aGk="}}
    cells = [markdown("# Train", "intro") | {"attachments": picture}, code("x = 1", "c-1", tags=["parameters"])]

    program = load(notebook(*cells, **PYTHON, author="me"))

    assert [(cell.id, cell.type, cell.source) for cell in program.cells] == [
        ("intro", "markdown", "# Train"),
        ("c-1", "code", "x = 1"),
    ]
    assert program.cells[0].attachments == picture
    assert program.cells[1].tags == ["parameters"]
    assert (program.kernel, program.language, program.format) == ("python3", "python", "notebook")
    assert program.metadata["author"] == "me"


def test_the_digest_is_that_of_the_bytes() -> None:
    import hashlib

    content = json.dumps(notebook(code("1", "a"))).encode()
    assert load(content).digest == "sha256:" + hashlib.sha256(content).hexdigest()


def test_a_source_given_as_a_list_of_lines_is_joined() -> None:
    assert load(notebook(code(["a = 1\n", "b = 2"], "a"))).cells[0].source == "a = 1\nb = 2"


@pytest.mark.parametrize("minor", [0, 1, 2, 4, 5, 9])
def test_missing_illegal_and_repeated_ids_become_stable_ones(minor: int) -> None:
    cells = [code("1", "twice"), code("2", "twice"), code("3"), code("4", "not legal!"), code("5", "cell-0001")]

    first, second = load(notebook(*cells, minor=minor)), load(notebook(*cells, minor=minor))

    assert [cell.id for cell in first.cells] == ["twice", "cell-0001-2", "cell-0002", "cell-0003", "cell-0001"]
    assert [cell.id for cell in second.cells] == [cell.id for cell in first.cells]


def test_old_outputs_are_dropped_even_broken_ones() -> None:
    cell = code("1", "a") | {"outputs": [{"output_type": "nonsense"}], "execution_count": "many"}
    assert load(notebook(cell)).cells[0].source == "1"


def test_announcements_of_an_earlier_error_are_dropped_and_nothing_else_is() -> None:
    marker = markdown("An Exception was encountered", "m") | {"metadata": {"tags": ["papermill-error-cell-tag"]}}
    tagged = code("1", "a", tags=["papermill-error-cell-tag"])
    oddly_tagged = markdown("text", "b") | {"metadata": {"tags": "papermill-error-cell-tag"}}

    assert [cell.id for cell in load(notebook(marker, tagged, marker, markdown("hi", "c"))).cells] == ["a", "c"]
    with pytest.raises(SourceError, match="tags"):
        load(notebook(oddly_tagged))


def test_an_unfinished_kernelspec_is_mended_quietly() -> None:
    assert load(notebook(code("1", "a"), kernelspec={"display_name": "P"}, language_info={"name": "R"})).language == "r"
    assert load(notebook(code("1", "a"), kernelspec={"name": "ir"})).kernel == "ir"
    assert load(notebook(code("1", "a"), kernelspec="python3")).kernel is None


def test_a_notebook_of_version_3_is_upgraded() -> None:
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": "old"},
        "worksheets": [
            {
                "metadata": {},
                "cells": [
                    {"cell_type": "heading", "level": 2, "source": "Load", "metadata": {}},
                    {"cell_type": "code", "language": "python", "input": ["x = 1"], "metadata": {}, "collapsed": True},
                    {
                        "cell_type": "code",
                        "language": "bash",
                        "input": "ls",
                        "outputs": [{"bad": 1}],
                        "prompt_number": 3,
                    },
                ],
            }
        ],
    }

    program = load(old)

    assert [(cell.type, cell.source, cell.title) for cell in program.cells] == [
        ("markdown", "## Load", ""),
        ("code", "x = 1", "Load"),
        ("code", "ls", "ls"),
    ]
    assert [cell.id for cell in program.cells] == ["cell-0000", "cell-0001", "cell-0002"]
    assert program.language == "python"
    assert program.cells[2].kernel == "bash"


def broken_cell(**changes: Any) -> dict[str, Any]:
    cell = code("1", "a") | changes
    return {name: value for name, value in cell.items() if value != "REMOVED"}


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (b'{"cells": [\n  {"a": }]}', r"isn't JSON \(line 2, column 9: Expecting value\)"),
        (b"[" * 100_000, "not a notebook"),
        ([], "it is a list where an object belongs"),
        ({"a": 1}, "`nbformat` is missing. So are its `cells`"),
        ({"nbformat": "4", "cells": []}, "must be whole numbers"),
        ({"nbformat": 2, "nbformat_minor": 0, "worksheets": []}, r"nbformat 2\.0; 3 and 4 can be read"),
        ({"nbformat": 5, "nbformat_minor": 0}, r"nbformat 5\.0"),
        ({"nbformat": 4, "nbformat_minor": 5, "metadata": {}}, "`cells` is missing"),
        ({"nbformat": 4, "nbformat_minor": 5, "cells": []}, "`metadata` is missing"),
        ({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": {}}, "`cells` is an object; it must be a list"),
        (notebook(code("1", "a"), broken_cell(source="REMOVED")), r"`cells\[1\]\.source` is missing"),
        (notebook(broken_cell(source=7)), r"`cells\[0\]\.source` is a whole number; it must be a string or a list"),
        (notebook(broken_cell(metadata=None)), r"`cells\[0\]\.metadata` is null; it must be an object"),
        (notebook(broken_cell(metadata="REMOVED")), r"`cells\[0\]\.metadata` is missing"),
        (notebook(broken_cell(cell_type="cod")), r"`cells\[0\]\.cell_type` is \"cod\"; it must be `code`"),
        (notebook(broken_cell(cell_type="REMOVED")), r"`cells\[0\]\.cell_type` is missing"),
        (
            notebook(broken_cell(metadata={"tags": "parameters"})),
            r"`cells\[0\]\.metadata\.tags` is a string; .* a list",
        ),
        (notebook("x"), r"`cells\[0\]` is a string; it must be an object"),
        (notebook(code("a\ud83d", "a")), r"cells\[0\]\.source contains half of a Unicode surrogate pair"),
        (notebook(markdown("# text", "a")), "holds no code"),
        (notebook(), "holds no code"),
        (b"\xff\xfe{", "not UTF-8 text: byte 0xff at offset 0"),
        ({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": 1}, "`worksheets` is a whole number"),
    ],
)
def test_a_broken_notebook_names_what_is_wrong(document: Any, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence) as raised:
        load(document)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_byte_order_mark_is_no_obstacle() -> None:
    assert load(b"\xef\xbb\xbf" + json.dumps(notebook(code("1", "a"))).encode()).cells[0].source == "1"


def sos(*cells: dict[str, Any], **sos: Any) -> dict[str, Any]:
    table = [["SoS", "sos", "", ""], ["R", "ir", "R", "#DCDCDA"], ["Python3", "python3", "Python3", "#FFD91A"]]
    return notebook(
        *cells, kernelspec={"name": "sos", "display_name": "SoS", "language": "sos"}, sos={"kernels": table} | sos
    )


def test_a_sos_notebook_runs_each_cell_on_its_own_kernel() -> None:
    cells = [code("1", "a", kernel="SoS"), code("2", "b", kernel="R"), code("3", "c"), code("4", "d", kernel="bash")]

    program = load(sos(*cells))
    with_default = load(sos(*cells, default_kernel="R"))

    assert program.kernel == "python3"
    assert [cell.kernel for cell in program.cells] == [None, "ir", None, "bash"]
    assert (with_default.kernel, with_default.language) == ("ir", "r")
    assert [cell.kernel for cell in with_default.cells] == ["python3", None, None, "bash"]


def test_a_kernel_line_names_the_cells_kernel_and_is_removed() -> None:
    cells = [
        code("\n  \n%%kernel bash \nls\n", "a", kernel="ir"),
        code("x = '%%kernel r'", "b"),
        code("%%kernel ir", "c"),
    ]

    program = load(notebook(*cells, **PYTHON))

    assert [(cell.kernel, cell.source) for cell in program.cells] == [
        ("bash", "ls\n"),
        (None, "x = '%%kernel r'"),
        ("ir", ""),
    ]


def test_a_kernel_line_without_a_name_is_refused() -> None:
    with pytest.raises(SourceError, match=r"cells\[0\] begins with %%kernel but names none"):
        load(notebook(code("%%kernel\nls", "a")))


@pytest.mark.parametrize(
    ("content", "kernel"),
    [
        (json.dumps(notebook(code("1", "a"), **PYTHON)).encode(), "python3"),
        (json.dumps(sos(code("1", "a"), default_kernel="R")).encode(), "ir"),
        (json.dumps(notebook()).encode(), None),
        (b"not json", None),
        (b"[]", None),
        (b"\xff", None),
        (b'{"metadata": {"kernelspec": 3}}', None),
        (b"[" * 100_000, None),
    ],
)
def test_peeking_gives_the_kernel_or_nothing(content: bytes, kernel: str | None) -> None:
    assert peek_kernel(content) == kernel


def test_peeking_does_not_import_nbformat() -> None:
    import subprocess
    import sys

    program = (
        "import sys; from kernel_gateway.sources import peek_kernel; peek_kernel(b'{}'); print(sorted(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    for heavy in ("nbformat", "jupytext", "papermill", "yaml", "jsonschema"):
        assert f"'{heavy}'" not in loaded
