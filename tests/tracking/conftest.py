"""Real MLflow: a server on loopback, databases in files, and the command as users run it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.kernels.guard import die_with_parent

if find_spec("mlflow") is None:
    if os.environ.get("KERNEL_GATEWAY_REQUIRE_KERNELS") == "1":
        raise RuntimeError("MLflow's client is not installed, but KERNEL_GATEWAY_REQUIRE_KERNELS=1 requires it")
    collect_ignore_glob = ["*"]


@dataclass
class Server:
    """An MLflow server on loopback, with a SQLite database and a folder of artifacts."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Its tracking URI."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        from kernel_gateway.tracking.server import server_command, server_environ

        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                server_command(self.folder, self.port),
                env=server_environ(os.environ),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, signal.SIGTERM),  # also if these tests are killed
            )
        deadline = time.monotonic() + 60
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """End it and all that it has started."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it alive."""
    server = Server(tmp_path_factory.mktemp("mlflow-server"), free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, not started yet."""
    folder = tmp_path / "own-server"
    folder.mkdir()
    server = Server(folder, free_port())
    yield server
    server.kill()


def client_of(uri: str) -> Any:
    """MLflow's own client, with which tests look at what arrived."""
    from mlflow import MlflowClient

    return MlflowClient(uri)


@pytest.fixture
def mlflow(server: Server) -> Any:
    """MLflow's own client of `server`."""
    return client_of(server.uri)


@dataclass
class Done:
    """A command that has ended."""

    exit_code: int
    stdout: str
    stderr: str
    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        """run.json."""
        record: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return record

    @property
    def note(self) -> dict[str, Any]:
        """mlflow.json."""
        note: dict[str, Any] = json.loads((self.folder / "mlflow.json").read_text())
        return note

    @property
    def events(self) -> list[dict[str, Any]]:
        """The event log."""
        return [json.loads(line) for line in (self.folder / "events.jsonl").read_text().splitlines()]

    @property
    def remarks(self) -> str:
        """All log events."""
        return "\n".join(event["message"] for event in self.events if event["type"] == "log")

    def metrics(self, name: str) -> list[tuple[Any, Any]]:
        """Value and step of each event of one metric."""
        found = [event for event in self.events if event["type"] == "metric" and event["name"] == name]
        return [(event["value"], event["step"]) for event in found]


@dataclass
class Running:
    """A command under way."""

    process: subprocess.Popen[str]
    folder: Path

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Wait until a text stands in the event log."""
        deadline = time.monotonic() + seconds
        log = self.folder / "events.jsonl"
        while not (log.exists() and text in log.read_text()):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, f"{text!r} does not come"
            time.sleep(0.02)

    def join(self) -> Done:
        """Wait for its end."""
        stdout, stderr = self.process.communicate(timeout=100)
        return Done(self.process.returncode, stdout, stderr, self.folder)


Start = Callable[..., Running]
Run = Callable[..., Done]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """``start(code, *options, **environment)``: `kernel-gateway run` of a percent script, in a folder of its own."""
    running: list[Running] = []

    def start(code: str, *options: str, name: str = "train", **environment: str) -> Running:
        source = tmp_path / f"{name}.py"
        source.write_text(code)
        folder = tmp_path / f"results-{len(running)}"
        hidden = ("KERNEL_GATEWAY_", "JENKINS_", "JOB_NAME", "BUILD_", "GIT_", "MLFLOW_")
        environ = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        arguments = ["run", source.name, "--output-dir", str(folder), *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "kernel_gateway", *arguments],
            cwd=tmp_path,
            env={**environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(Running(process, folder))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.fixture
def run(start: Start) -> Run:
    """As `start`, to its end."""

    def run(code: str, *options: str, name: str = "train", **environment: str) -> Done:
        return start(code, *options, name=name, **environment).join()

    return run


def send(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """``kernel-gateway mlflow send``."""
    return subprocess.run(
        [sys.executable, "-m", "kernel_gateway", "mlflow", "send", str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
