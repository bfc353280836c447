"""A real service: supervisor, gunicorn, dispatcher, runners and kernels, as processes on loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

FINAL = {"succeeded", "unstable", "failed", "timed_out", "kernel_died", "cancelled", "lost"}


@dataclass
class Answer:
    """What the service answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Service:
    """A service under test. It may be stopped, killed and started again on the same data and port."""

    data: Path
    options: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    port: int = 0
    token: str = ""
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        command = [sys.executable, "-m", "kernel_gateway", "serve", "--port", str(self.port), "--data", str(self.data)]
        environ = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        with (self.data.parent / "serve.log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, *self.options],
                # Each test that wants an MLflow server says so: one takes seconds to start and 250 MB.
                env={**environ, "KERNEL_GATEWAY_MLFLOW": "off", **self.env},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.data.parent,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"https?://127\.0\.0\.1:(\d+)(?: \(token (\S+)\))?", line)
        assert found, (line, (self.data.parent / "serve.log").read_text()[-3000:])
        self.port = int(found[1])
        self.token = found[2] or self.token

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def children(self, word: str) -> list[psutil.Process]:
        """Its processes below the supervisor whose command line holds a word."""
        assert self.process is not None
        below = psutil.Process(self.process.pid).children(recursive=True)
        found = []
        for child in below:
            with contextlib.suppress(psutil.Error):
                if any(word in part for part in child.cmdline()):
                    found.append(child)
        return found

    def runners(self) -> list[psutil.Process]:
        """Runner processes of this service's data folder, whoever their parent is."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if "kernel_gateway.agents.runner_process" in line and str(self.data) in line:
                    found.append(process)
        return found

    def stop(self) -> None:
        """Stop it as an administrator does."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(40)
        self._forget()

    def _forget(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    def kill(self) -> None:
        """Kill every process of the service itself with -9; runners are left alone, also one that starts just now."""
        assert self.process is not None
        own = [*self.children("gunicorn"), *self.children("agents.dispatcher")]
        self.process.kill()
        for child in own:
            with contextlib.suppress(psutil.Error):
                child.kill()
        self.process.wait(10)
        self._forget()

    def connect(self) -> http.client.HTTPConnection:
        """A connection for one request."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; JSON in if `body` is not bytes."""
        connection = self.connect()
        fields = {"Authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        data = body
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
            fields["Content-Type"] = "application/json"
        try:
            connection.request(method, path, data, fields)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def submit(self, code: str, **request: Any) -> str:
        """Submit a snippet; returns the run's id."""
        answer = self.ask("POST", "/api/v1/runs", {"source": {"content": code}, **request})
        assert answer.status == 201, answer.body
        id: str = answer.json["id"]
        return id

    def run(self, id: str) -> dict[str, Any]:
        """A run as the service shows it."""
        answer = self.ask("GET", f"/api/v1/runs/{id}")
        assert answer.status == 200, answer.body
        view: dict[str, Any] = answer.json
        return view

    def wait_for(self, id: str, statuses: set[str] | frozenset[str] = frozenset(FINAL), seconds: float = 60) -> str:
        """Wait until a run has one of some statuses."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
                status: str = self.run(id)["status"]
                if status in statuses:
                    return status
            time.sleep(0.05)
        raise AssertionError(f"{id} is {self.run(id)} after {seconds} s; {self.log()[-2000:]}")

    def events(self, id: str) -> list[dict[str, Any]]:
        """A run's events so far."""
        answer = self.ask("GET", f"/api/v1/runs/{id}/events?wait=0")
        return [json.loads(line) for line in answer.body.split(b"\n") if line]

    def text(self, id: str) -> str:
        """What a run printed so far."""
        return "".join(event["text"] for event in self.events(id) if event["type"] == "stream")

    def wait_for_text(self, id: str, text: str, seconds: float = 30) -> None:
        """Wait until a run has printed something."""
        deadline = time.monotonic() + seconds
        while text not in self.text(id):
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.events(id)[-3:]}"
            time.sleep(0.05)

    def log(self) -> str:
        """The service's own log."""
        return (self.data.parent / "serve.log").read_text()

    def close(self) -> None:
        """Stop everything, runners too."""
        self.stop()
        for runner in self.runners():
            with contextlib.suppress(psutil.Error):
                runner.send_signal(signal.SIGKILL)


Serve = Callable[..., Service]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts services, each on a data folder of its own."""
    services: list[Service] = []

    def serve(*options: str, **env: str) -> Service:
        folder = tmp_path / f"service-{len(services)}"
        folder.mkdir()
        services.append(Service(folder / "data", options, env))
        services[-1].start()
        return services[-1]

    yield serve
    for service in services:
        service.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service that the tests of a module share."""
    folder = tmp_path_factory.mktemp("service")
    service = Service(folder / "data", ("--slots", "2"))
    service.start()
    yield service
    service.close()
