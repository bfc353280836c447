"""A program: the source as an ordered list of cells. What readers make and the runner executes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

CellType = Literal["code", "markdown", "raw"]


@dataclass(kw_only=True)
class Cell:
    """One cell. ``kernel`` is a kernel as the author named it (kernelspec, display or language name),
    or None for the program's own; the runner resolves it against the installed kernelspecs.
    """

    id: str
    type: CellType
    source: str
    kernel: str | None = None
    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    attachments: dict[str, Any] | None = None

    @property
    def tags(self) -> list[str]:
        """The cell's tags, as in Jupyter's ``metadata.tags``."""
        tags = self.metadata.get("tags")
        return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []

    @property
    def is_executable(self) -> bool:
        """Whether there is anything for a kernel to do: code, not blank, not tagged ``skip-execution``."""
        return self.type == "code" and bool(self.source.strip()) and "skip-execution" not in self.tags


@dataclass(kw_only=True)
class Program:
    """A source as cells. ``kernel`` is the kernelspec name that the source itself gives, ``language``
    its language (lower case, as kernelspecs spell it); either may be None. ``digest`` is
    ``sha256:<hex>`` of the source's bytes. ``gates`` are those that its metadata asks for,
    ``environment`` the packages: ``file``, or ``dependencies`` and ``requires-python``.
    """

    name: str
    path: str | None
    format: str
    digest: str
    cells: list[Cell]
    kernel: str | None = None
    language: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    gates: list[str] = field(default_factory=list)
    environment: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Program:
        """The program of a ``run_queued`` event. Raises TypeError for what `to_dict` did not write."""
        return cls(**{**data, "cells": [Cell(**cell) for cell in data["cells"]]})

    def to_dict(self) -> dict[str, Any]:
        """The program as the ``run_queued`` event carries it."""
        return asdict(self)
