"""What is measured of a run's processes, and the guard of their memory, on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from kernel_gateway.errors import UsageError
from kernel_gateway.kernels import processes
from kernel_gateway.kernels.kernel import Kernel
from kernel_gateway.runner.ending import Ending
from kernel_gateway.runner.usage import Meter, gpu_deadline, worth_events
from kernel_gateway.settings import RunOptions, parse_size

MIB = 1 << 20
ASKS = RunOptions(name="x", memory=1)


@dataclass
class Guarded:
    """As much of a kernel as a meter looks at: the process below which the kernel's are."""

    guard_pid: int | None


Tree = Callable[[str], list[Kernel]]


@pytest.fixture
def tree() -> Iterator[Tree]:
    """Starts a process that stands for a guard, with a Python program below it, and waits for its word."""
    started: list[subprocess.Popen[str]] = []

    def tree(code: str) -> list[Kernel]:
        below = f"import sys, time\n{code}\nprint('ready', flush=True)\ntime.sleep(60)"
        program = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
        process = subprocess.Popen(
            [sys.executable, "-c", program, below], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return [cast(Kernel, Guarded(process.pid))]

    yield tree
    for process in started:
        os.killpg(process.pid, 9)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def used(meter: Meter) -> dict[str, Any]:
    return meter.read(ASKS, 1.0)


def test_the_peak_is_that_of_the_whole_tree_and_its_cpu_time_is_counted(tree: Tree) -> None:
    kernels = tree("held = b'x' * 150_000_000\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass")
    meter = Meter(lambda: kernels)
    meter.finish()

    assert 150_000_000 < used(meter)["memory.peak"] < 250_000_000
    assert 0.5 <= used(meter)["cpu.seconds"] < 5


def test_a_peak_between_two_looks_is_not_missed(tree: Tree) -> None:
    kernels = tree("held = b'x' * 200_000_000\ndel held")
    meter = Meter(lambda: kernels)
    meter.finish()

    assert used(meter)["memory.peak"] > 200_000_000


def test_memory_that_forked_processes_share_counts_once(tree: Tree) -> None:
    kernels = tree("held = b'x' * 100_000_000\nimport os\nfor _ in range(4):\n    if not os.fork(): time.sleep(60)")
    meter = Meter(lambda: kernels, limit=300 * MIB)
    meter.look(meter.due + 1)
    meter.finish()

    # Each of the five holds all of it, as `ps` tells: more than the limit together.
    assert used(meter)["memory.peak"] < 200_000_000


def test_over_the_limit_all_processes_are_killed_and_the_run_ends_with_the_reason(tree: Tree) -> None:
    kernels = tree("held = b'x' * 200_000_000")
    meter = Meter(lambda: kernels, limit=100 * MIB)

    with pytest.raises(Ending, match=r"held 0\.\d\d GiB of memory, more than the 0\.09766 GiB") as end:
        meter.look(meter.due + 1)

    assert end.value.status == "failed"
    guard = kernels[0].guard_pid
    assert guard is not None
    deadline = time.monotonic() + 10
    while processes.resident(guard):  # it ends with what it has started
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_near_the_limit_looks_follow_each_other_quickly(tree: Tree) -> None:
    kernels = tree("held = b'x' * 150_000_000")
    far, near = Meter(lambda: kernels, limit=64 << 30), Meter(lambda: kernels, limit=200 * MIB)
    now = time.monotonic() + 1
    for meter in (far, near):
        meter.look(now)
        meter.look(meter.due)

    assert near.due - now < far.due - now


def test_a_run_without_a_kernel_used_nothing() -> None:
    meter = Meter(list)
    meter.finish()

    assert used(meter) == {}
    assert meter.read(RunOptions(name="x", gpus=2), 1800.0) == {"gpu.hours": 1.0}


def test_a_process_that_is_gone_uses_nothing() -> None:
    pid = subprocess.Popen(["true"])
    pid.wait()

    assert (processes.resident(pid.pid), processes.proportional(pid.pid), processes.cpu_seconds(pid.pid)) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("options", "gates", "expected"),
    [
        (RunOptions(name="x"), [], False),
        (RunOptions(name="x"), ["accuracy > 0.9"], False),
        (RunOptions(name="x"), ["memory.peak <= 8e9"], True),
        (RunOptions(name="x", gpus=1), [], True),
        (RunOptions(name="x", cpus=0.5), [], True),
        (RunOptions(name="x", max_memory=1), [], True),
        (RunOptions(name="x", max_gpu_hours=1), [], True),
    ],
)
def test_measurements_are_metrics_of_runs_that_care(options: RunOptions, gates: list[str], expected: bool) -> None:
    assert worth_events(options, gates) is expected


def test_gpu_hours_are_seconds_by_the_number_of_gpus() -> None:
    assert gpu_deadline(RunOptions(name="x", gpus=4, max_gpu_hours=2))[0] == 1800
    assert gpu_deadline(RunOptions(name="x", max_gpu_hours=2)) == (None, "")


def test_what_was_asked_for_is_a_limit_unless_another_is_named() -> None:
    assert RunOptions(name="x", memory=5).memory_limit == 5
    assert RunOptions(name="x", memory=5, max_memory=9).memory_limit == 9


@pytest.mark.parametrize(
    ("text", "size"),
    [("8G", 8 << 30), ("8GiB", 8 << 30), ("8gb", 8 * 10**9), ("1.5M", 3 << 19), ("512", 512), ("8e9", 8 * 10**9)],
)
def test_sizes_of_memory(text: str, size: int) -> None:
    assert parse_size(text, "memory") == size


@pytest.mark.parametrize("text", ["", "0", "-1G", "8X", "G", "nan", "inf", "8 GB more", "1e40"])
def test_what_is_no_size_is_bad_usage_that_names_the_option(text: str) -> None:
    with pytest.raises(UsageError, match="is no size of memory") as error:
        parse_size(text, "memory")

    assert error.value.field == "memory"


def test_the_out_of_memory_killer_is_named(tmp_path: Path) -> None:
    group = Path(f"/sys/fs/cgroup/memory/kernel-gateway-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(200 * MIB))
    except OSError as error:
        pytest.skip(f"a control group with a limit of memory can't be made here: {error}")
    command = [sys.executable, "-m", "kernel_gateway", "run", "-c", "held = b'x' * 500_000_000", "--output-dir", "out"]
    enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
    environ = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    try:
        done = subprocess.run(
            ["sh", "-c", enter, "sh", *command], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
        )
    finally:
        deadline = time.monotonic() + 10
        while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        group.rmdir()

    assert done.returncode == 5, done.stdout + done.stderr
    assert "killed by SIGKILL, by the system's out-of-memory killer" in done.stdout
