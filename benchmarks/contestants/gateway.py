"""This project: embedded, and by a service that keeps no kernels ready, warm ones or forked ones."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from kernel_gateway import GatewayClient
from kernel_gateway.errors import GatewayError

from ..commands import CommandFailed, start, stop, tail
from .base import Contestant

COMMAND = str(Path(sys.executable).with_name("kernel-gateway"))
SLOTS = 4
WARM = 4
PRELOAD = "numpy,pandas,sklearn.linear_model"
"""What the workload ``imports`` imports, as a team would preload it: of scikit-learn alone, little is imported."""
READY_SECONDS = 120.0
RESULTS = "results"


class Embedded(Contestant):
    """``kernel-gateway run NOTEBOOK``: no server anywhere."""

    name = "embedded"
    title = "`kernel-gateway run`, all in one process beside the kernel"
    ours = True

    def command(self, notebook: Path) -> list[str]:
        return [COMMAND, "run", notebook.name, "--output-dir", str(notebook.parent / RESULTS)]

    def texts(self, notebook: Path) -> Iterator[str]:
        return (event["text"] for event in _events(notebook) if event["type"] == "stream")

    def images(self, notebook: Path) -> int:
        return sum(event["type"] == "display" and "image/png" in event["data"] for event in _events(notebook))

    def cells_seconds(self, notebook: Path) -> float | None:
        times = [event["time"] for event in _events(notebook) if event["type"] in ("cell_started", "cell_finished")]
        return (datetime.fromisoformat(times[-1]) - datetime.fromisoformat(times[0])).total_seconds()


class ByService(Embedded):
    """``kernel-gateway run NOTEBOOK --gateway URL``, and ``kernel-gateway serve`` with options."""

    def __init__(self, name: str, title: str, warm: int = 0, preload: str = "") -> None:
        self.name, self.title, self.warm, self.preload = name, title, warm, preload
        self.service: Service | None = None

    def with_warm(self, warm: int) -> ByService:
        """The same with another number of kernels kept ready."""
        return ByService(self.name, self.title, warm, self.preload)

    @property
    def options(self) -> list[str]:
        """What the service is started with."""
        warm = ["--warm", f"python3={self.warm}"] if self.warm else []
        return ["--slots", str(SLOTS), *warm, *(["--preload", self.preload] if self.preload else [])]

    def obstacle(self) -> str | None:
        missing = [word for word in self.options if word.startswith("--") and word not in options_of_serve()]
        return f"This build's `kernel-gateway serve` has no option {', '.join(missing)}." if missing else None

    def start(self, folder: Path) -> None:
        self.service = Service(folder, *self.options)
        self.settle()

    def stop(self) -> None:
        if self.service is not None:
            self.service.stop()
        self.service = None

    def settle(self) -> None:
        if self.service is not None and self.warm:
            self.service.wait_for_pool(self.warm)

    def command(self, notebook: Path) -> list[str]:
        assert self.service is not None
        return [*super().command(notebook), "--gateway", self.service.url]

    def environ(self) -> dict[str, str]:
        assert self.service is not None
        return super().environ() | {"KERNEL_GATEWAY_TOKEN": self.service.token}

    def servers(self) -> list[int]:
        return [self.service.process.pid] if self.service is not None else []

    def handles_messages(self, pid: int, line: str) -> bool:
        return is_runner(line)


class Service:
    """A ``kernel-gateway serve`` on a free loopback port and a data folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Start it and wait until it answers. Raises CommandFailed with its own words."""
        # As without the extra mlflow-server: what is measured beside it has no MLflow either.
        command = [COMMAND, "serve", "--port", "0", "--data", str(folder / "data"), "--mlflow", "off", *options]
        log = folder / "serve.log"
        with log.open("wb") as errors:
            self.process = start(command, folder, Contestant.environ(_ANYONE), stdout=subprocess.PIPE, stderr=errors)
        assert self.process.stdout is not None
        said = self.process.stdout.readline().decode()
        found = re.search(r"(http://127\.0\.0\.1:\d+) \(token (\S+)\)", said)
        if found is None:
            stop(self.process)
            raise CommandFailed(f"the service did not start: {said} {tail(log)}")
        self.url, self.token = found[1], found[2]
        self.client = GatewayClient(self.url, self.token)

    def stop(self) -> None:
        """End it; runs that go on are ended too."""
        self.client.close()
        stop(self.process, patience=60)

    def wait_for_pool(self, target: int) -> None:
        """Until so many kernels are ready and none is being started. A pool that remains smaller, because the machine
        has no room, will do if it has one. Raises CommandFailed if there is none.
        """
        deadline = time.monotonic() + READY_SECONDS
        pool: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            with suppress(GatewayError, IndexError):  # the agent tells of itself once the dispatcher is up
                pool = self.client.agents()[0].get("pool") or []
            idle = sum(entry["idle"] for entry in pool)
            if idle >= min(target, sum(entry["target"] for entry in pool) or target) and not _starting(pool):
                return
            time.sleep(0.02)
        if not sum(entry["idle"] for entry in pool):
            raise CommandFailed(f"no kernel was ready after {READY_SECONDS:.0f} s; the service says: pool {pool}")


def _starting(pool: list[dict[str, Any]]) -> int:
    return sum(entry["starting"] for entry in pool)


def is_runner(line: str) -> bool:
    """Whether a command line is that of a run's runner, waiting or at work."""
    return "kernel_gateway.agents.runner_process" in line


@functools.cache
def options_of_serve() -> frozenset[str]:
    """The long options that this build's ``kernel-gateway serve`` knows."""
    said = subprocess.run([COMMAND, "serve", "--help"], capture_output=True, text=True, check=True)
    return frozenset(re.findall(r"--[a-z-]+", said.stdout))


def _events(notebook: Path) -> Iterator[dict[str, Any]]:
    with (notebook.parent / RESULTS / "events.jsonl").open("rb") as log:
        for line in log:
            yield orjson.loads(line)


_ANYONE = Embedded()
