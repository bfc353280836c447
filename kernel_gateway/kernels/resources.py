"""What this machine has to give: GPUs, CPUs, memory and labels, and how a kernel is told what it may use."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ResourceError

if TYPE_CHECKING:
    from .nvml import Gpu

THREADS = (
    "OMP_NUM_THREADS",  # OpenMP: torch, scikit-learn, xgboost, data.table and many more
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",  # libraries in Rust
    "POLARS_MAX_THREADS",
    "JULIA_NUM_THREADS",
)
"""Environment variables by which libraries learn how many threads to start."""


@dataclass(frozen=True)
class Gpus:
    """GPUs that runs may be given: ``names`` as ``CUDA_VISIBLE_DEVICES`` takes them, in an order that stays the same.

    ``devices`` is what NVML says of those that it knows; ``problem`` why it could not say more, if that is so.
    """

    names: list[str]
    devices: list[Gpu]
    problem: str = ""


def find_gpus(listed: str | None) -> Gpus:
    """The GPUs of a comma-separated list, or all that NVML finds where there is none. Does not raise.

    A number, or the beginning of a UUID, becomes the UUID of the GPU that NVML knows by it: numbers mean the same for
    every program then. Names that NVML does not know stay as they are, since a machine may have GPUs of others.
    """
    wanted = None if listed is None else _names(listed)
    if wanted == []:
        return Gpus([], [])
    from .nvml import list_gpus

    devices, problem = list_gpus()
    if wanted is None:
        return Gpus([device.id for device in devices], devices, problem)
    names = list(dict.fromkeys(_resolve(name, devices) for name in wanted))
    return Gpus(names, [device for device in devices if device.id in names], problem)


def _names(listed: str) -> list[str]:
    return [name for name in (part.strip() for part in listed.split(",")) if name and name != "-1"]


def _resolve(name: str, devices: Sequence[Gpu]) -> str:
    if name.isdecimal():
        found = [device.id for device in devices if device.index == int(name)]
    else:
        found = [device.id for device in devices if device.id.startswith(name)]
    return found[0] if len(found) == 1 else name


def check_gpus(count: int, gpus: Gpus) -> None:
    """Raise `ResourceError` unless there are as many GPUs as a run asks for."""
    names = gpus.names
    if len(names) < count:
        have = f"{len(names)} {'is' if len(names) == 1 else 'are'}" if names else "none is"
        why = f" ({gpus.problem})" if gpus.problem else ""
        raise ResourceError(
            f"The run asks for {count} GPU{'s' if count > 1 else ''}, but {have} visible on this machine{why}.",
            field="gpus",
        )


def gpu_environment(gpus: Sequence[str]) -> dict[str, str]:
    """Environment variables by which a run sees these GPUs and no other; none at all if there are none.

    CUDA reads this one, and so does HIP, AMD's: setting ``HIP_VISIBLE_DEVICES`` too would choose among those that
    are left. A process reads it when it uses a GPU for the first time.
    """
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}


def thread_environment(cpus: float | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Environment variables that keep libraries to the CPUs that a run asked for; none if it asked for none.

    A variable that is set in `environ` already is the user's and stays.
    """
    if not cpus:
        return {}
    threads = str(max(1, math.floor(cpus)))
    return {name: threads for name in THREADS if name not in environ}


def seems_to_have_gpus() -> bool:
    """Whether there is an NVIDIA GPU, by a glance at what its driver leaves; costs nothing."""
    return os.path.exists("/proc/driver/nvidia/version") or os.path.exists("/dev/nvidiactl")


# -- CPUs and memory -----------------------------------------------------------------------------------


def machine_cpus() -> float:
    """CPUs that this process may use: those it may run on, or what its control group allows, if that is less."""
    count = float(len(os.sched_getaffinity(0)) if sys.platform.startswith("linux") else os.cpu_count() or 1)
    for folder in _control_groups("cpu"):
        try:
            if (folder / "cpu.max").exists():  # cgroup v2
                quota, period = (folder / "cpu.max").read_text().split()[:2]
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            allowed = float(quota) / float(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue  # no limit here
        if allowed > 0:
            count = min(count, allowed)
    return count


def machine_memory() -> int:
    """Bytes of memory that there are: the machine's, or what its control group allows, if that is less."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _control_groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                size = min(size, int((folder / name).read_text()))
            except (OSError, ValueError):
                continue  # no limit here
    return size


def _control_groups(controller: str) -> Iterator[Path]:
    """Folders of the control groups that hold this process, its own first (cgroups(7), v2 and v1)."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        root = Path("/sys/fs/cgroup", controller) if names else Path("/sys/fs/cgroup")
        folder = root / path.lstrip("/")
        yield from (above for above in (folder, *folder.parents) if above.is_relative_to(root))


def check_cpus_and_memory(cpus: float | None, memory: int | None, have_cpus: float, have_memory: int) -> None:
    """Raise `ResourceError` for a run that asks for more than a machine has, if it had all of it for itself."""
    if cpus is not None and cpus > have_cpus + 1e-6:
        raise ResourceError(f"The run asks for {cpus:g} CPUs, but there are {have_cpus:g}.", field="cpus")
    if memory is not None and memory > have_memory:
        raise ResourceError(
            f"The run asks for {memory / 2**30:.4g} GiB of memory, but there are {have_memory / 2**30:.4g} GiB.",
            field="memory",
        )


def check_label(label: str | None, labels: str) -> None:
    """Raise `ResourceError` unless this machine, with comma-separated `labels`, has the one asked for."""
    have = [name.strip() for name in labels.split(",") if name.strip()]
    if label is not None and label not in have:
        raise ResourceError(
            f"The run asks for an agent labelled {label!r}, but this machine has "
            f"{'the labels ' + ', '.join(have) if have else 'no labels'}. KERNEL_GATEWAY_LABELS sets them.",
            field="label",
        )
