"""``alias``: a registered model's alias in MLflow that has moved to another version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....tracking.mlflow_client import Missing
from ..evidence import Context, Evidence, Kind, Unreadable
from ..values import Schema, model


def read(settings: Mapping[str, Any], context: Context) -> Evidence:
    """The version that the alias means now."""
    try:
        version = context.catalogue().version(settings["alias"]).version
    except Missing as error:
        # MLflow tells an alias that is not there as it tells a wrong server: nobody should be started for that.
        raise Unreadable(f"{settings['alias']}: {error}") from error
    return Evidence(version, f"version {version}")


def alias(value: Any) -> str:
    """``models:/NAME@ALIAS``; a version's number never moves."""
    if "@" not in model(value):
        raise ValueError(f"is {value!r}; a version does not move, write models:/NAME@ALIAS")
    return str(value)


KIND = Kind(Schema(alias), lambda settings: f"alias {settings['alias']}", read)
