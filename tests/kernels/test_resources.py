"""What a machine has, and how kernels are told what they may use."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from kernel_gateway.errors import ResourceError
from kernel_gateway.kernels import gpu_locks, resources
from kernel_gateway.kernels.gpu_locks import GpuLocks, holder, is_taken, lockable
from kernel_gateway.kernels.resources import (
    THREADS,
    check_cpus_and_memory,
    gpu_environment,
    machine_cpus,
    machine_memory,
    thread_environment,
)


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three GPUs, whose locks are nobody else's."""
    monkeypatch.setattr(gpu_locks, "FOLDER", tmp_path / "gpus")
    return [f"GPU-{uuid.uuid4()}" for _ in range(3)]


def test_locks_are_taken_all_or_none_and_the_first_free_ones(gpus: list[str]) -> None:
    one, other = GpuLocks(), GpuLocks()

    assert one.take(1, gpus) == gpus[:1]
    assert other.take(3, gpus) == []
    assert not is_taken(gpus[1])  # nothing is kept of a try that failed
    assert other.take(2, gpus) == gpus[1:]
    assert [is_taken(gpu) for gpu in gpus] == [True] * 3
    assert holder(gpus[0]) == f"process {os.getpid()}"
    one.release()
    assert [is_taken(gpu) for gpu in gpus] == [False, True, True]
    other.release()


def test_a_lock_survives_that_its_file_is_removed(gpus: list[str]) -> None:
    locks = GpuLocks()
    locks.take(1, gpus)
    (gpu_locks.FOLDER / gpus[0]).unlink()
    again = GpuLocks()

    assert again.take(1, gpus) == gpus[:1]  # a new file is a new lock: tidying up is told in the documentation
    locks.release()
    again.release()


def test_only_uuids_are_names_that_others_know(gpus: list[str]) -> None:
    assert lockable(gpus[0])
    assert not lockable("0")
    assert not lockable("GPU-../../etc/passwd")
    one, other = GpuLocks(), GpuLocks()
    assert one.take(2, ["0", "1"]) == other.take(2, ["0", "1"]) == ["0", "1"]


def test_a_run_sees_its_gpus_or_none() -> None:
    assert gpu_environment(["GPU-b", "GPU-a"]) == {"CUDA_VISIBLE_DEVICES": "GPU-b,GPU-a"}
    assert gpu_environment([]) == {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, "1"), (1.9, "1"), (8.0, "8")])
def test_libraries_are_kept_to_the_cpus_that_a_run_asked_for(cpus: float, threads: str) -> None:
    assert thread_environment(cpus, {}) == dict.fromkeys(THREADS, threads)
    assert "OMP_NUM_THREADS" not in thread_environment(cpus, {"OMP_NUM_THREADS": "3"})


def test_a_run_that_asks_for_no_cpus_has_its_libraries_decide() -> None:
    assert thread_environment(None, {}) == {}


def test_a_machine_has_some_cpus_and_memory() -> None:
    assert 0 < machine_cpus() <= len(os.sched_getaffinity(0))
    assert 2**26 < machine_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("files", "cpus", "memory"),
    [
        ({"cpu.max": "50000 100000", "memory.max": "100000000"}, 0.5, 100_000_000),
        (
            {"cpu.cfs_quota_us": "25000", "cpu.cfs_period_us": "100000", "memory.limit_in_bytes": "9000000"},
            0.25,
            9_000_000,
        ),
        ({"cpu.max": "max 100000", "memory.max": "max"}, None, None),
        ({"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, None, None),
    ],
    ids=["v2", "v1", "v2 without limits", "v1 without limits"],
)
def test_the_limits_of_a_control_group_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cpus: float | None, memory: int | None
) -> None:
    plain_cpus = float(len(os.sched_getaffinity(0)))
    plain_memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(resources, "_control_groups", lambda controller: iter([tmp_path / "gone", tmp_path]))

    assert machine_cpus() == (cpus or plain_cpus)
    assert machine_memory() == (memory or plain_memory)


def test_more_than_there_is_is_refused_with_both_numbers() -> None:
    with pytest.raises(ResourceError, match=r"asks for 9 CPUs, but there are 8\."):
        check_cpus_and_memory(9, None, 8, 2**30)
    with pytest.raises(ResourceError, match=r"asks for 2 GiB of memory, but there are 1 GiB\."):
        check_cpus_and_memory(None, 2**31, 8, 2**30)
    check_cpus_and_memory(8, 2**30, 8, 2**30)
