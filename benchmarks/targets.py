"""What must be shown, computed from the results alone: each aim with its figure, met or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .samples import Samples, delays, percentile, ratio, values

Found = tuple[float, str] | None
"""A figure and the contestant that it is of; None where it was not measured."""


@dataclass(frozen=True)
class Target:
    """An aim. ``bound`` must not be exceeded, or with ``least`` be reached; ``unit`` and ``digits`` are for showing."""

    what: str
    bound: float
    figure: Callable[[dict[str, Samples]], Found]
    least: bool = False
    unit: str = ""
    digits: int = 2

    def met(self, figure: float) -> bool:
        """Whether the figure keeps the bound, as exactly as it was measured."""
        return figure >= self.bound if self.least else figure <= self.bound


@dataclass(frozen=True)
class Verdict:
    """A target and what was measured; ``figure`` and ``met`` are None where it was not."""

    target: Target
    figure: float | None
    of: str
    met: bool | None


def verdicts(result: dict[str, Any]) -> list[Verdict]:
    """Every target, in order."""
    ours = [name for name, contestant in result["contestants"].items() if contestant["ours"]]
    workloads = {name: workload["samples"] for name, workload in result["workloads"].items()}
    found = []
    for target in targets(ours):
        figure = target.figure(workloads)
        if figure is None:
            found.append(Verdict(target, None, "", None))
        else:
            found.append(Verdict(target, *figure, target.met(figure[0])))
    return found


def targets(ours: list[str]) -> list[Target]:
    """The aims of this project, ``ours`` being the names of its contestants. Where several of ours are measured, the
    worst counts, but for throughput: one of the ways to get it is enough.
    """
    return [
        Target("hello, whole command ÷ papermill's", 0.15, beside("hello", ["warm"], "papermill")),
        Target(
            "first output after numpy, pandas and scikit-learn are imported ÷ papermill's",
            0.1,
            beside("imports", ["forked"], "papermill", "first"),
        ),
        *(
            Target(f"submit until the first output event, {word}, {name}", bound, late("submit", [name], share), **_MS)
            for name in ("warm", "forked")
            for word, share, bound in (("p50", 0.5, 40.0), ("p99", 0.99, 150.0))
        ),
        Target("flushed print until its line is here, p50", 15.0, late("latency", ours, 0.5), **_MS),
        Target("1,000 cells ÷ bare loop", 1.1, beside("cells", ours, "bare loop")),
        *(
            target
            for name, word in (("write", "one write"), ("lines", "prints"))
            for target in (
                Target(f"100 MB, {word}: lines lost", 0, largest(name, ours, "lost"), digits=0),
                Target(f"100 MB, {word}: rate ÷ bare loop's", 0.5, rate(name, ours, "bare loop"), least=True),
                Target(
                    f"100 MB, {word}: peak memory of the runner",
                    150,
                    largest(name, ours, "runner_mb"),
                    unit=" MB",
                    digits=0,
                ),
            )
        ),
        Target(
            "throughput of short notebooks, four at a time ÷ papermill's",
            5,
            rate("throughput", ours, "papermill", best=True),
            least=True,
            digits=1,
        ),
    ]


_MS: dict[str, Any] = {"unit": " ms", "digits": 1}


def beside(workload: str, ours: list[str], theirs: str, key: str = "seconds") -> Callable[[dict[str, Samples]], Found]:
    """The largest of the ratios of ours to theirs."""
    return lambda found: max(_ratios(found, workload, ours, theirs, key), default=None)


def rate(workload: str, ours: list[str], theirs: str, *, best: bool = False) -> Callable[[dict[str, Samples]], Found]:
    """How much faster ours is than theirs: the smallest such ratio, or the largest."""

    def figure(found: dict[str, Samples]) -> Found:
        rates = [(1 / value, name) for value, name in _ratios(found, workload, ours, theirs, "seconds")]
        return (max if best else min)(rates, default=None)

    return figure


def late(workload: str, ours: list[str], share: float) -> Callable[[dict[str, Samples]], Found]:
    """The largest of our percentiles, in milliseconds."""

    def figure(found: dict[str, Samples]) -> Found:
        samples = found.get(workload, {})
        all_of = ((delays(samples[name]), name) for name in ours if name in samples)
        return max(((percentile(values, share), name) for values, name in all_of if values), default=None)

    return figure


def largest(workload: str, ours: list[str], key: str) -> Callable[[dict[str, Samples]], Found]:
    """The largest figure of any round of ours; not measured if one of ours has none at all."""

    def figure(found: dict[str, Samples]) -> Found:
        samples = {name: values(of, key) for name, of in found.get(workload, {}).items() if name in ours and of}
        if not samples or not all(samples.values()):
            return None
        return max((max(of), name) for name, of in samples.items())

    return figure


def _ratios(
    found: dict[str, Samples], workload: str, ours: list[str], theirs: str, key: str
) -> list[tuple[float, str]]:
    samples = found.get(workload, {})
    pairs = ((ratio(samples[name], samples.get(theirs, []), key), name) for name in ours if name in samples)
    return [(value, name) for value, name in pairs if value is not None]
