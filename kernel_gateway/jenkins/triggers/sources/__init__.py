"""The kinds of conditions, each in a module of its own. `KINDS` is the one place that lists them."""

from __future__ import annotations

from ..evidence import Kind
from . import age, alias, code, data, drift, dvc, metric, sql, stream

KINDS: dict[str, Kind] = {
    "data": data.KIND,
    "dvc": dvc.KIND,
    "sql": sql.KIND,
    "alias": alias.KIND,
    "metric": metric.KIND,
    "drift": drift.KIND,
    "stream": stream.KIND,
    "age": age.KIND,
    "code": code.KIND,
}
"""The word in a ``triggers.yaml`` → what is behind it."""
