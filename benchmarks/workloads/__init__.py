"""What is measured. A new workload is an entry of `workloads`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..contestants import OURS
from ..lines import TEMPLATE, NumberedLines
from .base import MARKER, SAY, Workload, write_notebook
from .notebooks import ManyNotebooks, OneNotebook
from .service import FirstEvents, Memory

__all__ = ["FULL", "MARKER", "QUICK", "SAY", "Scale", "Workload", "workloads", "write_notebook"]

STAMPS = "import time\nfor _ in range({}):\n    print(time.time_ns(), flush=True)\n    time.sleep(0.01)"
FIGURE = "figure, axes = plt.subplots()\naxes.plot(range(100), [x * {} for x in range(100)])\nplt.show()"
SHORT = ["total = sum(range(1000))", "squares = [x * x for x in range(1000)]", SAY]

PEERS = ("papermill", "nbclient", "jupyter gateway")


@dataclass(frozen=True)
class Scale:
    """How much of everything. ``one_peer``: beside ours only one of the others, in each workload another."""

    cells: int
    lines: int
    figures: int
    notebooks: int
    stamps: int
    submits: int
    cold_submits: int
    imports: str = "numpy, pandas, sklearn.linear_model"
    one_peer: bool = False


FULL = Scale(cells=1000, lines=1_000_000, figures=50, notebooks=40, stamps=200, submits=25, cold_submits=4)
QUICK = Scale(
    cells=20,
    lines=10_000,
    figures=2,
    notebooks=4,
    stamps=10,
    submits=2,
    cold_submits=1,
    imports="numpy",
    one_peer=True,
)


def workloads(scale: Scale) -> list[Workload]:
    """All workloads, in the order in which they run: what needs the machine to itself for memory comes last."""
    found = _workloads(scale)
    if not scale.one_peer:
        return found
    few = []
    for number, workload in enumerate(found):
        peers = [name for name in workload.contestants if name not in OURS]
        chosen = tuple(peers[number % len(peers) :][:1]) if peers else ()
        few.append(replace(workload, contestants=(*(n for n in workload.contestants if n in OURS), *chosen)))
    return [found[0], *few[1:]]


def _words(imports: str) -> str:
    names = [name.split(".")[0].replace("sklearn", "scikit-learn") for name in imports.split(", ")]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _workloads(scale: Scale) -> list[Workload]:
    flood = NumberedLines(scale.lines)
    megabytes = f"{flood.characters // 1_000_000} MB"
    floods = (*OURS, "bare loop", "nbclient", "jupyter gateway", "script")
    few = {"forked": 3, "cold": 1, "nbclient": 1, "jupyter gateway": 1, "script": 1}
    return [
        OneNotebook(
            name="hello",
            title="hello notebook",
            cells=[SAY],
            contestants=(*OURS, *PEERS, "bare loop", "script"),
            warm_up=True,
            first=True,
        ),
        OneNotebook(
            name="imports",
            title=f"hello with {_words(scale.imports)} imported",
            cells=[f"import {scale.imports}", SAY],
            contestants=(*OURS, *PEERS, "bare loop", "script"),
            fewer={"cold": 3, "nbclient": 3, "jupyter gateway": 3},
            first=True,
        ),
        FirstEvents(
            name="submit",
            title="submit until the first output event",
            contestants=("cold", "warm", "forked"),
            rounds=4,
            submits={"cold": scale.cold_submits, "warm": scale.submits, "forked": scale.submits},
        ),
        OneNotebook(
            name="latency",
            title="a flushed print until its line is here",
            cells=[STAMPS.format(scale.stamps), SAY],
            contestants=(*OURS, "papermill", "jupyter gateway", "bare loop", "socket loop", "script"),
            rounds=2,
            stamps=scale.stamps,
        ),
        OneNotebook(
            name="cells",
            title=f"{scale.cells:,} trivial cells",
            cells=[*(f"x = {number}" for number in range(scale.cells - 1)), SAY],
            contestants=("embedded", "warm", "bare loop", "socket loop", "nbclient", "jupyter gateway"),
            fewer={"jupyter gateway": 1, "nbclient": 3, "socket loop": 3},
            once=("papermill",),
            cells_too=True,
        ),
        OneNotebook(
            name="figures",
            title=f"{scale.figures} figures of matplotlib",
            cells=[
                "%matplotlib inline\nimport matplotlib.pyplot as plt",
                *(FIGURE.format(number) for number in range(scale.figures)),
                SAY,
            ],
            contestants=("embedded", "warm", "forked", *PEERS, "bare loop"),
            fewer={"nbclient": 2, "jupyter gateway": 2, "bare loop": 2},
            images=scale.figures,
        ),
        OneNotebook(
            name="write",
            title=f"{megabytes} of stdout in one write",
            cells=[
                f"import sys\ntext = ''.join('{TEMPLATE}\\n'.format(i) for i in range({scale.lines}))",
                "_ = sys.stdout.write(text)",
            ],
            contestants=floods,
            fewer=few,
            lines=flood,
            memory=True,
        ),
        OneNotebook(
            name="lines",
            title=f"{megabytes} of stdout in {scale.lines:,} prints",
            cells=[f"for i in range({scale.lines}):\n    print('{TEMPLATE}'.format(i))"],
            contestants=floods,
            fewer=few,
            lines=flood,
            memory=True,
        ),
        ManyNotebooks(
            name="throughput",
            title=f"{scale.notebooks} short notebooks, four at a time",
            cells=SHORT,
            contestants=(*OURS, "papermill"),
            rounds=3,
            fewer={"embedded": 1, "cold": 1, "warm": 2},
            count=scale.notebooks,
            at_once=4,
        ),
        Memory(
            name="memory",
            title="memory of an idle and of a running kernel",
            contestants=(*OURS, *PEERS),
            rounds=1,
            alone=True,
        ),
    ]
