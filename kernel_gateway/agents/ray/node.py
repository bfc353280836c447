"""The actor of a run: what Ray starts on the node that it has chosen. It holds the run's resources until it ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

from ..remote.work import Order, RemoteRun

LEAVE_SECONDS = 30.0
"""How long an actor whose run has ended waits for the gateway to take it down."""


class RunActor:
    """One run. Its methods are called by `connector`, some at once; a gateway that was restarted calls `run` again."""

    def __init__(self, order: Mapping[str, str], gpus: int) -> None:
        import ray

        self._gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpus else []
        self._ids = [str(id) for id in ray.get_gpu_ids()]
        self._work = RemoteRun(Order(**order), self._gpus)
        self._lock = threading.Lock()
        self._begun = False
        self._ended = threading.Event()
        self._how = ""

    def where(self) -> dict[str, Any]:
        """Where Ray has put it: ``node`` (id), ``gpus`` (Ray's ids of them on that node) and ``pid``."""
        import ray

        return {"node": ray.get_runtime_context().get_node_id(), "gpus": self._ids, "pid": os.getpid()}

    def run(self) -> str:
        """Execute the run, or wait for its end if that is under way. Returns as `RemoteRun.execute` does."""
        with self._lock:
            first, self._begun = not self._begun, True
        if first:
            try:
                self._how = self._work.execute()
            finally:
                # A gateway that is away doesn't take it down, and it must not hold its GPUs for nothing.
                timer = threading.Timer(LEAVE_SECONDS, os._exit, (0,))
                timer.daemon = True
                timer.start()
                self._ended.set()
        self._ended.wait()
        return self._how

    def cancel(self) -> None:
        """Have the run ended as cancelled."""
        self._work.cancel()
