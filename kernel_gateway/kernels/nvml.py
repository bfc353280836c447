"""NVIDIA's management library, by nvidia-ml-py: which GPUs there are, and how much of them is in use.

Nothing of it is loaded where GPUs are not asked for, and nvidia-ml-py itself only where the library is there. What
NVML can't tell is an `NvmlError` with its words: a caller goes on without it.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
"""Comes with the driver; a machine without it has no NVIDIA GPU."""

UUID = re.compile(r"(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""What NVML calls a GPU, or a part of one (MIG), and what ``CUDA_VISIBLE_DEVICES`` takes."""


class NvmlError(Exception):
    """NVML is there but does not work; the text is its own, without a full stop."""


@dataclass(frozen=True)
class Gpu:
    """One GPU. ``id`` is its UUID, ``index`` its number in the order of the PCI bus, ``memory`` its bytes."""

    id: str
    index: int
    name: str
    memory: int


@contextlib.contextmanager
def session() -> Iterator[Any]:
    """The module ``pynvml``, initialised; None where there is no NVIDIA driver. Raises `NvmlError`."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        yield None
        return
    try:
        import pynvml
    except ImportError as error:
        raise NvmlError(f"nvidia-ml-py is not installed ({error})") from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NvmlError(_words(error)) from error
    try:
        yield pynvml
    except pynvml.NVMLError as error:
        raise NvmlError(_words(error)) from error
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def list_gpus() -> tuple[list[Gpu], str]:
    """The machine's GPUs in their order, MIG devices in place of a GPU that is split, and what went wrong, if anything.

    A GPU that fails (``GPU is lost``) is left out, and the others are there. Does not raise.
    """
    found: list[Gpu] = []
    problems: list[str] = []
    try:
        with session() as pynvml:
            for index in range(pynvml.nvmlDeviceGetCount() if pynvml is not None else 0):
                try:
                    found += _devices(pynvml, index)
                except pynvml.NVMLError as error:
                    problems.append(f"GPU {index} is left out: {_words(error)}")
    except NvmlError as error:
        problems.append(str(error))
    return found, "; ".join(problems)


def _devices(pynvml: Any, index: int) -> list[Gpu]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    parts = _mig_devices(pynvml, handle)
    return [
        Gpu(
            id=_text(pynvml.nvmlDeviceGetUUID(one)),
            index=index,
            name=_text(pynvml.nvmlDeviceGetName(one)),
            memory=int(pynvml.nvmlDeviceGetMemoryInfo(one).total),
        )
        for one in parts or [handle]
    ]


def _mig_devices(pynvml: Any, handle: Any) -> list[Any]:
    """The devices that a GPU is split into; empty for a whole one, and where NVML knows no such thing."""
    parts = []
    with contextlib.suppress(pynvml.NVMLError):
        if pynvml.nvmlDeviceGetMigMode(handle)[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
            return []
        for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            with contextlib.suppress(pynvml.NVMLError):  # a number without a device
                parts.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
    return parts


@dataclass(frozen=True)
class Load:
    """What a GPU does now: bytes of its memory in use, and percent of the time in which it computed, if it tells."""

    memory: int
    utilization: float | None


def handles(pynvml: Any, gpus: Sequence[str]) -> list[Any]:
    """Handles of GPUs by UUID, or by number. Raises ``pynvml.NVMLError`` for one that is not there."""
    return [
        pynvml.nvmlDeviceGetHandleByIndex(int(gpu)) if gpu.isdecimal() else pynvml.nvmlDeviceGetHandleByUUID(gpu)
        for gpu in gpus
    ]


def load_of(pynvml: Any, handle: Any, pids: frozenset[int]) -> Load:
    """The load of one GPU. Memory is that of the processes `pids`, or the whole GPU's where NVML does not know them,
    as in a container with pids of its own. Raises ``pynvml.NVMLError``.
    """
    memory = [
        process.usedGpuMemory
        for process in _processes(pynvml, handle)
        if process.pid in pids and process.usedGpuMemory is not None
    ]
    used = sum(memory) if memory else int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
    try:
        return Load(used, float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))
    except pynvml.NVMLError:
        return Load(used, None)  # MIG devices have none


def _processes(pynvml: Any, handle: Any) -> list[Any]:
    try:
        return list(pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
    except pynvml.NVMLError:
        return []


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _words(error: Exception) -> str:
    return f"NVML says: {str(error).rstrip('.')}"
