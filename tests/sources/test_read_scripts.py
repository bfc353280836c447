"""Snippets, scripts, percent scripts, R Markdown, and how the suffix chooses between them."""

from __future__ import annotations

import json
import re

import pytest

from kernel_gateway.errors import SourceError
from kernel_gateway.sources import LANGUAGE_BY_SUFFIX, Program, load_source


def load(text: str, suffix: str, kernel: str | None = None) -> Program:
    return load_source(text.encode(), name="s", path=None, suffix=suffix, kernel=kernel)


def sources(program: Program) -> list[tuple[str, str | None, str]]:
    return [(cell.type, cell.kernel, cell.source) for cell in program.cells]


@pytest.mark.parametrize(("suffix", "language"), LANGUAGE_BY_SUFFIX.items())
def test_a_plain_script_is_one_cell_whole(suffix: str, language: str) -> None:
    text = "a = 1\n\n\nb = 2\n\n# +\nc = 3\n"

    program = load(text, suffix)

    assert [cell.source for cell in program.cells] == [text]
    assert (program.format, program.kernel, program.language) == ("script", None, language)
    assert program.cells[0].id == "cell-0000"


MARKS = {"python": "#", "r": "#", "bash": "#", "julia": "#", "sql": "--", "octave": "%"}


@pytest.mark.parametrize(("suffix", "language"), LANGUAGE_BY_SUFFIX.items())
def test_percent_markers_split_a_script_of_any_suffix(suffix: str, language: str) -> None:
    mark = MARKS.get(language, "//")
    text = '# %% tags=["parameters"]\na = 1\n\n# %% [markdown]\n# # Load\n# data\n\n# %%\nb = 2\n'
    text = re.sub("^#", mark, text, flags=re.MULTILINE)

    program = load(text, suffix)

    assert sources(program) == [("code", None, "a = 1"), ("markdown", None, "# Load\ndata"), ("code", None, "b = 2")]
    assert program.cells[0].tags == ["parameters"]
    assert program.cells[2].title == "Load"
    assert (program.format, program.language) == ("percent", language)


@pytest.mark.parametrize(
    "text",
    [
        'x = """\n# %% in a string\n"""\n',
        "x = 1  # %% behind code\n",
        "#%%time\nx\n",
        "# 100 %% sure\nx = 1\n",
        "# %%x\ny\n",
    ],
)
def test_what_only_looks_like_a_marker_splits_nothing(text: str) -> None:
    assert sources(load(text, ".py")) == [("code", None, text)]


def test_percent_cells_take_their_title_and_kernel_from_the_marker_and_magics_come_alive() -> None:
    program = load('# %% Load it\n# %matplotlib inline\n# %% kernel="ir"\nx <- 1\n# %% [raw]\n# abc\n', ".py")

    assert sources(program) == [("code", None, "%matplotlib inline"), ("code", "ir", "x <- 1"), ("raw", None, "abc")]
    assert program.cells[0].title == "Load it"


HEADER = """# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
#   kernelspec:
#     display_name: Mine
#     language: python
#     name: mine
# ---
"""


def test_a_jupytext_header_makes_a_light_script_cells_and_names_the_kernel() -> None:
    program = load(
        HEADER + '\n# # Title\n\n# + tags=["parameters"]\na = 1\n\nb = 2\n# -\n\nprint(a)\n\nprint(b)\n', ".py"
    )

    assert [cell.source for cell in program.cells] == ["# Title", "a = 1\n\nb = 2", "print(a)", "print(b)"]
    assert (program.kernel, program.language, program.format) == ("mine", "python", "light")


def test_windows_line_ends_and_a_first_line_for_the_shell_are_dealt_with() -> None:
    assert load("echo a\r\necho b\r\n", ".sh").cells[0].source == "echo a\necho b\n"
    assert load("#!/usr/bin/env node\nf()\n", ".js").cells[0].source == "\nf()\n"
    assert load("#!/bin/sh\nls\n", ".sh").cells[0].source == "#!/bin/sh\nls\n"


