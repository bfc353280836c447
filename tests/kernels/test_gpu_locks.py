"""A GPU's lock lasts as long as the last process of the kernel that had it, also when the runner is killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from kernel_gateway.agents.fork_servers import ForkServer
from kernel_gateway.kernels import forkserver, guard
from kernel_gateway.kernels.descriptors import readable
from kernel_gateway.kernels.gpu_locks import FOLDER, GpuLocks, is_taken, keep_with
from kernel_gateway.kernels.sandbox import works
from tests.conftest import REQUIRE_KERNELS

SECONDS = 30

HOLDER = """
import os, sys
from pathlib import Path
from kernel_gateway.kernels.gpu_locks import GpuLocks
from kernel_gateway.kernels.sandbox import Sandbox
from kernel_gateway.kernels.specs import Kernelspecs
from kernel_gateway.runner.warm import WarmKernel
from kernel_gateway.settings import Settings

gpu, cwd, hidden, server, warm = sys.argv[1:]
spec = Kernelspecs().resolve("python3")
kernel = WarmKernel(
    spec,
    cwd=Path(cwd),
    environ=dict(os.environ),
    settings=Settings(),
    sandbox=Sandbox(Path(hidden), (Path(cwd),)) if hidden else None,
    fork_servers={spec.spec.argv[0]: Path(server)} if server else {},
    wake_fd=0,
)
locks = GpuLocks()
if not warm:
    assert locks.take(1, [gpu])
kernel.start()
if warm:
    assert locks.take(1, [gpu])
assert kernel.kernel.forked == bool(server)
# Memory that takes the system a moment to put away, and a process that has left the kernel's session.
kernel.kernel.execute("import subprocess; held = bytearray(b'x') * 300_000_000")
kernel.kernel.execute("subprocess.Popen(['sleep', '100'], start_new_session=True); open('begun', 'w').close()")
while not Path(cwd, "begun").exists():
    kernel.idle()
print(kernel.kernel.guard_pid, flush=True)
while True:
    kernel.idle()
"""


@pytest.fixture
def gpu() -> Iterator[str]:
    """A GPU that nobody else knows."""
    name = f"GPU-{uuid.uuid4()}"
    yield name
    (FOLDER / name).unlink(missing_ok=True)


@pytest.fixture
def fork_server(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Starts a fork server of kernels."""
    made: list[ForkServer] = []

    def start() -> Path:
        server = ForkServer("test", [sys.executable, forkserver.__file__], ["json"], tmp_path / "fork", os.environ)
        made.append(server)
        deadline = time.monotonic() + SECONDS
        while not server.ready:
            assert time.monotonic() < deadline, server.problem
            readable(server.fds, 0.05)
            server.poll()
        return server.path

    yield start
    for server in made:
        server.close()


@pytest.mark.parametrize("how", ["started", "sandboxed", "forked", "warm sandboxed forked"])
def test_the_lock_of_a_killed_runner_outlives_its_kernel(
    gpu: str, fork_server: Callable[[], Path], tmp_path: Path, how: str
) -> None:
    if "sandboxed" in how and not works():
        reason = "bubblewrap is not installed or may not make namespaces here"
        if os.environ.get(REQUIRE_KERNELS):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    (tmp_path / "work").mkdir()
    (tmp_path / "hidden").mkdir()
    server = fork_server() if "forked" in how else ""
    hidden = str(tmp_path / "hidden") if "sandboxed" in how else ""
    arguments = [gpu, str(tmp_path / "work"), hidden, str(server), "warm" if "warm" in how else ""]
    runner = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with runner:
        assert runner.stdout is not None
        below = [psutil.Process(pid) for pid in guard.descendants(int(runner.stdout.readline()))]
        assert len(below) >= 2
        assert is_taken(gpu)
        runner.kill()
        deadline = time.monotonic() + SECONDS
        while True:
            free = not is_taken(gpu)
            left = [process for process in below if is_alive(process)]
            assert not free or not left, f"the lock was free before {left}"
            if free:
                break
            assert time.monotonic() < deadline, f"the lock is still held; there is {left}"


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still has anything, such as a GPU: one that only waits for its parent has nothing."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_whoever_keeps_a_lock_has_it_until_he_is_gone_and_none_of_a_try_that_failed(gpu: str) -> None:
    taken = f"GPU-{uuid.uuid4()}"
    other, mine = GpuLocks(), GpuLocks()
    runner, kernel = socket.socketpair()
    with runner, kernel:
        keep_with(runner)
        assert other.take(1, [taken]) == [taken]
        assert mine.take(2, [gpu, taken]) == []
        assert not is_taken(gpu)
        assert mine.take(1, [gpu]) == [gpu]
        mine.release()
        other.release()
        assert is_taken(gpu)
        assert is_taken(taken)
    assert not is_taken(gpu)
    (FOLDER / taken).unlink()
