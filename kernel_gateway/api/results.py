"""What a run produced: console, notebook, JUnit, metrics, record, report and artifacts.

A run that has ended has them as files; for one that is still going on they are computed from its log so far.
What a program made is never trusted: nothing of it may run in the gateway's origin.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Response, send_file
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel
from werkzeug.security import safe_join

from ..errors import NotFoundError
from ..events import Event, EventType, Status
from ..projections import PROJECTIONS, Report
from ..store.eventlog import read_events
from .answers import json_answer
from .auth import scope
from .problems import answers
from .schemas import PREFIX, ArtifactList, ArtifactView, ConsoleQuery, RunFilePath, RunPath
from .service import EVENTS, Gateway, gateway

# As Jenkins has it for files of a build: no script, no form, an origin of its own.
REPORT_POLICY = "sandbox; default-src 'none'; img-src 'self'; style-src 'self'"
ARTIFACT_POLICY = "sandbox; default-src 'none'"

NOTEBOOK = "application/x-ipynb+json"

SHOWN_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "text/plain"})
"""Artifacts that a browser may show; it saves all others."""

results = APIBlueprint(
    "results",
    __name__,
    url_prefix=PREFIX,
    abp_tags=[Tag(name="results")],
    abp_security=[{"token": []}],
    abp_responses=answers(404),
)


def _file(
    media_type: str, description: str, kind: str = "string"
) -> dict[str | int | HTTPStatus, type[BaseModel] | dict[Any, Any] | None]:
    content = {media_type: {"schema": {"type": kind}}}
    return {"200": {"description": description, "content": content}, **answers(404, 416)}


@results.get(
    "/runs/<id>/console",
    responses={
        "200": {
            "description": "The text from `start` on.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "headers": {
                "X-Text-Size": {"description": "Where to go on: its end, in bytes.", "schema": {"type": "integer"}},
                "X-More-Data": {"description": "`true` while more may follow.", "schema": {"type": "string"}},
            },
        }
    },
)
@scope("read")
def console(path: RunPath, query: ConsoleQuery) -> Response:
    """The console from a byte on, by Jenkins' convention for progressive logs.

    Ask again with `start` as the `X-Text-Size` of the answer, as long as `X-More-Data` is `true`. A `start` behind
    the end gives the text from the beginning.
    """
    service = gateway()
    ended = Status(service.run(path.id).status).is_final
    folder = service.data.run(path.id)
    try:
        with (folder / "console.log").open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(query.start if query.start <= size else 0)
            text, end, more = file.read(), size, False
    except FileNotFoundError:
        piece = service.consoles.read(path.id, service.log(path.id), query.start, ended=ended)
        text, end, more = piece.text, piece.end, piece.more
    response = Response(text, content_type="text/plain; charset=utf-8")
    response.headers["X-Text-Size"] = str(end)
    if more:
        response.headers["X-More-Data"] = "true"
    response.headers["Cache-Control"] = "no-store"
    return guarded(response, ARTIFACT_POLICY)


@results.get("/runs/<id>/notebook", responses=_file(NOTEBOOK, "The notebook with its outputs.", "object"))
@scope("read")
def notebook(path: RunPath) -> Response:
    """The executed notebook, as far as the run got."""
    return _projection(path.id, "executed.ipynb", NOTEBOOK)


@results.get("/runs/<id>/junit", responses=_file("application/xml", "JUnit's XML: a test case for each cell and gate."))
@scope("read")
def junit(path: RunPath) -> Response:
    """The run as a JUnit report."""
    return _projection(path.id, "junit.xml", "application/xml")


@results.get("/runs/<id>/metrics", responses=_file("application/json", "Name to last value.", "object"))
@scope("read")
def metrics(path: RunPath) -> Response:
    """The metrics so far."""
    return _projection(path.id, "metrics.json", "application/json")


@results.get("/runs/<id>/record", responses=_file("application/json", "The record.", "object"))
@scope("read")
def record(path: RunPath) -> Response:
    """What was run, where, with what, and how it went: `run.json`."""
    return _projection(path.id, "run.json", "application/json")


@results.get("/runs/<id>/report/", responses=_file("text/html", "The page."))
@scope("read")
def report(path: RunPath) -> Response:
    """The report's page."""
    return report_answer(path.id, "index.html")


