"""What gates compare with when no server keeps history: the last successful run of the same folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..events import Status, decode_number
from ..projections.history import history_after
from ..projections.metrics import MetricSummary

_NUMBERS = ("first", "last", "min", "max", "mean")


@dataclass(frozen=True)
class Baseline:
    """An earlier run's metrics. ``run`` is its id."""

    run: str
    metrics: dict[str, MetricSummary]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Baseline:
        """The baseline that `to_dict` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        return _baseline(data["run"], data["metrics"])

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the next run's provenance, so that a failed run in between loses nothing."""
        return {
            "run": self.run,
            "metrics": {
                name: {**{key: getattr(summary, key) for key in _NUMBERS}, "count": summary.count}
                for name, summary in self.metrics.items()
            },
        }


def previous_results(folder: Path) -> Baseline | None:
    """The baseline that a folder's ``run.json`` tells: that run if it succeeded, else the one it had itself.

    None if there is no such file or it makes no sense; a first run has no baseline.
    """
    try:
        record = orjson.loads((folder / "run.json").read_bytes())
        if record["status"] == Status.SUCCEEDED:
            return _baseline(record["id"], record["metrics"])
        earlier = record["provenance"]["baseline"]
        return Baseline.from_dict(earlier) if earlier else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def previous_history(folder: Path) -> list[dict[str, Any]]:
    """The ``provenance.history`` of the run that follows the one in a folder; empty if there is none."""
    try:
        record = orjson.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        return []
    return history_after(record) if isinstance(record, dict) else []


def _baseline(run: str, metrics: dict[str, dict[str, Any]]) -> Baseline:
    summaries = {}
    for name, values in metrics.items():
        summary = summaries[name] = MetricSummary(count=int(values["count"]))
        for key in _NUMBERS:
            if values.get(key) is not None:
                setattr(summary, key, decode_number(values[key]))
    return Baseline(run, summaries)
