"""A run's events as Server-Sent Events bring them: bytes → events with their lines, and following across breaks.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html. Each message's data is one line of the
run's event log, its id the event's ``seq``; lines that begin with a colon are heartbeats.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import orjson

from ..errors import GatewayError, UnreachableError
from ..events import Event, EventType
from .response import MOST_CONTENT, no_gateway
from .transport import NotNow, Outage, Transport

READ = 1 << 18
"""Most bytes taken from a connection at once."""

MAX_GAPS = 3
"""Times that a gap in a log is read again before it is an error."""

MAX_EMPTY = 5
"""Connections in a row that end without a new event before the run is looked at."""


class Line(NamedTuple):
    """An event and the line of the log that it stands in, line end included."""

    event: Event
    line: bytes


class SseParser:
    """Takes bytes as they come, cut anywhere, and gives the lines of whole messages."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._scanned = 0
        self._data: list[bytes] = []
        self._room = MOST_CONTENT

    def feed(self, content: bytes) -> list[Line]:
        """The events that are complete now.

        Raises ValueError for data that is no event, `UnreachableError` for an event that is larger than any.
        """
        self._rest += content
        found: list[Line] = []
        start = 0
        while (end := self._rest.find(b"\n", max(start, self._scanned))) >= 0:
            line = bytes(self._rest[start:end]).rstrip(b"\r")
            start = end + 1
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
                self._room -= len(line)
            elif not line and self._data:
                text = b"\n".join(self._data)
                self._data.clear()
                self._room = MOST_CONTENT
                found.append(_line(text))
        del self._rest[:start]
        self._scanned = len(self._rest)
        if self._scanned > self._room:
            raise no_gateway(f"an event of its stream is larger than {MOST_CONTENT >> 20} MiB")
        return found


def _line(text: bytes) -> Line:
    event = orjson.loads(text)
    if not isinstance(event, dict) or not isinstance(event.get("seq"), int) or "type" not in event:
        raise ValueError("not an event")
    return Line(event, text + b"\n")


class Follower:
    """The events of one run from a number on, each once and in order, over as many connections as it takes."""

    def __init__(self, transport: Transport, run: str, after: int = 0) -> None:
        self._transport = transport
        self._path = f"/api/v1/runs/{run}"
        self._run = run
        self._after = after
        self._gaps = 0
        self._finished = False

    def __iter__(self) -> Iterator[list[Line]]:
        """Batches of events as they arrive; ends after ``run_finished``.

        Raises `UnreachableError` when the gateway stays away for longer than the transport's patience,
        `NotFoundError` when there is no such run.
        """
        outage = Outage(self._transport)
        empty = 0
        is_over = False
        while True:
            before = self._after
            try:
                yield from self._connection(outage)
                trouble = NotNow(f"The connection to the gateway at {self._transport.url} ends again and again.")
                empty += 1
            except NotNow as error:
                trouble = error
            if self._finished or (is_over and empty and self._after == before):
                return
            if self._after > before:
                outage.over()
                empty = 0
            elif empty >= MAX_EMPTY:
                empty = 0
                is_over = self._has_ended()  # what was written until then is read once more
            outage.wait(trouble, trouble.retry_after)

    def _connection(self, outage: Outage) -> Iterator[list[Line]]:
        """The new events of one connection."""
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if self._after:
            headers["last-event-id"] = str(self._after)
        parser = SseParser()
        with self._transport.stream(f"{self._path}/events", query={"after": self._after}, headers=headers) as response:
            while content := response.read1(READ):
                outage.answered()
                try:
                    lines = parser.feed(content)
                except ValueError:
                    raise NotNow(f"The gateway at {self._transport.url} sent an event that can't be read.") from None
                if batch := self._new(lines):
                    yield batch
                if self._finished:
                    return

    def _new(self, lines: list[Line]) -> list[Line]:
        """Those not seen before. Raises `NotNow` at a gap, so that the log is read again from there."""
        batch: list[Line] = []
        for line in lines:
            seq = line.event["seq"]
            if seq <= self._after:
                continue
            if seq > self._after + 1:
                if batch:
                    break  # keep what came before; the rest comes again
                self._gaps += 1
                if self._gaps > MAX_GAPS:
                    raise GatewayError(
                        f"The gateway's log of run {self._run} lacks event {self._after + 1}. "
                        f"Look at {self._transport.url}/api/v1/runs/{self._run}/events?wait=0."
                    )
                raise NotNow(f"The gateway at {self._transport.url} left out an event.")
            self._after = seq
            batch.append(line)
            if line.event["type"] == EventType.RUN_FINISHED:
                self._finished = True
                break
        return batch

    def _has_ended(self) -> bool:
        """Whether the run is over although its log has no end, as after the gateway's disk was full."""
        try:
            view = self._transport.request("GET", self._path, patience=0.0).json()
        except UnreachableError:
            return False
        return view.get("finished") is not None
