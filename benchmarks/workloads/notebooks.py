"""Workloads that are a notebook, run by the contestant's command: one at a time, or many."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..commands import CommandFailed, Outcome, run
from ..contestants import Contestant
from ..lines import NumberedLines
from ..memory import MemoryWatch, command_line
from ..samples import Sample
from .base import MARKER, Workload, write_notebook


@dataclass(frozen=True, kw_only=True)
class OneNotebook(Workload):
    """One notebook, one command; its result is checked.

    ``first``: time its first output, which is the marker. ``cells_too``: take the time of the cells as well, where it
    is told. ``stamps``: it prints so many times, each of which is compared with its arrival. ``lines``: what it prints;
    each line that the result lacks counts as lost, otherwise the marker must be in it. ``images``: how many the result
    must have. ``memory``: watch it; that costs a little time.
    """

    cells: list[str]
    first: bool = False
    cells_too: bool = False
    stamps: int = 0
    lines: NumberedLines | None = None
    images: int = 0
    memory: bool = False

    def measure(self, contestant: Contestant, folder: Path) -> Sample:
        notebook = write_notebook(self.name, self.cells, folder / "work")
        servers = contestant.servers()
        command: list[int] = []
        watch = MemoryWatch(
            lambda pid: contestant.handles_messages(pid, command_line(pid)) if servers else pid in command
        )

        def begun(pid: int) -> None:
            command.append(pid)
            if self.memory:
                watch.watch([*servers, pid])

        marker = MARKER if self.first and contestant.live else None
        try:
            outcome = run(
                contestant.command(notebook),
                notebook.parent,
                contestant.environ(),
                marker=marker,
                stamps=bool(self.stamps),
                begun=begun,
            )
        finally:
            watch.stop()
        return self._checked(contestant, notebook, outcome, watch)

    def _checked(self, contestant: Contestant, notebook: Path, outcome: Outcome, watch: MemoryWatch) -> Sample:
        sample = Sample(seconds=outcome.seconds, delays=outcome.delays)
        if self.first:
            sample.first = outcome.first if contestant.live else outcome.seconds
            if sample.first is None:
                raise CommandFailed(f"{contestant.name} never showed what the kernel of {self.name} printed")
        if self.cells_too:
            sample.cells = contestant.cells_seconds(notebook)
        if self.memory:
            sample.runner_mb, sample.tree_mb = watch.runner, watch.tree
        if self.lines is not None:
            sample.lost = self.lines.lost(contestant.texts(notebook))
        elif MARKER not in "".join(contestant.texts(notebook)):
            raise CommandFailed(f"{contestant.name}'s result of {self.name} lacks what the kernel printed")
        if self.stamps != len(outcome.delays):
            raise CommandFailed(f"{contestant.name} showed {len(outcome.delays)} of {self.stamps} lines")
        if self.images and (found := contestant.images(notebook)) != self.images:
            raise CommandFailed(f"{contestant.name}'s result has {found} of {self.images} images")
        return sample


@dataclass(frozen=True, kw_only=True)
class ManyNotebooks(Workload):
    """So many notebooks, some at a time, each by its own command; the seconds are those of all together."""

    cells: list[str]
    count: int
    at_once: int

    def measure(self, contestant: Contestant, folder: Path) -> Sample:
        notebooks = [write_notebook(self.name, self.cells, folder / f"work-{n}") for n in range(self.count)]
        begun = time.perf_counter()
        with ThreadPoolExecutor(self.at_once) as pool:
            done = [pool.submit(self._run, contestant, notebook) for notebook in notebooks]
            try:
                for future in done:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        seconds = time.perf_counter() - begun
        for notebook in notebooks:
            if MARKER not in "".join(contestant.texts(notebook)):
                raise CommandFailed(f"{contestant.name}'s result of one of {self.name} lacks what the kernel printed")
        return Sample(seconds=seconds)

    def _run(self, contestant: Contestant, notebook: Path) -> None:
        run(contestant.command(notebook), notebook.parent, contestant.environ())
