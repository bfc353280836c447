"""``/``: the runs, newest first, and the agent that executes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from flask import Response, render_template, request

from ...errors import UsageError
from ...events import Status
from ...projections.text import size_text
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
        "elsewhere": list(map(str, elsewhere)) if isinstance(elsewhere := state.get("elsewhere"), list) else [],
        "free": [
            *_free("CPUs", state.get("cpus"), lambda number: f"{number:g}"),
            *_free("Memory", state.get("memory"), lambda number: size_text(int(number))),
        ],
        "holders": _holders(state.get("holders")),
        "names": {record.id: record.name for record in gateway().runs.active()} if gpus or state.get("busy") else {},
        "pool": _pool(state.get("pool")),
    }


def _free(name: str, amount: Any, write: Callable[[float], str]) -> list[dict[str, str]]:
    """A chip that says how much of something is free for runs that ask for it."""
    free, total = (amount.get("free"), amount.get("total")) if isinstance(amount, dict) else (None, None)
    if not isinstance(free, int | float) or not isinstance(total, int | float):
        return []
    return [{"name": name, "count": f"{write(free)} of {write(total)} free"}]


def _holders(holders: Any) -> list[dict[str, str]]:
    """The runs that hold CPUs or memory, and how much; GPUs have chips of their own."""
    shown = []
    for holder in holders if isinstance(holders, list) else []:
        if not isinstance(holder, dict):
            continue
        cpus, memory = holder.get("cpus"), holder.get("memory")
        parts = [f"{cpus:g} CPUs"] if isinstance(cpus, int | float) and cpus else []
        parts += [size_text(memory)] if isinstance(memory, int) and memory else []
        if parts:
            shown.append({"run": str(holder.get("run")), "share": ", ".join(parts)})
    return shown


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
