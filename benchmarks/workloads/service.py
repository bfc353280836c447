"""Workloads that look at a service through its Python client, and at the memory of processes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .. import commands
from ..commands import OUTPUT, CommandFailed
from ..contestants import Contestant
from ..contestants.gateway import ByService
from ..memory import proportional
from ..samples import Sample
from .base import MARKER, SAY, Workload, write_notebook

PATIENCE = 120.0
"""Seconds within which a notebook of one cell must have started, or ended."""


@dataclass(frozen=True, kw_only=True)
class FirstEvents(Workload):
    """Milliseconds from a submit to the run's first output event at the client that submitted it, one after another.

    The client is imported and connected before. The kernels kept ready are given time to be so again each time.
    ``submits``: how many by contestant.
    """

    submits: dict[str, int] = field(default_factory=dict)

    def measure(self, contestant: Contestant, folder: Path) -> Sample:
        assert isinstance(contestant, ByService)
        assert contestant.service is not None
        client = contestant.service.client
        sample = Sample()
        for _ in range(self.submits[contestant.name]):
            contestant.settle()
            begun = time.perf_counter()
            first: float | None = None
            end = None
            for event in client.events(client.submit(SAY).id):
                if event["type"] == "stream" and first is None:
                    first = time.perf_counter() - begun
                end = event
            if first is None or end is None or end.get("status") != "succeeded":
                raise CommandFailed(f"a run of the {contestant.name} service did not succeed: {end}")
            sample.delays.append(first * 1000)
        return sample


@dataclass(frozen=True, kw_only=True)
class Memory(Workload):
    """What one kernel kept ready takes, and one run more; shared memory in parts (PSS), by the whole tree of processes.

    Idle: what a service that keeps ``more`` kernels ready takes beyond one that keeps one, by kernel. Running: service,
    kernel and command while a cell waits and the pool is full again, less the service before.
    """

    more: int = 4

    def measure(self, contestant: Contestant, folder: Path) -> Sample:
        sample = Sample()
        if isinstance(contestant, ByService) and contestant.warm:
            one, many = (self._idle(contestant.with_warm(number)) for number in (1, self.more))
            sample.idle_mb = (many - one) / (self.more - 1)
        with _started(contestant):
            sample.running_mb = self._running(contestant, folder)
        return sample

    def _idle(self, contestant: ByService) -> float:
        with _started(contestant):
            time.sleep(1)
            return proportional(contestant.servers())

    def _running(self, contestant: Contestant, folder: Path) -> float:
        stay = folder / "stay"
        wait = f"import os, time\nwhile os.path.exists({str(stay)!r}):\n    time.sleep(0.05)"
        notebook = write_notebook(self.name, [f"open('here', 'w').close()\n{SAY}\n{wait}"], folder / "work")
        stay.touch()
        before = proportional(contestant.servers())
        output = notebook.parent / OUTPUT
        with output.open("wb") as file:
            process = commands.start(
                contestant.command(notebook), notebook.parent, contestant.environ(), stdout=file, stderr=file
            )
        try:
            # By the file it is seen where nothing is shown before the end; by the output where the run is elsewhere.
            deadline = time.monotonic() + PATIENCE
            while not (notebook.parent / "here").exists() and MARKER not in commands.tail(output):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise CommandFailed(f"{contestant.name} did not run the notebook: {commands.tail(output)}")
                time.sleep(0.05)
            contestant.settle()
            during = proportional([*contestant.servers(), process.pid])
            if process.poll() is not None:
                raise CommandFailed(f"{contestant.name} did not stay as it was told: {commands.tail(output)}")
            stay.unlink()
            process.wait(PATIENCE)
        finally:
            commands.stop(process)
        return during - before


@contextmanager
def _started(contestant: Contestant) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="kg-", ignore_cleanup_errors=True) as folder:
        try:
            contestant.start(Path(folder))
            yield
        finally:
            contestant.stop()
