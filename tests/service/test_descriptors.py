"""A dispatcher that has more descriptors than select(2) can wait for."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from tests.conftest import REQUIRE_KERNELS
from tests.service.conftest import Serve
from tests.service.idle import run, wait_until

pytestmark = pytest.mark.slow

MANY = 1100

HOLD = f"""
import os, resource, threading, time

def hold():
    while resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * {MANY}:
        time.sleep(0.01)
    for _ in range({MANY}):
        os.open(os.devnull, os.O_RDONLY)

with open("/proc/self/cmdline", "rb") as file:
    if b"kernel_gateway.agents.dispatcher" in file.read():
        threading.Thread(target=hold, daemon=True).start()
"""
"""Taken up by the dispatcher as it starts: once it may, it opens so many that all later ones have higher numbers."""


def test_runs_are_looked_after_by_more_than_a_thousand_descriptors(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * MANY:
        reason = f"this system allows {hard} descriptors"
        if os.environ.get(REQUIRE_KERNELS):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    (tmp_path / "sitecustomize.py").write_text(HOLD)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    try:
        service = serve("--warm", "python3=1", PYTHONPATH=str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    [dispatcher] = service.children("agents.dispatcher")
    wait_until(lambda: dispatcher.num_fds() > MANY, "the dispatcher holds few descriptors")

    tell = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    # What it starts is allowed as many as ever: programs that wait by select(2) would break.
    assert [run(service, tell)[1] for _ in range(3)] == ["1000\n"] * 3
    assert [process.pid for process in service.children("agents.dispatcher")] == [dispatcher.pid]
