"""A small HTTP server that answers as Jenkins does, in the calls that triggers make; python-jenkins talks to it.

Its queue and builds are lists to look at. ``before_queue`` and ``after_queue`` are called by a request to build, before
it counts and before it is answered: tests kill whoever asks in there.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


def nothing() -> None:
    """The default of the hooks."""


@dataclass
class Job:
    """A job. ``parameters``: those it defines; others are dropped, as Jenkins does. ``stable``: its last success."""

    parameters: tuple[str, ...] = ("TRIGGER_ID", "REASON")
    buildable: bool = True
    stable: float | None = None
    builds: list[dict[str, Any]] = field(default_factory=list)


class SmallJenkins:
    """The server. ``hold``: builds stay in the queue. ``down``: every answer is 503, as of one that starts.

    ``asked``: paths and queries of the requests to build, as they stand in the log of a server.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.queue: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.hold = False
        self.down = False
        self.before_queue: Callable[[], None] = nothing
        self.after_queue: Callable[[], None] = nothing
        self._items = 0
        self._lock = threading.Lock()
        jenkins = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                status, body = jenkins.answer(urlsplit(self.path).path, urlsplit(self.path).query)
                self._send(status, body)

            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                parts = urlsplit(self.path)
                jenkins.asked.append(self.path)
                try:
                    status, location = jenkins.build(parts.path, dict(parse_qsl(form, keep_blank_values=True)))
                    self._send(status, None, location)
                except OSError:
                    self.close_connection = True  # whoever asked is gone

            def _send(self, status: int, body: Any, location: str = "") -> None:
                content = json.dumps(body).encode() if body is not None else b""
                self.send_response(status)
                self.send_header("X-Jenkins", "2.528.1")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                if location:
                    self.send_header("Location", f"{jenkins.url}{location}")
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def ids(self) -> list[str]:
        """TRIGGER_ID of all that was ever queued."""
        entries = [*self.queue, *(build for job in self.jobs.values() for build in job.builds)]
        return [parameters_of(entry)["TRIGGER_ID"] for entry in entries]

    def builds(self, job: str) -> list[dict[str, str]]:
        """The parameters of a job's builds, the first one first."""
        return [parameters_of(build) for build in self.jobs[job].builds[::-1]]

    def answer(self, path: str, query: str) -> tuple[int, Any]:
        """A GET."""
        if self.down:
            return 503, {}
        if path == "/api/json":
            return 200, {"_class": "hudson.model.Hudson", "nodeName": ""}
        if path == "/queue/api/json":
            return 200, {"items": self.queue}
        job = self.jobs.get(_job_name(path, "/api/json"))
        if job is None:
            return 404, {}
        return 200, {
            "buildable": job.buildable,
            "property": [{}, {"parameterDefinitions": [{"name": name} for name in job.parameters]}],
            "builds": job.builds,
            "lastStableBuild": {"timestamp": int(job.stable * 1000)} if job.stable is not None else None,
        }

    def build(self, path: str, parameters: dict[str, str]) -> tuple[int, str]:
        """A POST that starts a build."""
        name = _job_name(path, "/buildWithParameters")
        if self.down:
            return 503, ""
        job = self.jobs.get(name)
        if job is None or not job.buildable:
            return 404 if job is None else 409, ""
        self.before_queue()
        with self._lock:
            self._items += 1
            number = self._items
            kept = [{"name": key, "value": value} for key, value in parameters.items() if key in job.parameters]
            entry = {"id": number, "actions": [{}, {"parameters": kept}]}
            if self.hold:
                self.queue.append({**entry, "url": f"queue/item/{number}/"})
            else:
                build = {**entry, "number": number, "url": f"{self.url}job/{name}/{number}/"}
                job.builds.insert(0, build)
        self.after_queue()
        return 201, f"queue/item/{number}/"


def parameters_of(entry: dict[str, Any]) -> dict[str, str]:
    """Name → value of a build's or queue item's parameters."""
    return {one["name"]: one["value"] for action in entry["actions"] for one in action.get("parameters", [])}


def _job_name(path: str, end: str) -> str:
    parts = unquote(path).removesuffix(end).split("/")
    return "/".join(parts[2::2]) if path.endswith(end) and parts[1::2] == ["job"] * (len(parts) // 2) else ""