@results.get("/runs/<id>/report/<file:path>", responses=_file("*/*", "A file of the report."))
@scope("read")
def report_file(path: RunFilePath) -> Response:
    """A file of the report: its page, style or a figure."""
    return report_answer(path.id, path.path)


@results.get("/runs/<id>/artifacts", responses={"200": ArtifactList})
@scope("read")
def artifacts(path: RunPath) -> Response:
    """The files that the run produced so far."""
    folder = gateway().folder(path.id)
    base = f"{PREFIX}/runs/{path.id}/artifacts/"
    found = {
        event["path"]: ArtifactView(
            path=event["path"],
            sha256=event["sha256"],
            size=event["size"],
            media_type=event["media_type"],
            link=base + quote(event["path"]),
        )
        for event in _events(folder)
        if event["type"] == EventType.ARTIFACT
    }
    return json_answer(ArtifactList(artifacts=list(found.values())))


@results.get("/runs/<id>/artifacts/<file:path>", responses=_file("*/*", "The file; ranges are served."))
@scope("read")
def artifact(path: RunFilePath) -> Response:
    """An artifact, whole or in part (`Range`)."""
    folder = gateway().folder(path.id) / "artifacts"
    file = _inside(folder, path.path)
    media_type, packed = mimetypes.guess_type(file.name)
    if media_type is None or packed is not None:  # what a compressed file holds, nobody sees who opens it
        media_type = "application/octet-stream"
    response = send_file(
        file,
        mimetype=media_type,
        as_attachment=media_type not in SHOWN_TYPES,
        # No header carries a line feed, and a file may have one in its name.
        download_name="".join(character if character.isprintable() else "_" for character in file.name),
        conditional=True,
        max_age=0,
    )
    return guarded(response, ARTIFACT_POLICY)


# -- how ---------------------------------------------------------------------------------------------


def _projection(id: str, name: str, media_type: str) -> Response:
    service = gateway()
    folder = service.folder(id)
    file = folder / name
    if file.is_file():
        return guarded(send_file(file, mimetype=media_type, conditional=True, max_age=0), ARTIFACT_POLICY)
    projection = PROJECTIONS[name](service.settings, service.blob)
    for event in _events(folder):
        projection.feed(event)
    response = Response(projection.result().encode("utf-8", "replace"), mimetype=media_type)
    response.headers["Cache-Control"] = "no-store"
    return guarded(response, ARTIFACT_POLICY)


def report_answer(id: str, name: str) -> Response:
    """A file of a run's report. Raises `NotFoundError`."""
    service = gateway()
    folder = service.folder(id)
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if (folder / "report" / "index.html").is_file():
        response = send_file(_inside(folder / "report", name), mimetype=media_type, conditional=True, max_age=0)
    else:
        response = Response(_report_so_far(service, folder, name), mimetype=media_type)
        response.headers["Cache-Control"] = "no-store"
    return guarded(response, REPORT_POLICY)


def _report_so_far(service: Gateway, folder: Path, name: str) -> bytes:
    report = Report(service.settings, service.blob)
    for event in _events(folder):
        report.feed(event)
    for path, content in report.files():
        if path == name:
            return content
    raise NotFoundError(f"The report has no file {name!r}.")


def _events(folder: Path) -> Iterator[Event]:
    """The run's events so far. Raises `NotFoundError` when they have been removed."""
    try:
        yield from read_events(folder / EVENTS)
    except FileNotFoundError:
        raise NotFoundError("The run's event log has been removed.") from None


def _inside(folder: Path, name: str) -> Path:
    """A file below a folder. Raises `NotFoundError` if there is none, or if its name or a link leads out."""
    missing = NotFoundError(f"There is no file {name!r}.")
    joined = None if "\0" in name else safe_join(os.fspath(folder), name)
    if joined is None:
        raise missing
    try:
        real = Path(joined).resolve(strict=True)
        if not real.is_relative_to(folder.resolve()) or not real.is_file():
            raise missing
    except OSError:
        raise missing from None
    return real


def guarded(response: Response, policy: str) -> Response:
    """An answer with something that a program made: nothing of it may run, or be taken for another type."""
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response
