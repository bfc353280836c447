"""``stream``: a column of rows in order of time whose mean has changed since the last start, by river's ADWIN.

ADWIN (Bifet and Gavaldà, SIAM 2007) keeps a window over a stream and cuts it where the means of the two parts differ
by more than chance allows; ``delta`` bounds the probability of a false cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..evidence import Context, Evidence, Kind, Unreadable
from ..values import Schema, share, text, texts
from .data import shown_place
from .tables import check_columns, read_table

DELTA = 0.0005

WARM_ROWS = 1000
"""Rows before the last start that the new ones are compared with."""


def read(settings: Mapping[str, Any], context: Context) -> Evidence:
    """Go through the rows that came since the last start. A file that has become shorter is a new stream."""
    try:
        from river.drift import ADWIN
    except ModuleNotFoundError:
        raise Unreadable('streams take river: pip install "kernel-gateway[triggers]"') from None
    column = settings["column"]
    table = read_table(settings["stream"], context.folder)
    check_columns(table, [column], shown_place(settings["stream"][0]))
    values = table[column].dropna()
    if values.dtype.kind not in "iufb":
        raise Unreadable(f"the column {column!r} holds no numbers")
    rows = len(values)
    shown, data = f"{rows:,} rows", {"rows": rows}
    if context.basis is None:
        return Evidence(f"from {rows}", shown, data=data)
    begin = int(context.basis.data.get("rows") or 0)
    begin = begin if begin <= rows else 0
    warm = max(0, begin - WARM_ROWS)
    detector = ADWIN(delta=settings.get("delta", DELTA))
    for row, value in enumerate(values.iloc[warm:].to_numpy(dtype=float), warm):
        before = detector.estimation
        detector.update(value)
        if detector.drift_detected and row >= begin:
            why = f"the mean has changed by row {row + 1:,}: {before:g} before, {detector.estimation:g} now"
            return Evidence(f"{begin} {row}", shown, True, why, data)
    return Evidence(f"{begin} none", shown, False, f"no change in the last {rows - begin:,} rows", data)


KIND = Kind(
    Schema(texts, {"column": text, "delta": share}, needed=("column",)),
    lambda settings: f"stream {settings['column']} of {', '.join(map(shown_place, settings['stream']))}",
    read,
)
