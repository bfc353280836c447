"""What a workload is, and the notebooks that workloads are made of."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..contestants import Contestant
from ..samples import Sample

MARKER = "kernel-says-hello"
SAY = "print('kernel-says-' 'hello', flush=True)"
"""Code that prints the marker and does not hold it, so that a client which echoes cells is not taken for a kernel."""


@dataclass(frozen=True, kw_only=True)
class Workload(ABC):
    """To add one, make an instance of a class of this package in `workloads.workloads`, or derive a class.

    ``contestants``: names of those who take part. ``rounds``: how often each; ``fewer``: those who take so long that
    they run less often. ``warm_up``: a first round that does not count. ``once``: who runs only when asked for, and
    once. ``alone``: no server may run beside it, as it measures memory that processes share.
    """

    name: str
    title: str
    contestants: tuple[str, ...]
    rounds: int = 7
    fewer: Mapping[str, int] = field(default_factory=dict)
    warm_up: bool = False
    once: tuple[str, ...] = ()
    alone: bool = False

    @abstractmethod
    def measure(self, contestant: Contestant, folder: Path) -> Sample:
        """One round of a contestant that was started, or has no server; ``folder`` is empty and goes away afterwards.

        Raises CommandFailed if the contestant does not do what it was told.
        """


def write_notebook(name: str, cells: list[str], folder: Path) -> Path:
    """The cells as a notebook and as a script, in a folder that is made."""
    folder.mkdir(parents=True)
    entries: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
        for n, source in enumerate(cells)
    ]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": spec}, "cells": entries}
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    path.with_suffix(".py").write_text("\n".join(cells) + "\n", encoding="utf-8")
    return path
