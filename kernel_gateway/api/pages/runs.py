"""``/``: the runs, newest first, and the agent that executes them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Response, render_template, request

from ...errors import UsageError
from ...events import Status
from ..auth import scope
from ..runs import runs_page
from ..service import ALIVE_SECONDS, gateway
from .blueprint import pages

PAGE = 50
"""Runs on a page."""

FILTERS = ("text", "name", "status", "build")
LONGEST_FILTER = 500


@pages.get("/")
@scope("read")
def index() -> str:
    """The list."""
    return render_template("pages/runs.html", **_listing())


@pages.get("/runs/fragment")
@scope("read")
def index_fragment() -> Response:
    """The list's changing parts, for the script of the page, which asks every few seconds.

    Short questions rather than a stream: a stream takes a thread of a web worker for as long as a tab is open, and
    some dozens of tabs would leave none for anything else. An answer that is the last one over again is a bare 304.
    """
    return conditional(render_template("pages/_runs.html", **_listing()))


def conditional(content: str) -> Response:
    """An answer that becomes 304 for who has it already."""
    response = Response(content)
    response.add_etag()
    response.make_conditional(request)
    return response


def _listing() -> dict[str, Any]:
    service = gateway()
    chosen = {name: request.args.get(name, "").strip() for name in FILTERS}
    if any(len(value) > LONGEST_FILTER for value in chosen.values()):
        raise UsageError(f"A filter has at most {LONGEST_FILTER} characters.")
    if chosen["status"] and chosen["status"] not in [*Status]:
        raise UsageError(f"There is no status {chosen['status']!r}. There is: {', '.join(Status)}.", field="status")
    cursor = request.args.get("cursor") or None
    given = {name: value for name, value in chosen.items() if value}
    records, following = runs_page(**given, limit=PAGE, cursor=cursor)
    counts = service.runs.counts()
    return {
        "records": records,
        "places": service.runs.queue_places(records),
        "chosen": chosen,
        "is_filtered": bool(given),
        "query": urlencode(given | ({"cursor": cursor} if cursor else {})),
        "first_page": "/?" + urlencode(given) if cursor else None,
        "next_page": "/?" + urlencode({**given, "cursor": following}) if following else None,
        "live": any(not record.status.is_final for record in records),
        "queued": counts[Status.QUEUED],
        "agent": agent_state(),
    }


def agent_state() -> dict[str, Any] | None:
    """The agent for people: who holds which GPU, and how many kernels are kept warm, if it says so."""
    state = gateway().agent()
    if state is None:
        return None
    gpus = state.get("gpus")
    return {
        "name": state.get("name") or "this machine",
        "alive": state["age"] < ALIVE_SECONDS,
        "slots": state.get("slots") or 0,
        "busy": state.get("busy") or 0,
        "labels": state.get("labels") or [],
        "gpus": gpus if isinstance(gpus, dict) else {},
        "names": {record.id: record.name for record in gateway().runs.active()} if gpus else {},
        "pool": _pool(state.get("pool")),
    }


def _pool(pool: Any) -> list[dict[str, str]]:
    """The kernels that are kept warm, as chips of the page: ``name``, ``count``, and a ``problem`` if there is one."""
    shown = []
    for shelf in pool if isinstance(pool, list) else []:
        if not isinstance(shelf, dict):
            continue
        name = " with ".join(str(shelf[part]) for part in ("kernel", "env") if shelf.get(part))
        count = f"{shelf.get('idle') or 0} of {shelf.get('target') or 0} ready"
        if shelf.get("starting"):
            count += f", {shelf['starting']} starting"
        shown.append({"name": name, "count": count, "problem": str(shelf.get("problem") or "")})
    return shown
