"""What tests of warm kernels share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import psutil

from tests.service.conftest import Service


def pool(service: Service, kernel: str = "python3") -> dict[str, Any]:
    """What the agent says of the kernels of a kind that it keeps."""
    agents = service.ask("GET", "/api/v1/agents").json["agents"]
    return next((entry for entry in agents[0]["pool"] if entry["kernel"] == kernel), {}) if agents else {}


def wait_until(done: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def wait_for_idle(service: Service, kernel: str = "python3", seconds: float = 90) -> None:
    """Wait until a kernel is ready for the next run."""
    wait_until(lambda: pool(service, kernel).get("idle"), f"no idle {kernel}: {service.log()[-2000:]}", seconds)


def wait_for_fork_server(service: Service) -> None:
    """Wait until kernels are forked."""
    wait_until(lambda: run(service, "1")[0] == "forked", f"nothing is forked: {service.log()[-2000:]}")


def run(service: Service, code: str, **request: Any) -> tuple[str, str]:
    """Run a snippet; how its kernel came to be, and what it printed."""
    id = service.submit(code, **request)
    assert service.wait_for(id) == "succeeded", service.events(id)
    started = next(event for event in service.events(id) if event["type"] == "run_started")
    return started["start"], service.text(id)


def kernels(service: Service) -> list[psutil.Process]:
    """Processes of kernels below this service, idle ones too."""
    found = []
    for runner in service.runners():
        for child in runner.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "kernel.json" in " ".join(child.cmdline()):
                    found.append(child)
    return found
