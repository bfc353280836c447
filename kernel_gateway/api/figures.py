"""``/metrics``: figures of the service in Prometheus' format, the same whichever worker is asked.

What is there now is read from the database and the data folder. What ended is counted in a file that all workers
share, a run at a time, so that the counts only grow although old runs are removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from ..agents.notes import RUNNER_NOTE
from ..errors import NotFoundError
from ..events import EventType, Status, parse_time
from ..store.database import reading
from ..store.eventlog import LogReader
from ..store.incoming import BEGUN
from ..store.models import runs
from .service import EVENTS, Gateway

CONTENT_TYPE = CONTENT_TYPE_LATEST

BOUNDS = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
"""Seconds up to which the buckets of the histograms reach."""

SIZE_SECONDS = 60.0
"""How long the measured size of the data folder is trusted: walking it takes a while."""

_HISTOGRAMS = {
    "queue_wait_seconds": "Seconds from submission to the start of the runner.",
    "kernel_start_seconds": "Seconds from the start of the runner to its kernel's first answer, environment included.",
    "run_seconds": "Seconds that a run took, without waiting in the queue.",
}


def exposition(gateway: Gateway) -> bytes:
    """All figures as text. Raises `sqlalchemy.exc.DBAPIError` while the database does not answer."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(gateway))
    return generate_latest(registry)


class _Figures(Collector):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def describe(self) -> Iterable[Metric]:
        return []  # or registering would collect everything once more

    def collect(self) -> Iterator[Metric]:
        gateway = self._gateway
        counts = gateway.runs.counts()
        yield _gauge("queue_length", "Runs that are queued.", counts[Status.QUEUED])
        yield _gauge("queue_oldest_seconds", "Age of the run that is queued longest.", _oldest(gateway))
        by_status = GaugeMetricFamily("kernel_gateway_runs", "Runs in the database.", labels=["status"])
        for status, count in counts.items():
            by_status.add_metric([status.value], count)
        yield by_status
        yield _gauge("event_lag_seconds", "How long the newest event of any live run took to its log.", _lag(gateway))
        sizes = GaugeMetricFamily("kernel_gateway_data_bytes", "Bytes in the data folder.", labels=["kind"])
        for kind, size in _sizes(gateway.data.root).items():
            sizes.add_metric([kind], size)
        yield sizes
        yield from _agent(gateway)
        totals = _Totals.brought_up_to_date(gateway)
        ended = CounterMetricFamily("kernel_gateway_runs_ended", "Runs that have ended.", labels=["status"])
        for name, count in sorted(totals.ended.items()):
            ended.add_metric([name], count)
        yield ended
        for name, help in _HISTOGRAMS.items():
            counted, total = totals.histogram(name)
            buckets = zip([*map(str, BOUNDS), "+Inf"], accumulate(counted), strict=True)
            yield HistogramMetricFamily(f"kernel_gateway_{name}", help, buckets=list(buckets), sum_value=total)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"kernel_gateway_{name}", help, value=value)


def _agent(gateway: Gateway) -> Iterator[Metric]:
    state = gateway.agent()
    if state is not None:
        yield _gauge("slots", "Runs at once.", state.get("slots") or 0)
        yield _gauge("slots_busy", "Slots that are taken.", state.get("busy") or 0)
        yield _gauge("dispatcher_age_seconds", "Seconds since the dispatcher's last sign of life.", state["age"])
        gpus = state.get("gpus") or {}
        held = sum(1 for run in gpus.values() if run)
        yield _gauge("gpus", "GPUs of the agent.", len(gpus))
        yield _gauge("gpus_held", "GPUs that a run holds.", held)
        by_gpu = GaugeMetricFamily("kernel_gateway_gpu_held", "1 for a GPU that a run holds, else 0.", labels=["gpu"])
        for gpu, run in gpus.items():
            by_gpu.add_metric([gpu], 1 if run else 0)
        yield by_gpu
        for name, what in (("cpus", "CPUs"), ("memory_bytes", "Bytes of memory")):
            amount = state.get(name.removesuffix("_bytes")) or {}
            yield _gauge(name, f"{what} that runs may ask for.", amount.get("total") or 0)
            yield _gauge(f"{name}_free", f"{what} that no run holds that asked for it.", amount.get("free") or 0)


def _oldest(gateway: Gateway) -> float:
    with reading(gateway.engine) as connection:
        queued = select(func.min(runs.c.created)).where(runs.c.status == Status.QUEUED)
        oldest = connection.execute(queued).scalar_one()
    return max(0.0, (datetime.now(UTC) - oldest).total_seconds()) if oldest is not None else 0.0


