"""``/runs``: submit, list, show, cancel, run again."""

from __future__ import annotations

from flask import Response, g
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from sqlalchemy.exc import StatementError

from ..errors import NotFoundError, UsageError
from ..events import Status
from ..store.runs import RunRecord
from .answers import json_answer
from .auth import scope
from .problems import answers
from .rerun import rerun
from .schemas import PREFIX, IdempotencyHeader, ListQuery, RunList, RunPath, RunRequest, RunView
from .service import gateway
from .submit import submit

runs = APIBlueprint(
    "runs",
    __name__,
    url_prefix=PREFIX,
    abp_tags=[Tag(name="runs", description="Runs: submit, follow, cancel.")],
    abp_security=[{"token": []}],
    abp_responses=answers(),
)


@runs.post("/runs", responses={"200": RunView, "201": RunView, **answers(409, 413, 415, 429, 507)})
@scope("run")
def create(header: IdempotencyHeader, body: RunRequest) -> Response:
    """Submit a run.

    201 with its Location; 200 with the same run for a repeat under the same `Idempotency-Key`.
    """
    record, created = submit(gateway(), body, token=g.token.name, key=header.key)
    view = RunView.of(record)
    return json_answer(view, 201 if created else 200, {"Location": view.links.self})


@runs.get("/runs", responses={"200": RunList})
@scope("read")
def list_runs(query: ListQuery) -> Response:
    """The runs, newest first, a page at a time."""
    records, cursor = runs_page(
        name=query.name,
        status=query.status.value if query.status is not None else None,
        build=query.build,
        limit=query.limit,
        cursor=query.cursor,
    )
    return json_answer(RunList(runs=[RunView.of(record) for record in records], next=cursor))


def runs_page(*, limit: int, cursor: str | None, **chosen: str | None) -> tuple[list[RunRecord], str | None]:
    """A page of runs as `RunStore.list` gives it. Raises `UsageError` for a cursor that is none."""
    try:
        return gateway().runs.list(**chosen, limit=limit, cursor=cursor)
    except StatementError as error:
        if not isinstance(error.orig, OverflowError):
            raise
        raise UsageError("The cursor names no time. Begin with the first page.", field="cursor") from None


@runs.get("/runs/<id>", responses={"200": RunView, **answers(404)})
@scope("read")
def show(path: RunPath) -> Response:
    """One run."""
    return json_answer(RunView.of(gateway().run(path.id)))


@runs.post("/runs/<id>/cancel", responses={"200": RunView, "202": RunView, **answers(404)})
@scope("run")
def cancel(path: RunPath) -> Response:
    """Cancel a run: its cell is interrupted, then its kernel killed.

    202 while that is under way, however often it is asked for; 200 if the run has ended already.
    """
    record = request_cancel(path.id)
    return json_answer(RunView.of(record), 200 if Status(record.status).is_final else 202)


def request_cancel(id: str) -> RunRecord:
    """Ask for a run to be ended, and say so to the dispatcher. Raises `NotFoundError`."""
    service = gateway()
    service.data.run(id)
    try:
        record = service.runs.request_cancel(id)
    except KeyError:
        raise NotFoundError(f"There is no run {id}.") from None
    if not Status(record.status).is_final:
        service.wake()
    return record


@runs.post("/runs/<id>/rerun", responses={"200": RunView, "201": RunView, **answers(404, 409, 429, 507)})
@scope("run")
def run_again(path: RunPath, header: IdempotencyHeader) -> Response:
    """Submit the request of a run once more.

    Source, parameters, gates and files are the same; the run is a new one. 409 if it had secrets, for these are not
    kept.
    """
    record, created = rerun(gateway(), path.id, token=g.token.name, key=header.key)
    view = RunView.of(record)
    return json_answer(view, 201 if created else 200, {"Location": view.links.self})
