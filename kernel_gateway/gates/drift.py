"""How new data are compared with those of before: two-sample tests for each column, and the population stability index.

The same functions stand in the ready-made notebook ``gate:drift``, which runs in environments without this package; a
test holds the two together. Heavy to import: pandas and SciPy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency, false_discovery_control, ks_2samp

FEW = 5
"""The chi-square test wants at least so many expected values in each category."""


def kind_of(old: Any, new: Any) -> str:
    """How a column is compared: as numbers if both files have such, else as texts."""
    return "number" if all(part.dtype.kind in "iuf" for part in (old, new)) else "text"


def counts_of(old: Any, new: Any) -> Any:
    """How often each category comes in either, as an array of two rows; missing values are left out."""
    both = pd.concat(
        [old.astype(str).where(old.notna()).value_counts(), new.astype(str).where(new.notna()).value_counts()], axis=1
    )
    return both.fillna(0).to_numpy().T


def p_of_counts(counts: Any) -> float:
    """The chi-square test; rare categories count as one. 1 where there is nothing to compare."""
    counts = counts[:, counts.sum(axis=0) > 0]
    expected = counts.sum(axis=0) * min(counts.sum(axis=1)) / max(counts.sum(), 1)
    rare = expected < FEW
    if rare.sum() > 1:
        counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    if counts.shape[1] < 2 or not counts.sum(axis=1).all():
        return 1.0
    return float(chi2_contingency(counts, correction=False).pvalue)


def psi_of_counts(counts: Any) -> float:
    """The population stability index; half a row stands in for none, so that it stays finite."""
    shares = np.maximum(counts, 0.5) / counts.sum(axis=1, keepdims=True)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def psi_of(old: Any, new: Any, bins: int) -> float:
    """The PSI of a column; missing values are a part of their own."""
    missing = np.array([[old.isna().sum()], [new.isna().sum()]])
    if kind_of(old, new) == "number":
        edges = np.unique(old.quantile(np.linspace(0, 1, bins + 1)[1:-1]).dropna())
        counts = np.array(
            [
                np.bincount(np.searchsorted(edges, part.dropna(), side="left"), minlength=len(edges) + 1)
                for part in (old, new)
            ]
        )
    else:
        counts = counts_of(old, new)
    counts = np.column_stack([counts, missing])
    return psi_of_counts(counts[:, counts.sum(axis=0) > 0])


def tests_of(name: str, old: Any, new: Any) -> Iterator[tuple[str, str, str, float]]:
    """The tests of one column: its name, what was compared, the test, its p-value."""
    gone = [int(part.isna().sum()) for part in (old, new)]
    if any(gone):
        counts = np.array([[missing, len(part) - missing] for missing, part in zip(gone, (old, new), strict=True)])
        yield name, "missing values", "chi-square", p_of_counts(counts)
    if any(missing == len(part) for missing, part in zip(gone, (old, new), strict=True)):
        return
    if kind_of(old, new) == "number":
        yield name, "values", "Kolmogorov–Smirnov", float(ks_2samp(old.dropna(), new.dropna(), method="auto").pvalue)
    else:
        yield name, "values", "chi-square", p_of_counts(counts_of(old, new))


def compare(before: Any, after: Any, names: Sequence[str], alpha: float, limit: float, bins: int) -> Any:
    """All tests of all columns, with corrected p-values, and whether the column has drifted, as a table.

    ``before`` and ``after`` are tables of pandas. A column has drifted if its p-value, corrected for the number of
    tests (Benjamini and Hochberg), is below ``alpha``, and its PSI over ``bins`` parts is at least ``limit``.
    """
    found = [test for name in names for test in tests_of(name, before[name], after[name])]
    made = pd.DataFrame(found, columns=["column", "compared", "test", "p"])
    made["p corrected"] = false_discovery_control(made["p"].to_numpy())
    made["psi"] = made["column"].map({name: psi_of(before[name], after[name], bins) for name in names})
    made["drifted"] = (made["p corrected"] < alpha) & (made["psi"] >= limit)
    return made.sort_values(["drifted", "psi"], ascending=False, ignore_index=True)
