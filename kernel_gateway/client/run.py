"""A run as a gateway tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..events import Status
from .response import no_gateway


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a gateway at the time it was asked for. Times are RFC 3339 in UTC, None until they come.

    ``exit_code`` is that of `kernel-gateway run`. ``retried_as`` is the run that took this one's place after it
    was lost. ``links`` are paths below the gateway's URL. ``raw`` holds all that the gateway said.
    """

    id: str
    name: str = ""
    status: str = Status.QUEUED
    reason: str = ""
    exit_code: int | None = None
    created: str | None = None
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    priority: int = 0
    gpus: int = 0
    label: str | None = None
    kernel: str | None = None
    token: str | None = None
    build: Mapping[str, Any] | None = None
    attempt: int = 1
    retry_of: str | None = None
    retried_as: str | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_dict(cls, view: Mapping[str, Any]) -> Run:
        """The run that a gateway's answer describes; what this version doesn't know stays in ``raw``.

        Raises `UnreachableError` for what describes none.
        """
        if not isinstance(view.get("id"), str):
            raise no_gateway("its answer has no run's id")
        known = {item.name for item in fields(cls)} - {"raw"}
        return cls(
            **{name: value for name, value in view.items() if name in known and value is not None}, raw=dict(view)
        )

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended."""
        try:
            return Status(self.status).is_final
        except ValueError:
            return self.finished is not None

    @property
    def succeeded(self) -> bool:
        """Whether all cells ran and all gates are met."""
        return self.status == Status.SUCCEEDED
