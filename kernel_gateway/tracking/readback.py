"""Metrics that cells log to MLflow themselves, told from those that the tracker has sent there."""

from __future__ import annotations

import threading
import time
from collections import Counter

from . import names
from .mlflow_client import MlflowClient
from .record import Point

COMPARED = 10_000
"""Values of one name sent by the tracker up to which all values of that name are looked through for others."""


class Readback:
    """Remembers what was sent and what was returned, by a number each: nothing comes back as an echo, or twice."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._sent: Counter[str] = Counter()
        self._returned: Counter[tuple[str, float, int]] = Counter()
        self._latest: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self._reading = threading.Lock()

    def sent(self, points: list[Point]) -> None:
        """The tracker is about to send these."""
        with self._lock:
            for point in points:
                if point.identity not in self._known:
                    self._known.add(point.identity)
                    self._sent[point.name] += 1

    def learn(self, sent: list[Point], returned: list[Point]) -> None:
        """What an earlier tracker of the same run has sent, and what it has returned, by the event log."""
        self.sent(sent)
        with self._lock:
            # The log has the time at which they came back, not that in MLflow.
            self._returned.update((point.name, names.finite(point.value), point.step) for point in returned)

    def read(
        self, client: MlflowClient, experiment_id: str, run_id: str, thorough: bool, deadline: float
    ) -> list[Point]:
        """New metrics of a run and of the later blocks of its program, in the order of time.

        `thorough`: look at all values of names that the tracker sends too, not just at the latest. `deadline`
        (`time.monotonic`) cuts the reading short: the names that are left then come with their latest value. Raises
        as the client does.
        """
        with self._reading:
            found: list[Point] = []
            runs = [run_id, *client.blocks(experiment_id, run_id)]
            for number, run in enumerate(runs):
                for latest in client.latest(run):
                    if self._is_old(run, latest, thorough, own=number == 0):
                        continue
                    points = client.history(run, latest.name) if time.monotonic() < deadline else [latest]
                    self._latest[run, latest.name] = latest.identity
                    found += points
            return self._new(found)

    def _is_old(self, run: str, latest: Point, thorough: bool, own: bool) -> bool:
        with self._lock:
            if own and self._sent[latest.name]:
                known = latest.identity in self._known
                return known and not (thorough and self._sent[latest.name] <= COMPARED)
        return self._latest.get((run, latest.name)) == latest.identity and not thorough

    def _new(self, found: list[Point]) -> list[Point]:
        new = []
        with self._lock:
            for point in sorted(found, key=lambda point: (point.timestamp, point.step)):
                if point.identity in self._known:
                    continue
                self._known.add(point.identity)
                earlier = (point.name, names.finite(point.value), point.step)
                if self._returned[earlier] > 0:
                    self._returned[earlier] -= 1
                else:
                    new.append(point)
        return new
