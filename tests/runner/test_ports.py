"""A port that another took between jupyter_client's choice and the kernel's own bind: really taken, by the test."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.connect import LocalPortCache

from kernel_gateway.errors import KernelStartError
from kernel_gateway.events import EventType
from kernel_gateway.kernels import ports
from kernel_gateway.kernels.guard import children
from kernel_gateway.kernels.kernel import Kernel
from kernel_gateway.kernels.specs import Kernelspec, Kernelspecs
from kernel_gateway.runner.driver import Driver
from kernel_gateway.runner.ending import Cancellation
from kernel_gateway.runner.kernelset import STARTS, KernelSet
from kernel_gateway.runner.outputs import Outputs
from kernel_gateway.settings import Settings
from tests.service import small_kernel

SILENT = """\
import os, runpy, sys
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""A kernel that says nothing when it ends."""

STUCK = """\
import runpy, sys, time
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except Exception as error:
    print(error, file=sys.stderr, flush=True)
    time.sleep(300)
"""
"""A kernel that says so and goes on, as R's and Java's do."""

PORTS = 5
"""Ports of one kernel."""


class Recorder:
    """Event and blob sink."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def append(self, type: EventType, /, **fields: Any) -> None:
        if type == EventType.LOG:
            self.warnings.append(fields["message"])

    def flush(self) -> None:
        pass

    def put(self, content: bytes) -> str:
        return "digest"


class Choice:
    """The choice of ports: that of the iopub channel falls on one that is taken, for as many starts as are told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.holder = socket.socket()
        self.holder.bind(("127.0.0.1", 0))
        self.holder.listen()
        self.unlucky = 0
        self.chosen = 0
        choose = LocalPortCache.find_available_port

        def find_available_port(cache: LocalPortCache, ip: str) -> int:
            start, place = divmod(self.chosen, PORTS)
            self.chosen += 1
            port: int = self.holder.getsockname()[1] if place == 1 and start < self.unlucky else choose(cache, ip)
            return port

        monkeypatch.setattr(LocalPortCache, "find_available_port", find_available_port)

    @property
    def starts(self) -> int:
        """How many kernels were started."""
        return self.chosen // PORTS


@pytest.fixture
def choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[Choice]:
    made = Choice(monkeypatch)
    yield made
    made.holder.close()


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernelspecs:
    """Kernels that talk TCP: one that says why it ends, one that doesn't, one that lives on, one that is broken."""
    small = str(Path(small_kernel.__file__))
    (tmp_path / "silent.py").write_text(SILENT)
    (tmp_path / "stuck.py").write_text(STUCK)
    commands = {
        "small": [sys.executable, small],
        "silent": [sys.executable, str(tmp_path / "silent.py"), small],
        "stuck": [sys.executable, str(tmp_path / "stuck.py"), small],
        "broken": [sys.executable, "-c", "raise SystemExit('no such library')"],
    }
    for name, command in commands.items():
        folder = tmp_path / "kernels" / name
        folder.mkdir(parents=True)
        spec = {"argv": [*command, "{connection_file}"], "display_name": name, "language": "text"}
        (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    return Kernelspecs()


Make = Callable[..., KernelSet]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def driver(recorder: Recorder) -> Driver:
    return Driver(recorder, Outputs(recorder, recorder), Cancellation(), Settings())


@pytest.fixture
def make(driver: Driver, recorder: Recorder, tmp_path: Path) -> Iterator[Make]:
    """Makes the kernels of a run, and ends them."""
    made: list[KernelSet] = []
    before = children(os.getpid())

    def make(**options: Any) -> KernelSet:
        made.append(KernelSet(driver, recorder, Settings(), cwd=tmp_path, environ=os.environ, **options))
        return made[-1]

    yield make
    for kernels in made:
        kernels.close()
    driver.close()
    assert children(os.getpid()) == before


@pytest.mark.parametrize(("name", "unlucky"), [("silent", 1), ("small", STARTS - 1)])
def test_a_kernel_that_lost_a_port_is_started_again_until_it_has_its_own(
    make: Make, specs: Kernelspecs, choice: Choice, recorder: Recorder, name: str, unlucky: int
) -> None:
    choice.unlucky = unlucky

    kernel = make().ensure(specs.resolve(name))

    assert kernel.ready
    assert choice.starts == unlucky + 1
    assert len(recorder.warnings) == unlucky
    assert all("a port that was chosen for it was taken; another one is started" in text for text in recorder.warnings)


def test_one_that_lives_on_without_its_port_is_not_waited_for(
    make: Make, specs: Kernelspecs, choice: Choice, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "PATIENCE", 0.1)
    choice.unlucky = 1

    assert make().ensure(specs.resolve("stuck")).ready

    assert choice.starts == 2
    assert recorder.warnings == [
        "Kernel 'stuck' does not answer: a port that was chosen for it was taken; another one is started."
    ]


def test_one_that_loses_a_port_each_time_is_given_up(make: Make, specs: Kernelspecs, choice: Choice) -> None:
    choice.unlucky = STARTS

    with pytest.raises(KernelStartError, match="ended while starting") as told:
        make().ensure(specs.resolve("small"))

    assert choice.starts == STARTS
    assert "Address already in use" in told.value.stderr


def test_one_that_ends_for_another_reason_is_not_started_again(
    make: Make, specs: Kernelspecs, choice: Choice, recorder: Recorder
) -> None:
    with pytest.raises(KernelStartError, match="ended while starting") as told:
        make().ensure(specs.resolve("broken"))

    assert choice.starts == 1
    assert recorder.warnings == []
    assert "no such library" in told.value.stderr


def test_one_that_was_started_ahead_of_the_program_may_have_lost_a_port_too(
    make: Make, specs: Kernelspecs, choice: Choice
) -> None:
    choice.unlucky = 1
    kernels = make()

    kernels.prelaunch(specs.resolve("small"))

    assert kernels.ensure(specs.resolve("small")).ready
    assert choice.starts == 2


def warm_kernel(spec: Kernelspec, driver: Driver, tmp_path: Path) -> Kernel:
    """A kernel as a pool hands it over: it answers, and nobody looks after it."""
    kernel = Kernel(spec, cwd=tmp_path, environ=os.environ, settings=Settings(), context=driver.context)
    kernel.launch()
    driver.switchboard.add(kernel)
    driver.wait(lambda: kernel.ready)
    driver.switchboard.remove(kernel)
    return kernel


def test_one_that_takes_the_place_of_a_broken_warm_kernel_may_lose_a_port(
    make: Make, specs: Kernelspecs, choice: Choice, recorder: Recorder, driver: Driver, tmp_path: Path
) -> None:
    spec = specs.resolve("small")
    warm = warm_kernel(spec, driver, tmp_path)
    assert warm.guard_pid is not None
    os.kill(children(warm.guard_pid)[0], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not warm.ended:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    choice.unlucky, choice.chosen = 2, 0

    kernel = make(warm=warm).ensure(spec)

    assert kernel.ready
    assert kernel is not warm
    assert choice.starts == 3
    assert len(recorder.warnings) == 3
