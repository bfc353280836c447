"""The fork server of kernels by itself: clients that hang or went away do it no harm."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kernel_gateway.agents import fork_servers
from kernel_gateway.agents.fork_servers import EXITS, ForkServer
from kernel_gateway.kernels import forkserver

SECONDS = 30


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForkServer]:
    made = ForkServer("test", [sys.executable, forkserver.__file__], ["json"], tmp_path / "fork.sock", os.environ)
    try:
        deadline = time.monotonic() + SECONDS
        while not made.ready:
            assert time.monotonic() < deadline, made.problem
            select.select(made.fds, [], [], 0.05)
            made.poll()
        yield made
    finally:
        made.close()


def ask(server: ForkServer, folder: Path, control: int) -> tuple[int, int]:
    """Ask for a kernel; the guard's pid and status pipe."""
    folder.mkdir()
    (folder / "kernel.json").write_text("{}")
    request: dict[str, object] = {
        "argv": ["--version"],
        "cwd": "/",
        "environ": {},
        "folder": str(folder),
        "sandbox": None,
    }
    content = os.memfd_create("request")
    os.write(content, json.dumps(request).encode())
    os.lseek(content, 0, os.SEEK_SET)
    status, theirs = os.pipe()
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        pid = server.fork(b"fork", [content, control, theirs, null, null])
    finally:
        for fd in (content, theirs, null):
            os.close(fd)
    assert pid is not None
    return pid, status


def read_all(fd: int) -> bytes:
    """What comes by a pipe until its end."""
    with open(fd, "rb") as pipe:
        assert select.select([pipe], [], [], SECONDS)[0]
        return pipe.read()


def test_a_client_that_says_nothing_does_not_hold_up_the_next(server: ForkServer, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(str(server.path))
        control, ours = os.pipe()
        _, status = ask(server, tmp_path / "kernel", control)
        os.close(control)
        said = read_all(status)
        os.close(ours)
    assert said.startswith(b"pid ")
    assert said.endswith(b"exit 0 0\n")


def test_a_kernel_that_nobody_waits_for_any_more_is_not_begun(server: ForkServer, tmp_path: Path) -> None:
    control, ours = os.pipe()
    os.close(ours)
    _, status = ask(server, tmp_path / "kernel", control)
    os.close(control)
    assert read_all(status) == b""
    assert (tmp_path / "kernel" / "kernel.json").exists()  # that of the kernel which was started instead


def test_exit_codes_that_nobody_asks_for_do_not_pile_up(server: ForkServer) -> None:
    for pid in range(EXITS + 10):
        server._hear(f"exit {pid} 1")
    assert len(server.exits) == EXITS
    assert server.exits[EXITS + 9] == 1


def test_a_server_that_hangs_is_replaced_and_one_that_does_not_is_left_alone(
    server: ForkServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fork_servers, "ASK_SECONDS", 0.05)
    first = started(server)
    assert first is not None
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        select.select(server.fds, [], [], 0.02)
        server.poll()
    assert started(server) == first

    monkeypatch.setattr(fork_servers, "ANSWER_SECONDS", 0.2)
    os.kill(first, signal.SIGSTOP)
    deadline = time.monotonic() + SECONDS
    while not server.ready or started(server) == first:
        assert time.monotonic() < deadline, caplog.text
        select.select(server.fds, [], [], 0.02)
        server.poll()
    assert "the fork server of test hangs and is killed" in caplog.text


OWNER = """
import os, select, sys, time
from pathlib import Path
from kernel_gateway.agents.fork_servers import ForkServer

modules = ["json"] if "forkserver.py" in sys.argv[-1] else []
server = ForkServer("test", sys.argv[2:], modules, Path(sys.argv[1]), os.environ)
while not server.ready:
    select.select(server.fds, [], [], 0.05)
    server.poll()
print(server._process.pid, flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize(
    "command", [[forkserver.__file__], ["-m", "kernel_gateway.agents.runner_server"]], ids=["kernels", "runners"]
)
def test_a_server_that_is_stopped_goes_with_whoever_started_it(tmp_path: Path, command: list[str]) -> None:
    words = [sys.executable, "-c", OWNER, str(tmp_path / "fork.sock"), sys.executable, *command]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        server = psutil.Process(int(owner.stdout.readline()))
        server.suspend()
        owner.kill()

    server.wait(SECONDS)


def started(server: ForkServer) -> int | None:
    """The server's process, if there is one now."""
    return server._process.pid if server._process is not None else None
