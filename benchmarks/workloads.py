"""What is run, and how each contender runs it. A new workload is one entry of `WORKLOADS`."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from .measure import Sample, run

HERE = Path(__file__).parent
OURS = Path(sys.executable).with_name("kernel-gateway")
PEERS = HERE / ".venv" / "bin"

LINE = "{:07d} " + "x" * 91
"""One line of the floods: 100 bytes with its newline."""


@dataclass(frozen=True)
class Workload:
    """A notebook, made from its code cells, and who runs it. ``of_cells``: compare the time of the cells as well."""

    name: str
    title: str
    cells: list[str]
    contenders: list[str]
    repeats: int = 7
    of_cells: bool = False
    stamps: bool = False
    printed: Callable[[], Iterator[str]] | None = None
    """The text that the cells print, where the result is checked for loss."""
    once: list[str] = field(default_factory=list)
    """Contenders that are so slow here that they run once, and only when asked for."""


def flood() -> Iterator[str]:
    """100 MB, line by line."""
    for number in range(1_000_000):
        yield LINE.format(number) + "\n"


IMPORTS = "import numpy, pandas, sklearn.linear_model"

WORKLOADS = [
    Workload("hello", "hello notebook", ["print('hello')"], ["ours", "papermill", "nbclient", "script"]),
    Workload(
        "imports",
        "hello with numpy, pandas and scikit-learn imported",
        [IMPORTS, "print('hello')"],
        ["ours", "papermill", "nbclient", "script"],
    ),
    Workload(
        "cells",
        "1,000 trivial cells",
        [f"x = {number}" for number in range(1000)],
        ["ours", "bare loop", "socket loop", "nbclient"],
        of_cells=True,
        once=["papermill"],
    ),
    Workload(
        "write",
        "100 MB of stdout in one write",
        [f"text = ''.join('{LINE}\\n'.format(i) for i in range(1_000_000))", "import sys; _ = sys.stdout.write(text)"],
        ["ours", "nbclient"],
        printed=flood,
    ),
    Workload(
        "lines",
        "100 MB of stdout in a million prints",
        [f"for i in range(1_000_000):\n    print('{LINE}'.format(i))"],
        ["ours", "nbclient"],
        repeats=3,
        printed=flood,
    ),
    Workload(
        "latency",
        "a flushed print until its line is here",
        ["import time\nfor _ in range(200):\n    print(time.time_ns(), flush=True)\n    time.sleep(0.02)"],
        ["ours", "bare loop", "socket loop", "papermill"],
        repeats=3,  # of 200 lines each
        stamps=True,
    ),
]


def write_notebook(workload: Workload, folder: Path) -> Path:
    """The workload as a notebook and as a script, in a fresh folder."""
    folder.mkdir(parents=True)
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
        for n, source in enumerate(workload.cells)
    ]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": spec}, "cells": cells}
    path = folder / f"{workload.name}.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    path.with_suffix(".py").write_text("\n".join(workload.cells) + "\n", encoding="utf-8")
    return path


def ours(workload: Workload, notebook: Path) -> Sample:
    """`kernel-gateway run`, embedded."""
    results = notebook.parent / "results"
    sample, _ = run(
        [str(OURS), "run", notebook.name, "--output-dir", str(results)], notebook.parent, stamps=workload.stamps
    )
    if workload.of_cells:
        sample.cells = _cells_seconds(results / "events.jsonl")
    if workload.printed is not None:
        with (results / "events.jsonl").open("rb") as log:
            events = (json.loads(line) for line in log)
            sample.loss = _loss(workload, (event["text"] for event in events if event["type"] == "stream"))
    return sample


def papermill(workload: Workload, notebook: Path) -> Sample:
    """`papermill IN OUT`; where the time until a line is here counts, with its output shown as it comes."""
    options = ["--log-output"] if workload.stamps else []
    command = [str(PEERS / "papermill"), notebook.name, "papermill.ipynb", "--no-progress-bar", *options]
    return run(command, notebook.parent, stamps=workload.stamps)[0]


def nbclient(workload: Workload, notebook: Path) -> Sample:
    """`jupyter-execute IN --output OUT`."""
    sample, _ = run([str(PEERS / "jupyter-execute"), notebook.name, "--output", "nbclient.ipynb"], notebook.parent)
    if workload.printed is not None:
        executed = json.loads((notebook.parent / "nbclient.ipynb").read_text(encoding="utf-8"))
        outputs = [output for cell in executed["cells"] for output in cell["outputs"]]
        sample.loss = _loss(workload, ("".join(output["text"]) for output in outputs if "text" in output))
    return sample


def bare_loop(workload: Workload, notebook: Path, *options: str) -> Sample:
    """jupyter_client and nothing else."""
    command = [str(PEERS / "python"), str(HERE / "bare_loop.py"), notebook.name, *options]
    sample, output = run(command, notebook.parent)
    told = json.loads(output)
    sample.cells, sample.delays = told["cells"], told["delays"]
    return sample


def socket_loop(workload: Workload, notebook: Path) -> Sample:
    """The same without jupyter_client's channels and the kernel's history file."""
    return bare_loop(workload, notebook, "--sockets")


def script(workload: Workload, notebook: Path) -> Sample:
    """`python FILE`: no kernel at all."""
    return run([str(PEERS / "python"), notebook.with_suffix(".py").name], notebook.parent)[0]


CONTENDERS: dict[str, Callable[[Workload, Path], Sample]] = {
    "ours": ours,
    "papermill": papermill,
    "nbclient": nbclient,
    "bare loop": bare_loop,
    "socket loop": socket_loop,
    "script": script,
}


def _cells_seconds(log: Path) -> float:
    """From the first cell's start to the last one's end, by the event log."""
    times: list[str] = []
    with log.open("rb") as file:
        for line in file:
            event: dict[str, Any] = json.loads(line)
            if event["type"] in ("cell_started", "cell_finished"):
                times.append(event["time"])
    return (datetime.fromisoformat(times[-1]) - datetime.fromisoformat(times[0])).total_seconds()


def _loss(workload: Workload, texts: Iterator[str]) -> float:
    """0.0 if the texts are exactly what was printed; else the share that is missing, or 1.0 if they are garbled."""
    assert workload.printed is not None
    wanted, got = hashlib.sha256(), hashlib.sha256()
    printed = delivered = 0
    for text in workload.printed():
        wanted.update(text.encode())
        printed += len(text)
    for text in texts:
        got.update(text.encode())
        delivered += len(text)
    if got.digest() == wanted.digest():
        return 0.0
    return 1 - delivered / printed if delivered < printed else 1.0
