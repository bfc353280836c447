"""A scripted gateway, clients that lose patience soon, and runs on that gateway in this process or another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.cli.remote import RemoteRun
from kernel_gateway.client import GatewayClient, Patience
from kernel_gateway.runner.ending import Cancellation
from kernel_gateway.settings import RunOptions, Settings
from tests.client.gateway import ScriptedGateway
from tests.client.results import Command, RunCode


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    """A gateway that listens."""
    scripted = ScriptedGateway()
    yield scripted
    scripted.stop()


@pytest.fixture
def client(gateway: ScriptedGateway) -> Iterator[GatewayClient]:
    """A client of it that waits 10 seconds for an absent gateway."""
    with GatewayClient(gateway.url, patience=Patience(first=1.0, later=10.0), timeout=5.0) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, outside of any Jenkins build."""
    for name in ("BUILD_TAG", "JOB_NAME", "BUILD_NUMBER", "KERNEL_GATEWAY_URL", "KERNEL_GATEWAY_IDEMPOTENCY_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_code(gateway: ScriptedGateway, folder: Path) -> Iterator[RunCode]:
    """Runs code on the gateway in this process, with results in ``out``."""
    cancels: list[Cancellation] = []

    def run_code(code: str = "print(1)", *, later: float = 10.0, **options: Any) -> int:
        cancels.append(Cancellation())
        return RemoteRun(
            code.encode(),
            None,
            RunOptions(name="snippet", **options),
            Settings(),
            folder / "out",
            cancels[-1],
            url=gateway.url,
            token=None,
            patience=Patience(first=0.5, later=later),
        ).run()

    yield run_code
    for cancel in cancels:
        cancel.close()


@pytest.fixture
def command(gateway: ScriptedGateway, folder: Path) -> Iterator[Command]:
    """Starts the command itself, as users do."""
    running: list[subprocess.Popen[str]] = []

    def command(*arguments: str, url: str = gateway.url, **options: Any) -> subprocess.Popen[str]:
        environ = {**os.environ, "KERNEL_GATEWAY_URL": url, **options.pop("env", {})}
        process = subprocess.Popen(
            [sys.executable, "-m", "kernel_gateway", "run", *arguments, "--output-dir", "out"],
            cwd=folder,
            env=environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        running.append(process)
        return process

    yield command
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()
