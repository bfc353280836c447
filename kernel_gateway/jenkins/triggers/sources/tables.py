"""Tables of rows, as the kinds that look into data read them: CSV and Parquet, here or behind a URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from ..evidence import Unreadable
from .data import is_url, local_files, remote_files, shown_place

if TYPE_CHECKING:
    from pandas import DataFrame

NEEDS = 'looking into data takes pandas and SciPy: pip install "kernel-gateway[triggers]"'
PARQUET = (".parquet", ".pq")


def read_table(places: list[str], folder: str) -> DataFrame:
    """The rows of all files that paths, patterns and URLs mean, one behind the other. Raises `Unreadable`."""
    try:
        import pandas
    except ModuleNotFoundError:
        raise Unreadable(NEEDS) from None
    parts = []
    for place in places:
        for path, opened in _files(place, folder):
            read = pandas.read_parquet if path.lower().endswith(PARQUET) else pandas.read_csv
            try:
                with opened() as file:
                    parts.append(read(file))
            except FileNotFoundError:
                raise Unreadable(f"there is no file {shown_place(path)}") from None
            except Exception as error:
                reason = shown_place(" ".join(str(error).split())[:150])
                raise Unreadable(f"{shown_place(path)} can't be read as CSV or Parquet: {reason}") from error
    table = pandas.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    table.columns = table.columns.astype(str)
    if not table.columns.is_unique:
        raise Unreadable(f"{shown_place(places[0])} has several columns of one name")
    return table


def _files(place: str, folder: str) -> Iterator[tuple[str, Callable[[], AbstractContextManager[Any]]]]:
    """Name of each file, and how it is opened."""
    if is_url(place):
        files, infos = remote_files(place)
        for info in infos:
            name = str(info["name"])
            yield name, partial(files.open, name, "rb", compression=None if name.lower().endswith(PARQUET) else "infer")
    else:
        for path in local_files(place, folder):
            # A path of its own, so that pandas sees how it is compressed.
            yield str(path), partial(nullcontext, path)


def check_columns(table: DataFrame, columns: list[str], place: str) -> None:
    """Raises `Unreadable` for a column that isn't there."""
    for column in columns:
        if column not in table:
            known = ", ".join(map(repr, table.columns[:10])) + (" …" if len(table.columns) > 10 else "")
            raise Unreadable(f"{place} has no column {column!r}; it has {known}")