RMD = """---
title: Report
---

# Load

```{r setup, include=FALSE}
x <- 1
```

```{python, eval=FALSE}
print(1)
```

```{bash error=TRUE}
ls nowhere
```

```{r, tags=c("parameters")}
lr <- 0.1
```

```{r}
#| eval: false
#| error: true
stop()
```

```{css}
.a {}
```

```{=html}
<b>
```

```python
shown, not run
```
"""


def test_r_markdown_chunks_become_cells_of_their_languages() -> None:
    program = load(RMD, ".Rmd")

    cells = [cell for cell in program.cells if cell.type == "code"]
    assert [(cell.kernel, cell.tags) for cell in cells] == [
        (None, ["remove_cell"]),
        ("python", ["skip-execution"]),
        ("bash", ["raises-exception"]),
        (None, ["parameters"]),
        (None, ["skip-execution", "raises-exception"]),
    ]
    assert cells[1].source == "print(1)"
    assert cells[0].title == "Load"
    assert (program.language, program.format) == ("r", "rmarkdown")
    assert [cell.source for cell in program.cells if cell.type == "raw"] == ["---\ntitle: Report\n---", ".a {}", "<b>"]


def test_quarto_and_markdown_documents_are_read_too() -> None:
    quarto = load("---\njupyter: julia-1.10\n---\n\n```{python}\n#| eval: false\n1\n```\n", ".qmd")
    plain = load("# T\n\n```python\na = 1\n```\n\n```bash\nls\n```\n\n```\ntext\n```\n", ".md")

    assert quarto.kernel == "julia-1.10"
    assert quarto.cells[-1].tags == ["skip-execution"]
    assert sources(plain)[1:3] == [("code", None, "a = 1"), ("code", "bash", "ls")]
    assert plain.cells[3].type == "markdown"


@pytest.mark.parametrize(
    ("chunk", "sentence"),
    [("r, eval=params$x", r"eval=params\$x, which only R could evaluate"), ("r, eval=(", "not properly terminated")],
)
def test_a_chunk_option_that_cannot_be_decided_is_refused(chunk: str, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        load(f"```{{{chunk}}}\n1\n```\n", ".Rmd")


@pytest.mark.parametrize("suffix", [".py", ".md", ".Rmd", ""])
@pytest.mark.parametrize("text", ["", "  \n\t\n"])
def test_an_empty_source_is_refused(suffix: str, text: str) -> None:
    with pytest.raises(SourceError, match="holds no code"):
        load(text, suffix)


def test_text_without_a_chunk_is_refused() -> None:
    with pytest.raises(SourceError, match="holds no code"):
        load("# Only text\n", ".md")


def test_an_unknown_suffix_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SourceError, match=r"suffix \.docx .*\.ipynb .*\.zpln"):
        load("x", ".docx")


def test_suffixes_in_capitals_are_known() -> None:
    assert load("x = 1", ".PY").language == "python"
    assert load("x <- 1", ".R").language == "r"


NOTE = json.dumps({"paragraphs": [{"text": "%sh\nls"}]})
BOOK = json.dumps(
    {
        "nbformat": 4,
        "nbformat_minor": 4,
        "metadata": {},
        "cells": [{"cell_type": "code", "source": "1", "metadata": {}, "outputs": [], "execution_count": None}],
    }
)


@pytest.mark.parametrize("suffix", ["", ".json"])
@pytest.mark.parametrize(("text", "format"), [(NOTE, "zeppelin"), (BOOK, "notebook"), ("\n " + BOOK, "notebook")])
def test_json_is_known_by_its_fields(suffix: str, text: str, format: str) -> None:
    assert load(text, suffix).format == format


@pytest.mark.parametrize("text", ["print(1)", '{"a": 1}', "{ ls; }", '{"cells": 1}', "[1, 2]", "# %%\n1\n# %%\n2\n"])
def test_anything_else_from_stdin_is_a_snippet(text: str) -> None:
    program = load(text, "")
    assert (program.format, program.language, sources(program)) == ("snippet", None, [("code", None, text)])


def test_a_cut_off_notebook_from_stdin_is_not_run_as_code() -> None:
    with pytest.raises(SourceError, match="isn't JSON"):
        load(BOOK[:40].replace('"nbformat"', '"cells"'), "")


def test_json_that_is_neither_is_refused() -> None:
    with pytest.raises(SourceError, match="neither a notebook"):
        load('{"a": 1}', ".json")
