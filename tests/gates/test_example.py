"""examples/gates: the commands that its page shows, and what they end with."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_gateway.gates.ready_made import ready_made, ready_made_notebook
from tests.gates.conftest import need_library

pytestmark = pytest.mark.timeout(240)

NAMES = ready_made()
EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "gates"


def parameters_cell(name: str) -> str:
    """The source of a ready-made gate's cell of parameters."""
    cells = json.loads(ready_made_notebook(f"gate:{name}")[0])["cells"]
    return next("".join(cell["source"]) for cell in cells if cell["id"] == "parameters")


def test_the_example_and_the_docs_show_the_same_command_for_each_gate() -> None:
    docs = (EXAMPLE.parent.parent / "docs" / "gates.md").read_text(encoding="utf-8")

    def shown(text: str) -> dict[str, list[str]]:
        lines = re.findall(r"^kernel-gateway run gate:\w+ .*$", text.replace("\\\n", " "), re.MULTILINE)
        return {words[2]: words for line in lines for words in [shlex.split(line, comments=True)]}

    commands = shown((EXAMPLE / "README.md").read_text(encoding="utf-8"))

    assert sorted(commands) == [f"gate:{name}" for name in NAMES]
    assert commands == shown(docs)
    for name in NAMES:
        words = commands[f"gate:{name}"]
        given = {words[index + 1] for index, word in enumerate(words) if word == "-p"}
        assert given <= set(re.findall(r"^(\w+) = ", parameters_cell(name), re.MULTILINE))


@pytest.mark.slow
def test_the_examples_model_is_accurate_and_its_gates_ring_where_its_readme_says(tmp_path: Path) -> None:
    # The other two take the same model and rows, and half a minute: `test_notebooks` runs them on small ones.
    quick = {"hiring.py": "", "gate:fairness": "-p bootstrap 20", "gate:drift": ""}
    for name in ("fairness", "drift"):
        need_library(name)
    place = tmp_path / "gates"
    shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns("out", "kernel-runs"))
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    ended = {}

    for line in re.findall(r"^kernel-gateway run .*$", readme, re.MULTILINE):
        _, run, source, *options = shlex.split(line, comments=True)
        if source not in quick:
            continue
        command = [sys.executable, "-m", "kernel_gateway", run, source, *options, *quick[source].split()]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=200, check=False)
        code = re.search(r"# exits with (\d+)$", line)
        ended[source] = done.returncode
        assert done.returncode == (int(code[1]) if code else 0), done.stdout[-3000:] + done.stderr[-2000:]

    assert ended.keys() == quick.keys()
    assert set(ended.values()) == {0, 3}
