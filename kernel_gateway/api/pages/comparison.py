"""What runs have in common and where they differ, as rows of a page. Data in, data out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ...projections.directions import better_direction
from ...projections.margins import finite
from ...store.runs import RunRecord
from .embed import Figure

CURVES = 30
"""Metrics whose curves are drawn; a page with more is no longer looked at."""

WIDTH, HEIGHT = 480, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 12, 10, 26


@dataclass
class Compared:
    """A run as it takes part. ``facts`` is its ``run.json``, empty if that is gone."""

    record: RunRecord
    facts: dict[str, Any]
    figures: list[Figure]
    letter: str = ""


@dataclass(frozen=True)
class Cell:
    """A value of one run. ``change`` is its difference to the first run's."""

    value: Any = None
    change: float | None = None
    is_best: bool = False
    differs: bool = False


@dataclass(frozen=True)
class Row:
    """A name and a cell for each run."""

    name: str
    cells: list[Cell]

    @property
    def differs(self) -> bool:
        """Whether not all runs have the same."""
        return any(cell.differs for cell in self.cells)


@dataclass(frozen=True)
class Curve:
    """A metric over its steps: one line a run, as points of an SVG of `WIDTH` × `HEIGHT`."""

    name: str
    lines: list[tuple[str, int, str]]
    low: float
    high: float
    first: int
    last: int


@dataclass
class Comparison:
    """The page's content."""

    runs: list[Compared]
    parameters: list[Row] = field(default_factory=list)
    metrics: list[Row] = field(default_factory=list)
    gates: list[Row] = field(default_factory=list)
    surroundings: list[Row] = field(default_factory=list)
    packages: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    figures: list[tuple[str, list[Figure | None]]] = field(default_factory=list)


def compare_runs(runs: list[Compared]) -> Comparison:
    """Runs side by side; the first is what differences refer to."""
    for index, run in enumerate(runs):
        run.letter = chr(ord("A") + index)
    gates = list(
        dict.fromkeys(str(gate.get("expression", "")) for run in runs for gate in run.facts.get("gates") or [])
    )
    return Comparison(
        runs,
        parameters=_rows([_texts(run.facts.get("parameters")) for run in runs]),
        metrics=_metric_rows(runs, gates),
        gates=_rows([_gates(run.facts) for run in runs]),
        surroundings=_rows([_surroundings(run.facts) for run in runs]),
        packages=[row for row in _rows([_texts(run.facts.get("packages")) for run in runs]) if row.differs],
        curves=list(_curves(runs)),
        figures=_figures(runs),
    )


def _rows(columns: Sequence[Mapping[str, Any]]) -> list[Row]:
    names = dict.fromkeys(name for column in columns for name in column)
    rows = []
    for name in names:
        values = [column.get(name) for column in columns]
        differs = any(value != values[0] for value in values)
        rows.append(Row(name, [Cell(value, differs=differs and value != values[0]) for value in values]))
    return rows


def _texts(values: Any) -> dict[str, str]:
    """Names and values as text; what is no text as JSON."""
    if not isinstance(values, dict):
        return {}
    return {
        str(name): value if isinstance(value, str) else orjson.dumps(value).decode() for name, value in values.items()
    }


def _gates(facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        str(gate.get("expression")): {"passed": bool(gate.get("passed")), "value": gate.get("value")}
        for gate in facts.get("gates") or []
    }


_YES_NO: dict[Any, str] = {True: "yes", False: "no"}


def _surroundings(facts: Mapping[str, Any]) -> dict[str, str]:
    """Code, kernel and versions: what else may make the difference."""
    git = facts.get("git") or {}
    source = facts.get("source") or {}
    shown = {
        "Source": source.get("path"),
        "Source digest": source.get("digest"),
        "Commit": git.get("commit"),
        "Branch": git.get("branch"),
        "Uncommitted changes": _YES_NO.get(git.get("dirty")),
        "Agent": facts.get("agent"),
        "Kernel": facts.get("kernel"),
        **(facts.get("versions") or {}),
    }
    return {name: str(value) for name, value in shown.items() if value not in (None, "")}


# -- metrics -----------------------------------------------------------------------------------------


def _metric_rows(runs: Sequence[Compared], gates: Sequence[str]) -> list[Row]:
    columns = [{name: metric.get("last") for name, metric in (run.facts.get("metrics") or {}).items()} for run in runs]
    rows = []
    for name in dict.fromkeys(name for column in columns for name in column):
        values = [column.get(name) for column in columns]
        numbers = [finite(value) for value in values]
        best = _best(numbers, better_direction(name, gates))
        first = numbers[0]
        rows.append(
            Row(
                name,
                [
                    Cell(
                        value,
                        change=number - first if index and number is not None and first is not None else None,
                        is_best=best is not None and number == best,
                        differs=value != values[0],
                    )
                    for index, (value, number) in enumerate(zip(values, numbers, strict=True))
                ],
            )
        )
    return rows


def _best(numbers: Iterable[float | None], better: int) -> float | None:
    """The best of several numbers that are not all the same; None where nobody can tell."""
    known = {number for number in numbers if number is not None}
    return (max if better > 0 else min)(known) if better and len(known) > 1 else None


def _curves(runs: Sequence[Compared]) -> Iterable[Curve]:
    names = dict.fromkeys(name for run in runs for name in run.facts.get("metrics") or {})
    drawn = 0
    for name in names:
        series = [(run.letter, _points(run, name)) for run in runs]
        if drawn < CURVES and any(len(points) > 1 for _, points in series):
            drawn += 1
            yield _curve(name, series)


def _points(run: Compared, name: str) -> list[tuple[int, float]]:
    steps = ((run.facts.get("metrics") or {}).get(name) or {}).get("steps") or []
    points = [(int(step), finite(value)) for step, value in steps]
    return [(step, value) for step, value in points if value is not None]


def _curve(name: str, series: Sequence[tuple[str, list[tuple[int, float]]]]) -> Curve:
    steps = [step for _, points in series for step, _ in points]
    values = [value for _, points in series for _, value in points]
    first, last, low, high = min(steps), max(steps), min(values), max(values)
    # Halved before subtracting: the span of two huge values of opposite sign would overflow.
    wide, tall = (last - first) or 1, (high / 2 - low / 2) or 1.0

    def at(step: int, value: float) -> str:
        x = _LEFT + (step - first) / wide * (WIDTH - _LEFT - _RIGHT)
        y = HEIGHT - _BOTTOM - (value / 2 - low / 2) / tall * (HEIGHT - _TOP - _BOTTOM)
        return f"{x:.1f},{y:.1f}"

    lines = [
        (letter, index, " ".join(at(*point) for point in sorted(points)))
        for index, (letter, points) in enumerate(series)
        if points
    ]
    return Curve(name, lines, low, high, first, last)


def _figures(runs: Sequence[Compared]) -> list[tuple[str, list[Figure | None]]]:
    """Figures of the same cell in one row, in the order of the first run that has them."""
    places = [{figure.place: figure for figure in run.figures} for run in runs]
    names = dict.fromkeys(place for column in places for place in column)
    return [
        (next(column[name].caption for column in places if name in column), [column.get(name) for column in places])
        for name in names
    ]
