"""``drift``: new data that no longer look like the data which the model was trained with, column by column."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..evidence import Context, Evidence, Kind, Unreadable
from ..values import Schema, model, number, share, text, texts, whole
from .data import shown_place
from .tables import NEEDS, check_columns, read_table

if TYPE_CHECKING:
    from pandas import DataFrame

ALPHA = 0.0005
"""The corrected p-value below which a difference is no chance: of 20 checks of data that have not drifted one or more
ring falsely with a probability of 20 × 0.0005 = 1% at most, whatever the number of columns.
"""

LIMIT = 0.1
BINS = 10
SMALLEST = 100

REFERENCE = "artifacts/reference.csv"
"""Where a training run keeps the data to compare with, in its MLflow run: an ``--artifact reference.csv``."""


def read(settings: Mapping[str, Any], context: Context) -> Evidence:
    """Compare the two."""
    try:
        from ....gates import drift
    except ModuleNotFoundError:
        raise Unreadable(NEEDS) from None
    after = read_table(settings["drift"], context.folder)
    before = _reference(settings, context)
    smallest = settings.get("smallest", SMALLEST)
    for name, rows in (("the reference", before), ("the new data", after)):
        if len(rows) < smallest:
            raise Unreadable(f"{name}: {len(rows)} rows are too few to compare, at least {smallest} are needed")
    names = _columns(settings, before, after)
    compared = drift.compare(
        before, after, names, settings.get("alpha", ALPHA), settings.get("limit", LIMIT), settings.get("bins", BINS)
    )
    drifted = list(dict.fromkeys(compared.loc[compared["drifted"], "column"]))
    largest = compared.iloc[compared["psi"].to_numpy().argmax()]
    shown = f"{len(after):,} rows, {len(drifted)} of {len(names)} columns drifted"
    if drifted:
        psi = compared.groupby("column")["psi"].first()
        why = "drifted: " + ", ".join(f"{name} (PSI {psi[name]:.2f})" for name in drifted[:5])
        why += f" and {len(drifted) - 5} more" if len(drifted) > 5 else ""
    else:
        why = f"the largest PSI is {largest['psi']:.2f}, of {largest['column']}"
    return Evidence(f"{_digest(before, names)} {_digest(after, names)}", shown, bool(drifted), why)


def _reference(settings: Mapping[str, Any], context: Context) -> DataFrame:
    place = settings["reference"]
    if not place.startswith(("models:/", "runs:/")):
        return read_table([place], context.folder)
    with tempfile.TemporaryDirectory(prefix="kernel-gateway-reference-") as folder:
        file = context.catalogue().download(place, settings.get("artifact", REFERENCE), Path(folder))
        return read_table([str(file)], folder)


def _columns(settings: Mapping[str, Any], before: DataFrame, after: DataFrame) -> list[str]:
    ignored = set(settings.get("ignore", ()))
    if misspelt := sorted(ignored.difference(before, after)):
        check_columns(after, misspelt, "the new data")
    if "columns" in settings:
        check_columns(before, settings["columns"], "the reference")
        check_columns(after, settings["columns"], "the new data")
        names = list(dict.fromkeys(settings["columns"]))
    else:
        names = [name for name in before if name in after]
    names = [name for name in names if name not in ignored]
    if not names:
        raise Unreadable("the two have no column in common that is not ignored")
    return names


def _digest(table: DataFrame, names: list[str]) -> str:
    import pandas

    rows = pandas.util.hash_pandas_object(table[names].astype(str), index=False)
    return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()[:32]


def reference(value: Any) -> str:
    """A file, a URL, ``runs:/ID`` or a registered model."""
    return model(value) if text(value).startswith("models:") else str(value)


KIND = Kind(
    Schema(
        texts,
        {
            "reference": reference,
            "artifact": text,
            "columns": texts,
            "ignore": texts,
            "alpha": share,
            "limit": number,
            "bins": whole(2, 1000),
            "smallest": whole(30),
        },
        needed=("reference",),
    ),
    lambda settings: (
        f"drift of {', '.join(map(shown_place, settings['drift']))} from {shown_place(settings['reference'])}"
    ),
    read,
)
