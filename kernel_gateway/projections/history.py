"""Earlier runs of the same name, as a run's provenance carries them: what the report's trend is drawn from.

``provenance.history`` is a list, oldest first, of ``{"id", "time", "status", "build", "metrics"}``: ``build`` is
``{"number", "url"}`` or null, ``metrics`` maps names to last values. Each run passes its own list on, with itself
at the end, so that whoever starts the next run reads one ``run.json`` and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .margins import finite
from .metrics import FROM_GATEWAY

MAX_RUNS = 50
"""Earlier runs that are passed on."""

MAX_METRICS = 30
"""Metrics of a run that are passed on; what its gates name comes first."""


@dataclass(frozen=True)
class EarlierRun:
    """One earlier run. ``number`` and ``url`` are of its Jenkins build, empty where it had none."""

    id: str
    time: str
    status: str
    number: str
    url: str
    metrics: Mapping[str, float]


def history_after(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The history for the run that follows the one of a ``run.json``: its own history and itself.

    Whoever makes a run's provenance calls it: the command with the record that it finds in the output folder, the
    service with that of the last ended run of the same name. Raises nothing; a record that makes no sense has none.
    """
    provenance = record.get("provenance")
    known = provenance.get("history") if isinstance(provenance, Mapping) else None
    entries = [entry for entry in known if isinstance(entry, dict)] if isinstance(known, list) else []
    if record.get("id"):
        entries.append(_entry(record))
    return entries[-MAX_RUNS:]


def _entry(record: Mapping[str, Any]) -> dict[str, Any]:
    build = record.get("build")
    gates = " ".join(str(gate.get("expression")) for gate in _items(record.get("gates")) if isinstance(gate, Mapping))
    metrics = record.get("metrics")
    names = (
        [name for name in metrics if _is_headline(name, metrics[name], gates)] if isinstance(metrics, Mapping) else []
    )
    names.sort(key=lambda name: name not in gates)
    return {
        "id": record.get("id"),
        "time": record.get("start"),
        "status": record.get("status"),
        "build": {"number": build.get("number"), "url": build.get("url")} if isinstance(build, Mapping) else None,
        "metrics": {
            name: metrics[name].get("last")
            for name in names[:MAX_METRICS]
            if isinstance(metrics, Mapping) and isinstance(metrics[name], Mapping)
        },
    }


def _is_headline(name: str, values: Any, gates: str) -> bool:
    """Whether a trend is to show a metric: what the gateway measured itself only if a gate is about it."""
    return name in gates or not (isinstance(values, Mapping) and values.get("source") == FROM_GATEWAY)


def read_history(entries: Any) -> list[EarlierRun]:
    """The runs of a ``provenance.history``, oldest first. What makes no sense is passed over; raises nothing."""
    return [_earlier(entry) for entry in _items(entries) if isinstance(entry, Mapping) and entry.get("id")][-MAX_RUNS:]


def _earlier(entry: Mapping[str, Any]) -> EarlierRun:
    build = entry.get("build")
    number, url = (build.get("number"), build.get("url")) if isinstance(build, Mapping) else (build, None)
    if isinstance(number, str) and "://" in number:
        number, url = None, number
    return EarlierRun(
        id=str(entry["id"]),
        time=str(entry.get("time") or ""),
        status=str(entry.get("status") or ""),
        number="" if number is None else str(number),
        url=url if isinstance(url, str) and url.startswith(("https://", "http://")) else "",
        metrics=finite_values(entry.get("metrics")),
    )


def finite_values(metrics: Any) -> dict[str, float]:
    """Name → last value of what can be drawn. Values may be numbers, or aggregates that have a ``last``."""
    found: dict[str, float] = {}
    for name, value in metrics.items() if isinstance(metrics, Mapping) else ():
        value = value.get("last", "") if isinstance(value, Mapping) else value
        if (number := finite(value)) is not None:
            found[str(name)] = number
    return found


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else ()
