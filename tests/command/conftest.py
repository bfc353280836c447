"""Runs the command as users do, as a process of its own, and gives back all that it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest

PROBLEM_KERNEL = Path(__file__).with_name("problemkernel.py")
PROBLEMS = (
    "exits-at-start",
    "never-answers",
    "restarted",
    "asks-for-input",
    "ignores-interrupts",
    "floods",
    "stops",
    "speaks-nonsense",
    "never-replies",
    "never-idle",
)


@dataclass
class Finished:
    """A command that has ended, and its output folder."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    folder: Path
    _cache: dict[str, Any] = field(default_factory=dict)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The event log."""
        return [json.loads(line) for line in (self.folder / "events.jsonl").read_text("utf-8").split("\n") if line]

    def of(self, type: str) -> list[dict[str, Any]]:
        """The log's events of one type."""
        return [event for event in self.events if event["type"] == type]

    @property
    def record(self) -> dict[str, Any]:
        """run.json."""
        result: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return result

    def text(self, name: str = "stdout") -> str:
        """What the cells printed to a stream, by the log."""
        return "".join(event["text"] for event in self.of("stream") if event["name"] == name)

    def assert_results(self, status: str, exit_code: int) -> None:
        """All result files are there, whole, and agree on how the run ended."""
        told = f"stdout: {self.stdout[-2000:]}\nstderr: {self.stderr[-2000:]}"
        assert self.exit_code == exit_code, told
        assert self.record["status"] == status, told
        assert self.record["exit_code"] == exit_code
        assert [event["seq"] for event in self.events] == list(range(1, len(self.events) + 1))
        assert self.events[0]["type"] == "run_queued"
        assert self.events[-1]["type"] == "run_finished"
        for name in ("run.json", "metrics.json", "junit.xml", "console.log", "report/index.html"):
            assert (self.folder / name).stat().st_size > 0, name
        nbformat.validate(nbformat.read(self.folder / "executed.ipynb", as_version=4))


@dataclass
class Running:
    """A command under way."""

    process: subprocess.Popen[str]
    folder: Path
    started: float

    def wait_for(self, text: str, seconds: float = 20) -> None:
        """Wait until a text stands in the event log."""
        deadline = time.monotonic() + seconds
        log = self.folder / "events.jsonl"
        while time.monotonic() < deadline:
            if log.exists() and text in log.read_text():
                return
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)
        raise AssertionError(f"{text!r} did not come within {seconds} s")

    def finish(self, seconds: float = 60) -> Finished:
        """Wait for the command's end."""
        stdout, stderr = self.process.communicate(timeout=seconds)
        return Finished(
            self.process.returncode, stdout or "", stderr or "", time.monotonic() - self.started, self.folder
        )


Start = Callable[..., Running]
Run = Callable[..., Finished]


@pytest.fixture(scope="session")
def problem_kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Jupyter data folder with a kernelspec for every way to misbehave."""
    base = tmp_path_factory.mktemp("jupyter")
    for problem in PROBLEMS:
        folder = base / "kernels" / problem
        folder.mkdir(parents=True)
        command = [sys.executable, str(PROBLEM_KERNEL), problem, "{connection_file}"]
        spec = {"argv": command, "display_name": problem, "language": "text"}
        (folder / "kernel.json").write_text(json.dumps(spec))
    missing = base / "kernels" / "missing-command"
    missing.mkdir()
    spec = {"argv": ["no-such-kernel", "{connection_file}"], "display_name": "missing", "language": "text"}
    (missing / "kernel.json").write_text(json.dumps(spec))
    return base


@pytest.fixture
def start(tmp_path: Path, problem_kernels: Path) -> Iterator[Start]:
    """Starts `kernel-gateway run` in an empty folder."""
    running: list[Running] = []

    def start(*args: str, env: dict[str, str] | None = None, cwd: Path | None = None, **popen: Any) -> Running:
        place = cwd or tmp_path
        # ipykernel does not capture what child processes print where it sees pytest's variable.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        environ = {**inherited, "JUPYTER_PATH": str(problem_kernels), "KERNEL_GATEWAY_URL": "", **(env or {})}
        folder = tmp_path / "out"
        if "--output-dir" in args:
            folder = Path(args[args.index("--output-dir") + 1])
        else:
            args = (*args, "--output-dir", str(folder))
        started = time.monotonic()
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **popen}
        process = subprocess.Popen(
            [sys.executable, "-m", "kernel_gateway", "run", *args], cwd=place, env=environ, text=True, **options
        )
        running.append(Running(process, folder, started))
        return running[-1]

    yield start
    for left in running:
        if left.process.poll() is None:
            left.process.kill()
            left.process.communicate()


@pytest.fixture
def run(start: Start) -> Run:
    """Runs `kernel-gateway run` to its end."""

    def run(*args: str, **options: Any) -> Finished:
        return start(*args, **options).finish()

    return run


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[..., str]:
    """Writes a notebook of code cells; a cell is its source, or its source and its metadata."""

    def write(*cells: str | tuple[str, dict[str, Any]], name: str = "nb.ipynb", **metadata: Any) -> str:
        document = nbformat.v4.new_notebook(metadata=metadata)
        for cell in cells:
            source, extra = (cell, {}) if isinstance(cell, str) else cell
            document.cells.append(nbformat.v4.new_code_cell(source, metadata=extra))
        nbformat.write(document, tmp_path / name)
        return name

    return write
