"""What a run uses of its GPUs, by NVML, in a thread: a driver takes a while to answer, and a broken one for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from ..kernels import nvml

INTERVAL = 1.0
"""Seconds between two looks: NVML's utilization is that of about as long."""

LONGEST_INTERVAL = 5.0
SHARE_OF_TIME = 0.002

FINISH_SECONDS = 2.0
"""How long the run waits at its end for the last look."""


class GpuWatch:
    """Looks at some GPUs until `finish`. ``pids`` are the run's processes, kept up to date by its owner.

    ``memory_peak``: bytes, over all of them at one time; ``utilization``: percent, the mean over all and over time.
    """

    def __init__(self, gpus: Sequence[str]) -> None:
        self.pids: frozenset[int] = frozenset()
        self.memory_peak = 0
        self.utilization_peak = 0.0
        self.looks = 0
        self.problem = ""
        self._gpus = list(gpus)
        self._sum = 0.0
        self._counted = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gpu-watch", daemon=True)
        self._thread.start()

    @property
    def utilization(self) -> float | None:
        """The mean; None if no GPU tells."""
        return self._sum / self._counted if self._counted else None

    def finish(self) -> None:
        """Have a last look taken and wait for it, but not for ever. Does nothing when called again."""
        self._end.set()
        self._thread.join(FINISH_SECONDS)

    def _watch(self) -> None:
        try:
            with nvml.session() as pynvml:
                if pynvml is None:
                    return  # GPUs of another kind, or names without any
                handles = nvml.handles(pynvml, self._gpus)
                ended = False
                while not ended:
                    begun = time.perf_counter()
                    self._look(pynvml, handles)
                    cost = time.perf_counter() - begun
                    # The last look is behind the end, so that nothing of a short run is missed.
                    ended = self._end.is_set()
                    if not ended:
                        self._end.wait(min(max(INTERVAL, cost / SHARE_OF_TIME), LONGEST_INTERVAL))
        except nvml.NvmlError as error:
            self.problem = str(error)

    def _look(self, pynvml: Any, handles: list[Any]) -> None:
        loads = [nvml.load_of(pynvml, handle, self.pids) for handle in handles]
        self.memory_peak = max(self.memory_peak, sum(load.memory for load in loads))
        for load in loads:
            if load.utilization is not None:
                self._sum += load.utilization
                self._counted += 1
                self.utilization_peak = max(self.utilization_peak, load.utilization)
        self.looks += 1
