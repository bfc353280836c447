"""``/runs/{id}``: a run while it goes on and afterwards, with its report, and buttons to cancel it or run it again."""

from __future__ import annotations

import mimetypes
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from flask import Response, g, redirect, render_template, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from ...errors import NotFoundError
from ...projections.text import strip_ansi
from ...store.records import cursor_after
from ...store.runs import RunRecord
from ..auth import form, scope
from ..live import CONSOLE_TAIL, LiveRun, state_of
from ..rerun import rerun
from ..results import REPORT_POLICY, guarded, report_answer
from ..runs import request_cancel
from ..service import gateway
from . import embed
from .blueprint import pages
from .runs import agent_state, conditional

KEPT_SECONDS = 24 * 3600
"""How long a browser may keep a figure whose address names its version."""

FILES = {
    "executed.ipynb": "notebook",
    "console.log": "console",
    "metrics.json": "metrics",
    "junit.xml": "junit",
    "run.json": "record",
    "events.jsonl": "events?wait=0",
}
"""Result files by name, and where the API has them below a run."""


@dataclass
class Look:
    """All that the page of a run shows."""

    record: RunRecord
    provenance: dict[str, Any] = field(default_factory=dict)
    agent: str | None = None
    kernel: str | None = None
    cells: int = 0
    cell: int | None = None
    title: str = ""
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    report: Markup = Markup("")  # noqa: RUF009  (immutable)
    report_seq: int = 0
    styles: list[str] = field(default_factory=list)
    console_begin: int = -1
    console: str = ""
    console_end: int = -1
    has_log: bool = True

    @property
    def live(self) -> bool:
        """Whether it still goes on."""
        return not self.record.status.is_final

    @property
    def build_url(self) -> str | None:
        """Where the build's page is, if that is an address of the web."""
        url = (self.record.build or {}).get("url")
        return url if isinstance(url, str) and url.startswith(("https://", "http://")) else None


@pages.get("/runs/<id>")
@scope("read")
def show(id: str) -> str:
    """The page."""
    return render_template("pages/run.html", **_shown(_look(id)))


@pages.get("/runs/<id>/fragment")
@scope("read")
def fragment(id: str) -> Response:
    """What changes on the page: the console from ``start`` on, and the report unless it is still that of ``seq``.

    Asked for every second or so by an open page; why this is no stream is told at `runs.index_fragment`.
    """
    seq = _whole_number("seq")
    look = _look(id, start=_whole_number("start"), seq=seq)
    shown = _shown(look)
    # Another web worker may have rendered a later state than this one has just now.
    shown["same_report"] = look.live and look.report_seq <= seq
    return conditional(render_template("pages/_run.html", **shown))


@pages.get("/runs/<id>/report/<path:name>")
@scope("read")
def report_file(id: str, name: str) -> Response:
    """A figure or style of the report, in the state that the page shows; with ``part`` a style for that page only."""
    service = gateway()
    folder = service.folder(id)
    if (folder / "report" / "index.html").is_file():
        response = report_answer(id, name)
    else:
        content = service.live.ask(id, service.log(id), lambda run: run.file(name))
        if content is None:
            raise NotFoundError(f"The report has no file {name!r}.")
        response = Response(content, mimetype=mimetypes.guess_type(name)[0] or "application/octet-stream")
        guarded(response, REPORT_POLICY)
    if "part" in request.args and response.mimetype == "text/css":
        response.direct_passthrough = False
        style = embed.confined(response.get_data(as_text=True))
        response.close()
        response = guarded(Response(style, mimetype="text/css"), REPORT_POLICY)
    if "v" in request.args:
        response.headers["Cache-Control"] = f"private, max-age={KEPT_SECONDS}"
    return response


@pages.post("/runs/<id>/cancel")
@scope("run")
@form
def cancel(id: str) -> ResponseReturnValue:
    """The button: cancel the run."""
    request_cancel(id)
    return redirect(f"/runs/{id}", 303)


@pages.post("/runs/<id>/rerun")
@scope("run")
@form
def run_again(id: str) -> ResponseReturnValue:
    """The button: submit its request once more; on to the new run."""
    record, _ = rerun(gateway(), id, token=g.token.name)
    return redirect(f"/runs/{record.id}", 303)


def _whole_number(name: str) -> int:
    text = request.args.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _shown(look: Look) -> dict[str, Any]:
    service = gateway()
    record = look.record
    before, _ = service.runs.list(name=record.name, limit=1, cursor=cursor_after(record))
    return {
        "look": look,
        "record": record,
        "place": service.runs.queue_places([record]).get(record.id),
        "before": before[0].id if before else None,
        "waits_for": agent_state() if record.status == "queued" else None,
        "files": {name: f"/api/v1/runs/{record.id}/{path}" for name, path in FILES.items()},
        "same_report": False,
    }


def _look(id: str, start: int = 0, seq: int = -1) -> Look:
    """A run as it stands: from its results if it has ended and has them, else from its log so far.

    The console begins at `start`; a report that is not later than event `seq` is left out.
    """
    service = gateway()
    record = service.run(id)
    folder = service.data.run(id)
    look = Look(record)
    if record.status.is_final and (folder / "report" / "index.html").is_file() and (folder / "run.json").is_file():
        service.live.forget(id)
        _read_results(look, folder)
        return look
    try:
        log = service.log(id)
    except NotFoundError:
        look.has_log = False
        return look

    def fill(run: LiveRun) -> None:
        for name, value in state_of(run).items():
            if name != "status":
                setattr(look, name, value)
        rendered = run.report()
        look.report_seq, look.styles = rendered.seq, embed.styles(rendered.page)
        if rendered.seq > seq or not look.live:
            look.report = embed.embedded(rendered.page, id, rendered.versions)
        look.console_begin, look.console, look.console_end = run.console(start)

    service.live.ask(id, log, fill)
    return look


def _read_results(look: Look, folder: Path) -> None:
    try:
        facts = orjson.loads((folder / "run.json").read_bytes())
        page = (folder / "report" / "index.html").read_text("utf-8", "replace")
    except (OSError, ValueError):
        look.has_log = False
        return
    look.provenance = {
        **(facts.get("provenance") or {}),
        **{name: facts.get(name) for name in ("git", "parameters", "secrets")},
    }
    look.agent, look.kernel = facts.get("agent"), facts.get("kernel")
    look.cells = sum(1 for cell in facts.get("cells") or [] if cell.get("status") != "not_run")
    look.artifacts = facts.get("artifacts") or []
    look.report, look.styles = embed.embedded(page, look.record.id), embed.styles(page)
    look.console = _end_of_console(folder / "console.log")


def _end_of_console(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - CONSOLE_TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    if size > CONSOLE_TAIL:
        text = text[text.find("\n") + 1 :]
    return strip_ansi(text)
