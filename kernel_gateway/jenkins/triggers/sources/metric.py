"""``metric``: a metric of monitored runs in MLflow, below or above a bound, or with a trend over the last runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..evidence import Context, Evidence, Kind, Unreadable
from ..values import Schema, number, share, text, whole

P = 0.01
"""The p-value from which on a trend is no chance."""

FEWEST = 5
"""Runs of which a trend can be told with a p-value of 0.01: with four in strict order it is 0.042."""


def read(settings: Mapping[str, Any], context: Context) -> Evidence:
    """The values of the last runs, and what they say."""
    name, experiment = settings["metric"], settings["experiment"]
    over = settings.get("falling") or settings.get("rising") or 1
    points = context.catalogue().last_values(experiment, name, over, settings.get("filter", ""))
    if not points:
        raise Unreadable(f"no run of the experiment {experiment!r} has a metric {name!r}")
    values = [value for _, value in points]
    token, latest = points[-1][0], values[-1]
    shown = f"{latest:g}" if over == 1 else f"{len(values)} runs, {values[0]:g} … {latest:g}"
    if "below" in settings:
        met, why = latest < settings["below"], f"the bound is {settings['below']:g}"
    elif "above" in settings:
        met, why = latest > settings["above"], f"the bound is {settings['above']:g}"
    elif len(values) < over:
        met, why = False, f"{len(values)} of {over} runs yet"
    else:
        p, limit = trend(values, falling="falling" in settings), settings.get("p", P)
        met, why = p < limit, f"Mann–Kendall test, p {'=' if p >= 0.0001 else '<'} {max(p, 0.0001):.2g}"
    return Evidence(token, shown, met, why)


def trend(values: Sequence[float], *, falling: bool) -> float:
    """The p-value of the Mann–Kendall test for a monotonic trend, one-sided; 1 where all values are the same.

    Kendall's tau between values and their order is that test (Mann, Econometrica 13, 1945); exact where no two
    values are equal.
    """
    from scipy.stats import kendalltau

    if len(set(values)) < 2:
        return 1.0
    return float(kendalltau(range(len(values)), values, alternative="less" if falling else "greater").pvalue)


def _title(settings: Mapping[str, Any]) -> str:
    what = next(name for name in ("below", "above", "falling", "rising") if name in settings)
    bound = f"{what} {settings[what]:g}" if what in ("below", "above") else f"{what} over {settings[what]} runs"
    if "p" in settings and what in ("below", "above"):
        raise ValueError("'p' belongs to 'falling' and 'rising'")
    return f"metric {settings['metric']} of {settings['experiment']} {bound}"


KIND = Kind(
    Schema(
        text,
        {
            "experiment": text,
            "filter": text,
            "below": number,
            "above": number,
            "falling": whole(FEWEST, 10_000),
            "rising": whole(FEWEST, 10_000),
            "p": share,
        },
        needed=("experiment",),
        one_of=("below", "above", "falling", "rising"),
    ),
    _title,
    read,
)
