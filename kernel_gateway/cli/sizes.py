"""Sizes of memory as options take them."""

from __future__ import annotations

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
