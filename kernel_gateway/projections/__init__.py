"""Events → what people and other tools read. Every module here is pure: events in, text or bytes out.

A projection that is one text file stands in `PROJECTIONS`; to add one, write a class with ``feed`` and
``result`` in a file of its own and name it there. The console is live and the report is a folder of files,
so these two have shapes of their own. Any prefix of a log gives a valid result.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ..events import Event
from ..settings import Settings

if TYPE_CHECKING:
    from .bundles import Blobs
    from .console import Console
    from .metrics import MetricSummary, MetricTable
    from .report import Report


class Projection(Protocol):
    """Computes one result file from a run's events."""

    def feed(self, event: Event) -> None:
        """Take the next event of the log."""

    def result(self) -> str:
        """The file's text as of the events so far. Nothing is consumed; feeding may go on."""


Factory: TypeAlias = "Callable[[Settings, Blobs], Projection]"


def _made_by(module: str, name: str) -> Factory:
    """A projection whose module is imported when it is made: a run's first line waits for none of them."""

    def make(settings: Settings, blobs: Blobs) -> Projection:
        projection: Projection = getattr(import_module(f".{module}", __name__), name)(settings, blobs)
        return projection

    return make


PROJECTIONS: dict[str, Factory] = {
    "executed.ipynb": _made_by("notebook", "Notebook"),
    "metrics.json": _made_by("metrics", "Metrics"),
    "junit.xml": _made_by("junit", "JUnit"),
    "run.json": _made_by("run", "Run"),
}
"""Result file → what makes it. The command line feeds each with every event and writes its result."""

_CLASSES = {
    "Blobs": "bundles",
    "Console": "console",
    "MetricSummary": "metrics",
    "MetricTable": "metrics",
    "Report": "report",
}
"""What else is asked for here → its module."""


def __getattr__(name: str) -> Any:
    """One of `_CLASSES`, imported now that somebody asks for it. Raises AttributeError for any other name."""
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_CLASSES[name]}", __name__), name)


__all__ = [
    "PROJECTIONS",
    "Blobs",
    "Console",
    "Factory",
    "MetricSummary",
    "MetricTable",
    "Projection",
    "Report",
]
