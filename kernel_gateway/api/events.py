"""``GET /runs/{id}/events``: a run's events as they come, or those that are there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from sqlalchemy.exc import SQLAlchemyError

from ..errors import NotFoundError
from ..events import Event, EventType, Status
from ..store.eventlog import LogReader, encode
from .auth import scope
from .problems import answers
from .schemas import PREFIX, EventsHeader, EventsQuery, RunPath
from .service import Gateway, gateway

BATCH_SECONDS = 0.002
"""What comes so soon after a batch waits for the next one: under load, followers get more events at a time."""

PROBE_SECONDS = 0.01
"""How long after the first piece of a heartbeat the second is sent."""

HEARTBEAT_SECONDS = 10.0
"""After how much silence a comment is sent: it keeps proxies from hanging up, and shows that a client is gone."""

RECONNECT_MS = 1000
"""How long a browser waits before it connects again."""

JSON_LINES = "application/jsonl"

MESSAGE = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    "required": ["id", "event", "data"],
}

stream = APIBlueprint(
    "events",
    __name__,
    url_prefix=PREFIX,
    abp_tags=[Tag(name="runs")],
    abp_security=[{"token": []}],
    abp_responses=answers(404),
)


@stream.get(
    "/runs/<id>/events",
    responses={
        "200": {
            "description": "Events as Server-Sent Events (`id` is `seq`, `event` the type, `data` the event), "
            "or with `wait=0` as JSON lines.",
            "content": {
                "text/event-stream": {"schema": MESSAGE},
                JSON_LINES: {"schema": {"type": "string"}},
            },
        }
    },
)
@scope("read")
def follow(path: RunPath, query: EventsQuery, header: EventsHeader) -> Response:
    """A run's events, from the first or after a given one.

    With `wait=1` they come as they happen, until `run_finished`; every 10 seconds of silence bring a comment.
    """
    after = query.after if query.after is not None else header.last or 0
    service = gateway()
    log = LogReader(service.log(path.id), after)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if not query.wait:
        return Response(json_lines(log), mimetype=JSON_LINES, headers=headers)
    messages = server_sent(log, lambda: has_ended(service, path.id))
    return Response(messages, mimetype="text/event-stream", headers=headers)


def json_lines(log: LogReader) -> Iterator[bytes]:
    """What a log holds now, in pieces."""
    with log:
        while events := log.read():
            yield b"".join(map(encode, events))


def server_sent(log: LogReader, ended: Callable[[], bool]) -> Iterator[bytes]:
    """A log as Server-Sent Events, followed until its ``run_finished``.

    `ended` tells whether the run is over. It is asked at first, for a reader who saw the end already, and at
    heartbeats, for a log that doesn't say so, e.g. since the disk was full.
    """
    last_sent = time.monotonic()
    over: bool | None = None
    with log:
        yield b"retry: %d\n\n" % RECONNECT_MS  # so that the headers go out at once
        while True:
            if events := log.read():
                yield b"".join(map(message, events))
                if events[-1]["type"] == EventType.RUN_FINISHED:
                    return
                time.sleep(max(0.0, BATCH_SECONDS - (time.monotonic() - last_sent)))
                last_sent = time.monotonic()
            elif over:
                return
            elif over is None:
                over = ended()  # asked before the log is read again: what was written until then is sent
            elif time.monotonic() - last_sent >= HEARTBEAT_SECONDS:
                yield b": ping\n"
                # The first write to a connection that its reader has closed succeeds; the second one tells.
                time.sleep(PROBE_SECONDS)
                yield b"\n"
                last_sent = time.monotonic()
                over = log.is_deleted or ended()
            else:
                log.wait(HEARTBEAT_SECONDS - (time.monotonic() - last_sent))


def message(event: Event) -> bytes:
    """An event as a message of the stream. Its JSON has no line feeds but the one at its end."""
    return b"id: %d\nevent: %s\ndata: %s\n" % (event["seq"], event["type"].encode(), encode(event))


def has_ended(service: Gateway, id: str) -> bool:
    """Whether a run has ended, or is not there any more, as far as the database can be asked."""
    try:
        return Status(service.run(id).status).is_final
    except NotFoundError:
        return True
    except SQLAlchemyError:
        return False
