"""Events → what people and other tools read. Every module here is pure: events in, text or bytes out.

A projection that is one text file stands in `PROJECTIONS`; to add one, write a class with ``feed`` and
``result`` in a file of its own and name it there. The console is live and the report is a folder of files,
so these two have shapes of their own. Any prefix of a log gives a valid result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..events import Event
from ..settings import Settings
from .bundles import Blobs
from .console import Console
from .junit import JUnit
from .metrics import Metrics, MetricSummary, MetricTable
from .notebook import Notebook
from .report import Report
from .run import Run


class Projection(Protocol):
    """Computes one result file from a run's events."""

    def feed(self, event: Event) -> None:
        """Take the next event of the log."""

    def result(self) -> str:
        """The file's text as of the events so far. Nothing is consumed; feeding may go on."""


Factory = Callable[[Settings, Blobs], Projection]

PROJECTIONS: dict[str, Factory] = {
    "executed.ipynb": Notebook,
    "metrics.json": Metrics,
    "junit.xml": JUnit,
    "run.json": Run,
}
"""Result file → what makes it. The command line feeds each with every event and writes its result."""

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
