"""What a source says of itself at one moment, and what it may use to find that out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...tracking.catalogue import Catalogue
    from .builds import Builds
    from .values import Schema


class Unreadable(Exception):
    """A source can't be read now. The text says why; it never starts anything."""


@dataclass(frozen=True)
class Evidence:
    """What there is. Evidence with the token of that which was acted on is no reason to act again.

    ``shown`` is it in a few words. ``met``: whether the source's own condition holds; None where any change counts.
    ``is_change``: a change all the same, which has to rest. ``why``: that in words. ``data``: what the source wants to
    find again at its next look, as JSON.
    """

    token: str
    shown: str
    met: bool | None = None
    why: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    is_change: bool = False


@dataclass
class Context:
    """Where a source is looked at. ``basis``: the evidence last acted on, or found first; ``latest``: the last found.

    ``now``: seconds since 1970. ``builds`` and ``catalogue`` connect to Jenkins and MLflow when they are called, and
    raise `GatewayError` or `Unreadable` where there is none. ``gateway_success``: when a gateway's last successful
    run of a name ended, in seconds since 1970, or None; raises the same.
    """

    folder: str
    environ: Mapping[str, str]
    now: float
    job: str
    builds: Callable[[], Builds]
    catalogue: Callable[[], Catalogue]
    gateway_success: Callable[[str], float | None]
    basis: Evidence | None = None
    latest: Evidence | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of condition. ``schema``: its fields; ``title``: what it watches, in words, of its settings;
    ``read``: look at it. That raises `Unreadable`, or `GatewayError` with a sentence, or what its libraries raise.
    ``title`` raises ValueError for settings that can't go together.
    """

    schema: Schema
    title: Callable[[Mapping[str, Any]], str]
    read: Callable[[Mapping[str, Any], Context], Evidence]
