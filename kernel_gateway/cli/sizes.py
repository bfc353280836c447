"""Sizes of memory, and numbers above 0, as options take them."""

from __future__ import annotations

import math
from typing import Any

import click

from ..errors import UsageError
from ..settings import parse_size


class Size(click.ParamType[int]):
    """Bytes of memory, written ``8G``, ``512M``, ``1.5GiB``, ``8GB`` or as a number."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes. Refuses what is no size, as any option does."""
        try:
            return parse_size(str(value), param.name if param is not None and param.name else "memory")
        except UsageError as error:
            self.fail(str(error), param, ctx)


class Positive(click.FloatRange):
    """A number above 0; an infinite one means no limit."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Refuses NaN too, which no comparison finds too small and no limit ever reaches."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not a number above 0.", param, ctx)
        return number
