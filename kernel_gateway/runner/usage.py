"""What a run uses of its machine, measured beside it: memory, CPU time, GPUs. And the guard that ends it over a limit.

The runner's own loop looks, between messages, at the processes of all of its kernels; there is no thread for that, and
a run that is over in a moment is looked at once, at its end. How often depends on what a look costs. GPUs are looked
at by `gpu_usage`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..events import Status
from ..kernels import guard, processes
from ..kernels.kernel import Kernel
from ..projections.metrics import RESOURCE_METRICS
from ..settings import RunOptions
from .ending import Ending

if TYPE_CHECKING:
    from .gpu_usage import GpuWatch

MEMORY_PEAK, CPU_SECONDS, GPU_MEMORY_PEAK, GPU_UTILIZATION, GPU_HOURS = RESOURCE_METRICS
GPU_UTILIZATION_PEAK = "gpu.utilization.peak"

INTERVAL = 0.5
"""Seconds between two looks, if a look costs little."""

LONGEST_INTERVAL = 10.0

SHARE_OF_TIME = 0.001
"""Part of one CPU that looking may take; more only near a limit of memory, see `CLOSE_SHARE_OF_TIME`."""

CLOSE_SHARE_OF_TIME = 0.2
SHORTEST_INTERVAL = 0.02
FASTEST_GROWTH = 4 << 30
"""Bytes a second by which memory is expected to grow at most: sets how soon the next look near a limit is."""

WORTH_A_LOOK = 1.02
"""Memory must have grown by that factor before it is measured exactly once more."""


class Meter:
    """Measures the processes below the `kernels`. `look` is called again and again, `finish` before they are ended.

    ``due`` is when the next look is worth a call. `limit`: bytes of memory over which `look` kills them all.
    """

    def __init__(
        self,
        kernels: Callable[[], Iterable[Kernel]],
        *,
        limit: int | None = None,
        gpus: Sequence[str] = (),
        warm: Kernel | None = None,
    ) -> None:
        self.memory_peak = 0
        self.due = time.monotonic() + (SHORTEST_INTERVAL if limit else INTERVAL)
        self._kernels = kernels
        self._limit = limit
        self._cpu: dict[int, float] = {}
        self._before: dict[int, float] = {}
        self._forked: frozenset[int] = frozenset()
        if warm is not None and warm.guard_pid is not None:
            self._before[warm.guard_pid] = _cpu_below(warm.guard_pid)
            self._forked = frozenset(guard.descendants(warm.guard_pid)) if warm.forked else frozenset()
        self._highest = 0
        self._finished = False
        self._gpus: GpuWatch | None = None
        if gpus:
            from .gpu_usage import GpuWatch

            self._gpus = GpuWatch(gpus)

    # -- looking -------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Measure if it is time to. Raises `Ending` over the limit of memory; all processes were killed by then."""
        if now < self.due:
            return
        begun = time.perf_counter()
        used = self._measure()
        if self._limit is not None and used > self._limit:
            self._kill()
            raise Ending(
                Status.FAILED,
                f"The run was stopped: its processes held {used / 2**30:.2f} GiB of memory, more than the "
                f"{self._limit / 2**30:.4g} GiB that it may (--max-memory, else --memory).",
            )
        cost = time.perf_counter() - begun
        interval = min(max(INTERVAL, cost / SHARE_OF_TIME), LONGEST_INTERVAL)
        if self._limit is not None:
            soon = max((self._limit - used) / FASTEST_GROWTH, SHORTEST_INTERVAL, cost / CLOSE_SHARE_OF_TIME)
            interval = min(INTERVAL, soon)
        self.due = now + interval

    def _measure(self) -> int:
        """Bytes held now, shared ones counted once; at least those, where no new peak can be among them."""
        pids: list[int] = []
        for root in self._roots():
            below = guard.descendants(root)
            pids += below
            seconds = sum(processes.cpu_seconds(pid) for pid in (root, *below))
            self._cpu[root] = max(self._cpu.get(root, 0.0), seconds)
        if self._gpus is not None:
            self._gpus.pids = frozenset(pids)
        held = [processes.resident(pid) for pid in pids]
        used, most = sum(held), max(held, default=0)
        # A forked kernel and its init hold the same pages. One process that is alone shares with none of the run's,
        # so that only others cost an exact look, of some milliseconds.
        if used <= most * WORTH_A_LOOK or self._forked.issuperset(pids):
            self.memory_peak = max(self.memory_peak, most)
            return most
        exactly = used > self._highest * WORTH_A_LOOK or (self._limit is not None and used > self._limit)
        if exactly:
            self._highest = max(self._highest, used)
            used = sum(processes.proportional(pid) for pid in pids)
            self.memory_peak = max(self.memory_peak, used)
        return used

    def _roots(self) -> list[int]:
        return [kernel.guard_pid for kernel in self._kernels() if kernel.guard_pid is not None]

    def _kill(self) -> None:
        """End everything at once: what allocates that fast is not to be asked."""
        for root in self._roots():
            guard.signal_all(guard.descendants(root), signal.SIGKILL)

    # -- the end -------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Look once more, before the kernels are ended: what the system counted itself misses no peak of a process.

        Nothing is left to do when it is called again.
        """
        if self._finished:
            return
        self._finished = True
        self._measure()
        for root in self._roots():
            for pid in guard.descendants(root):
                self.memory_peak = max(self.memory_peak, processes.highest_resident(pid))
        if self._gpus is not None:
            self._gpus.finish()

    @property
    def problem(self) -> str:
        """Why GPUs could not be measured, if that is so."""
        return self._gpus.problem if self._gpus is not None else ""

    def read(self, options: RunOptions, seconds: float) -> dict[str, Any]:
        """What was measured, by metric name; `seconds` is the run's wall time so far. Empty if nothing ever ran."""
        found: dict[str, Any] = {}
        if self._cpu:
            used = {root: seconds - self._before.get(root, 0.0) for root, seconds in self._cpu.items()}
            found = {MEMORY_PEAK: self.memory_peak, CPU_SECONDS: round(max(0.0, sum(used.values())), 3)}
        if options.gpus:
            if self._gpus is not None and self._gpus.looks:
                found[GPU_MEMORY_PEAK] = self._gpus.memory_peak
                if self._gpus.utilization is not None:
                    found[GPU_UTILIZATION] = round(self._gpus.utilization, 2)
                    found[GPU_UTILIZATION_PEAK] = self._gpus.utilization_peak
            found[GPU_HOURS] = round(options.gpus * seconds / 3600, 6)
        return found


def _cpu_below(root: int) -> float:
    return sum(processes.cpu_seconds(pid) for pid in (root, *guard.descendants(root)))


def worth_events(options: RunOptions, gates: Iterable[str]) -> bool:
    """Whether measurements become metrics of the run: if it asked for resources or a limit, or a gate names one."""
    return options.asks_for_resources or any(name in gate for gate in gates for name in RESOURCE_METRICS)


def gpu_deadline(options: RunOptions) -> tuple[float | None, str]:
    """Seconds after which a run has had its `max_gpu_hours`, and the words for it; None without that, or GPUs."""
    hours, count = options.max_gpu_hours, options.gpus
    if hours is None or not count:
        return None, ""
    seconds = hours * 3600 / count
    held = f"{count} GPU{'s' if count > 1 else ''} for {seconds:g} s"
    return seconds, f"The run exceeded its limit of {hours:g} GPU-hours: it held {held} (--max-gpu-hours)."
