"""Kernel messages become events.

The one place where the Jupyter protocol's outputs are written down. Large values become blobs; metrics
are read off on the way.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from ..events import INLINE_LIMIT, STREAM_CHUNK, Event, EventSink, EventType, Status, encode_number
from ..kernels.messages import Message
from ..projections.metrics import FROM_GATEWAY, MAX_NAMES, RESOURCE_METRICS, MetricSummary
from .ending import Ending
from .masking import Masker
from .metrics import Finding, Metric, MetricReader
from .widgets import WidgetStates

_DISPLAYS = {
    "display_data": EventType.DISPLAY,
    "execute_result": EventType.RESULT,
    "update_display_data": EventType.DISPLAY_UPDATE,
}
_TEXT_IMAGES = ("image/svg+xml",)


class BlobSink(Protocol):
    """Keeps content by digest; `store.BlobStore` is the real one."""

    def put(self, content: bytes) -> str:
        """Keep content; returns its SHA-256, hexadecimal."""


class Outputs:
    """Writes what kernels say to the event sink.

    ``masker`` masks what goes to the blobs, which no sink sees. ``limit``: bytes of output that end the run.
    ``summaries`` are the metrics so far, for gates; ``widgets`` what notebooks save of ipywidgets.
    """

    def __init__(
        self, sink: EventSink, blobs: BlobSink, masker: Masker | None = None, limit: int | None = None
    ) -> None:
        self._sink = sink
        self._blobs = blobs
        self._masker = masker
        self._left = limit
        self._over = False
        self._metrics = MetricReader()
        self.summaries: dict[str, MetricSummary] = {}
        self._told_of_names = False
        self.widgets = WidgetStates()

    def message(self, message: Message, cell: int | None) -> None:
        """Write one iopub message that belongs to a cell. Messages that are no output are passed over."""
        content = message.content
        if message.type == "stream":
            self.stream(cell, str(content.get("name", "stdout")), str(content.get("text", "")))
        elif message.type in _DISPLAYS:
            self._display(_DISPLAYS[message.type], content, cell)
        elif message.type == "clear_output":
            self._sink.append(EventType.CLEAR_OUTPUT, cell=cell, wait=bool(content.get("wait")))
        elif message.type == "error":
            self.error(cell, content)
        elif message.type.startswith("comm_"):
            self.widgets.take(message.type, content)

    def _count(self, size: int) -> None:
        """Hold a run to its limit of output. What comes after that, while the run ends, is dropped."""
        if self._left is None:
            return
        self._left -= size
        if self._left < 0:
            self._over = True
            raise Ending(Status.FAILED, "The run put out more than this gateway allows (setting max_output_mb).")

    def stream(self, cell: int | None, name: str, text: str) -> None:
        """Write text of stdout or stderr, in pieces of at most `STREAM_CHUNK`. Raises `Ending` over the limit."""
        if self._over:
            return
        name = name if name == "stderr" else "stdout"
        for start in range(0, len(text), STREAM_CHUNK):
            fields: dict[str, Any] = {"cell": cell, "name": name, "text": text[start : start + STREAM_CHUNK]}
            self._sink.append(EventType.STREAM, **fields)
            self._read_metrics({"type": EventType.STREAM, **fields})
            self._count(len(fields["text"]))

    def finished(self, cell: int) -> None:
        """The end of a cell also ends its last line, which may hold a metric."""
        self._read_metrics({"type": EventType.CELL_FINISHED, "cell": cell})

    def error(self, cell: int | None, content: Mapping[str, Any]) -> None:
        """Write an error as the kernel gave it, or as we found it."""
        self._sink.append(
            EventType.ERROR,
            cell=cell,
            ename=str(content.get("ename") or ""),
            evalue=str(content.get("evalue") or ""),
            traceback=[str(line) for line in content.get("traceback") or []],
        )

    def findings(self, findings: list[Finding], cell: int | None = None) -> None:
        """Write metrics, and remarks about what looked like one."""
        for finding in findings:
            if isinstance(finding, Metric):
                self._summarise(finding)
                self._sink.append(
                    EventType.METRIC,
                    name=finding.name,
                    value=encode_number(finding.value),
                    step=finding.step,
                    cell=finding.cell if finding.cell is not None else cell,
                )
            else:
                self._sink.append(EventType.LOG, level="warning", message=finding.message)

    def measured(self, values: Mapping[str, float]) -> None:
        """Write what the gateway itself measured as metrics of the run."""
        for name in (name for name in RESOURCE_METRICS if name in values):
            self._summarise(Metric(name, values[name]))
            self._sink.append(
                EventType.METRIC, name=name, value=values[name], step=None, cell=None, source=FROM_GATEWAY
            )

    def _summarise(self, metric: Metric) -> None:
        summary = self.summaries.get(metric.name)
        if summary is None:
            if len(self.summaries) >= MAX_NAMES:
                self._warn_of_names()
                return
            summary = self.summaries[metric.name] = MetricSummary()
        summary.add(metric.value, metric.step)

    def _warn_of_names(self) -> None:
        if not self._told_of_names:
            self._told_of_names = True
            message = (
                f"This run has more than {MAX_NAMES:,} metric names; the others stand in events.jsonl only, and gates "
                "can't see them. Is a step or an id part of the name? Print it as step=…"
            )
            self._sink.append(EventType.LOG, level="warning", message=message)

    def display(self, data: dict[str, Any], cell: int | None) -> None:
        """Write a display of our own making."""
        self._display(EventType.DISPLAY, {"data": data}, cell)

    def _display(self, type: EventType, content: Mapping[str, Any], cell: int | None) -> None:
        if self._over:
            return
        data = _table(content.get("data"))
        display_id = _table(content.get("transient")).get("display_id")
        whole: Event = {"cell": cell, "data": data, "metadata": _table(content.get("metadata"))}
        inline, blobs = self._store_large(data)
        fields = whole | {"data": inline, "blobs": blobs, "display_id": None if display_id is None else str(display_id)}
        if type == EventType.RESULT:
            fields["execution_count"] = content.get("execution_count")
        self._sink.append(type, **fields)
        self._read_metrics({"type": type, **whole})

    def _read_metrics(self, event: Event) -> None:
        if findings := self._metrics.feed(event):
            self.findings(findings)

    def _store_large(self, data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        inline: dict[str, Any] = {}
        blobs: dict[str, Any] = {}
        for mime, value in (self._masker.mask_bundle(data) if self._masker else data).items():
            content, encoding = as_bytes(mime, value)
            if len(content) <= INLINE_LIMIT and not (isinstance(value, str) and len(value) > INLINE_LIMIT):
                inline[mime] = value
            else:
                blobs[mime] = {"sha256": self._blobs.put(content), "size": len(content), "encoding": encoding}
            self._count(len(content))
        return inline, blobs


def _table(value: Any) -> dict[str, Any]:
    """A part of a message that the protocol has as an object: whatever else a program sends there is nothing."""
    return dict(value) if isinstance(value, dict) else {}


def as_bytes(mime: str, value: Any) -> tuple[bytes, str]:
    """A MIME bundle's value as a file would hold it, and how to get back: ``utf-8``, ``base64`` or ``json``."""
    if not isinstance(value, str):
        try:
            return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS), "json"
        except TypeError:  # a number of more than 64 bits, half of a character
            return json.dumps(value).encode(), "json"
    if mime.startswith(("image/", "audio/", "video/", "application/pdf")) and mime not in _TEXT_IMAGES:
        try:
            return base64.b64decode("".join(value.split()), validate=True), "base64"
        except (binascii.Error, ValueError):
            pass  # text all the same
    return value.encode("utf-8", "replace"), "utf-8"