def _lag(gateway: Gateway) -> float:
    lags = [0.0]
    for record in gateway.runs.active():
        with contextlib.suppress(OSError, ValueError):
            lags.append(_lag_of(gateway.data.run(record.id) / EVENTS))
    return max(lags)


def _lag_of(log: Path) -> float:
    """Seconds from the last event to the moment at which it was written."""
    with log.open("rb") as file:
        written = os.fstat(file.fileno()).st_mtime
        size = file.seek(0, os.SEEK_END)
        step = 1 << 16
        while True:
            file.seek(max(0, size - step))
            lines = file.read(step).split(b"\n")
            if len(lines) > 2 or step >= size:
                break
            step *= 8
    if len(lines) < 2:
        return 0.0
    return written - parse_time(orjson.loads(lines[-2])["time"]).timestamp()


_measured: dict[Path, tuple[float, dict[str, int]]] = {}
_measuring = threading.Lock()


def _sizes(root: Path) -> dict[str, int]:
    with _measuring:
        at, sizes = _measured.get(root, (float("-inf"), {}))
        if time.monotonic() - at > SIZE_SECONDS:
            sizes = {kind: sum(_walk(str(root / kind))) for kind in ("blobs", "runs")}
            _measured[root] = (time.monotonic(), sizes)
        return sizes


def _walk(folder: str) -> Iterator[int]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    yield from _walk(entry.path)
                else:
                    yield entry.stat(follow_symlinks=False).st_size


@dataclass
class _Totals:
    """Counts of all runs that ended since there is this data folder. ``last``: end and ids of those counted last."""

    last: str = ""
    last_ids: list[str] = field(default_factory=list)
    ended: dict[str, int] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)

    @classmethod
    def brought_up_to_date(cls, gateway: Gateway) -> _Totals:
        """The counts with every run that ended since they were last asked for, by whichever worker."""
        file = gateway.data.root / "run" / "totals.json"
        with (file.parent / ".totals.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            totals = cls._read(file)
            if totals._count(gateway):
                part = file.with_suffix(".part")
                part.write_bytes(orjson.dumps(totals.__dict__))
                part.replace(file)
        return totals

    @classmethod
    def _read(cls, file: Path) -> _Totals:
        try:
            return cls(**orjson.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return cls()

    def _count(self, gateway: Gateway) -> bool:
        """Count what ended since; whether there was anything."""
        query = select(runs.c.id, runs.c.status, runs.c.created, runs.c.finished, runs.c.seconds)
        query = query.where(runs.c.finished.is_not(None)).order_by(runs.c.finished)
        if self.last:
            query = query.where(runs.c.finished >= datetime.fromisoformat(self.last))
        with reading(gateway.engine) as connection:
            found = [row for row in connection.execute(query) if row.id not in self.last_ids]
        for row in found:
            self._add(gateway, row)
        return bool(found)

    def _add(self, gateway: Gateway, row: Any) -> None:
        finished = row.finished.isoformat()
        self.last_ids = [*self.last_ids, row.id] if finished == self.last else [row.id]
        self.last = finished
        self.ended[row.status] = self.ended.get(row.status, 0) + 1
        self._observe("run_seconds", row.seconds or (row.finished - row.created).total_seconds())
        folder = gateway.data.run(row.id)
        with contextlib.suppress(OSError, NotFoundError):
            note = folder / RUNNER_NOTE
            begun = (note if note.exists() else folder / BEGUN).stat().st_mtime
            self._observe("queue_wait_seconds", begun - row.created.timestamp())
            ready = _kernel_ready(folder / EVENTS)
            if ready is not None:
                self._observe("kernel_start_seconds", ready - begun)

    def _observe(self, name: str, seconds: float) -> None:
        seconds = max(0.0, seconds)
        counts = self.counts.setdefault(name, [0] * (len(BOUNDS) + 1))
        counts[bisect_left(BOUNDS, seconds)] += 1
        self.sums[name] = self.sums.get(name, 0.0) + seconds

    def histogram(self, name: str) -> tuple[list[int], float]:
        """Counts of each bucket, the last without bound, and the sum of all values."""
        return self.counts.get(name, [0] * (len(BOUNDS) + 1)), self.sums.get(name, 0.0)


def _kernel_ready(log: Path) -> float | None:
    """When a run's first kernel was ready; None if none ever was."""
    with LogReader(log) as reader:
        for event in reader.read():
            if event["type"] == EventType.RUN_STARTED:
                return parse_time(event["time"]).timestamp()
    return None
