"""A gateway made for tests: a real HTTP server on loopback that says what a test tells it to, and fails as told.

It speaks the part of the API that clients use, keeps all requests, and can be stopped and started again on the
same port with what it knows, as a service with a data folder can.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.client.scripted_run import ID, ScriptedRun


@dataclass
class Fault:
    """What happens to the next requests that match: an answer, or with 0 a broken connection.

    ``late``: the request is carried out first, so that only its answer is lost.
    """

    matches: str
    status: int = 0
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    document: Any = None
    late: bool = False
    until: float = 0.0


class ScriptedGateway:
    """The server. ``on_submit`` fills a new run's log; without it a run says hello and succeeds."""

    def __init__(self) -> None:
        self.runs: dict[str, ScriptedRun] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.faults: list[Fault] = []
        self.on_submit: Callable[[ScriptedRun], None] = self.hello
        self.on_cancel: Callable[[ScriptedRun], None] = lambda run: None
        self.token: str | None = None
        self.port = 0
        self.slow_bytes = 0
        self.largest_read = 0
        self._server: _Server | None = None
        self.start()

    @staticmethod
    def hello(run: ScriptedRun) -> None:
        run.begin()
        run.say("hello\n")
        run.end()

    @property
    def url(self) -> str:
        """Where it listens, or did."""
        return f"http://127.0.0.1:{self.port}"

    def new_run(self, body: dict[str, Any] | None = None, key: str | None = None) -> ScriptedRun:
        """A run that was submitted."""
        run = ScriptedRun(ID.format(len(self.runs) + 1), body or {}, key)
        self.runs[run.id] = run
        return run

    def start(self) -> None:
        """Listen; on the same port as before."""
        self._server = _Server(("127.0.0.1", self.port), Handler, self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Vanish as a killed service does: no connection survives."""
        if self._server is not None:
            server, self._server = self._server, None
            server.stopped = True
            server.shutdown()
            server.server_close()
            server.cut_all()

    def fail(self, matches: str, status: int = 0, **options: Any) -> Fault:
        """Have the next requests whose method and path match the pattern fail."""
        fault = Fault(matches, status, **options)
        self.faults.append(fault)
        return fault

    def count(self, pattern: str) -> int:
        """How many requests matched."""
        return sum(bool(re.search(pattern, f"{method} {path}")) for method, path, _ in self.requests)

    def take_fault(self, line: str) -> Fault | None:
        """The fault for a request, used up."""
        for fault in self.faults:
            if re.search(fault.matches, line) and (fault.times > 0 or time.monotonic() < fault.until):
                fault.times -= 1
                return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], gateway: ScriptedGateway
    ) -> None:
        self.gateway = gateway
        self.stopped = False
        self.open_sockets: set[socket.socket] = set()
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open_sockets.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self.open_sockets.discard(request)
        super().shutdown_request(request)

    def cut_all(self) -> None:
        for connection in list(self.open_sockets):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what these tests are about."""


class CutError(Exception):
    """The connection is to break here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def setup(self) -> None:
        super().setup()
        self.gateway = self.server.gateway

    def _any(self) -> None:
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = unquote(parts.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.gateway.requests.append((self.command, path, headers))
        body = b""
        fault = self.gateway.take_fault(f"{self.command} {path}")
        try:
            if fault and not fault.late:
                self._break(fault)
                return
            body = self._body()
            if self.gateway.token and headers.get("authorization") != f"Bearer {self.gateway.token}":
                self._problem(401, "No valid token.")
                return
            self._route(path, body, fault)
        except (CutError, OSError):
            self.close_connection = True
            try:
                self.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    do_GET = do_POST = do_PUT = _any

    def _break(self, fault: Fault) -> None:
        if fault.status == 0:
            raise CutError
        self._body()
        document = fault.document if fault.document is not None else {"detail": "Not now.", "status": fault.status}
        self._answer(fault.status, document, fault.headers)

    def _body(self) -> bytes:
        pieces, left = [], int(self.headers.get("content-length") or 0)
        while left:
            piece = self.rfile.read(min(left, 1 << 16))
            if not piece:
                raise CutError
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)

    def _problem(self, status: int, detail: str, **more: Any) -> None:
        self._answer(status, {"type": "about:blank", "status": status, "detail": detail, **more})

    def _route(self, path: str, body: bytes, fault: Fault | None) -> None:
        if fault is not None:
            self._carry_out(path, body)
            raise CutError
        status, value, headers = self._carry_out(path, body)
        if status:
            self._answer(status, value, headers)

    def _carry_out(self, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        gateway = self.gateway
        rest = path.removeprefix("/api/v1")
        if rest == "/runs" and self.command == "POST":
            return self._submit(json.loads(body))
        if rest == "/runs":
            return self._list()
        if rest == "/blobs/missing":
            wanted = json.loads(body)["sha256"]
            assert len(wanted) <= 1000
            return 200, {"missing": [digest for digest in wanted if digest not in gateway.blobs]}, {}
        if match := re.fullmatch(r"/blobs/([0-9a-f]{64})", rest):
            return self._blob(match[1], body)
        if match := re.fullmatch(r"/runs/([^/]+)(/.*)?", rest):
            run = gateway.runs.get(match[1])
            if run is None:
                return 404, {"detail": f"There is no run {match[1]}."}, {}
            return self._of_run(run, match[2] or "")
        if rest == "/kernelspecs":
            return 200, {"kernelspecs": [{"name": "python3", "display_name": "Python 3", "language": "python"}]}, {}
        if rest == "/agents":
            return 200, {"agents": [{"name": "here", "slots": 2, "busy": 0}]}, {}
        return 404, b"<html>nothing here</html>", {}

    def _submit(self, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        key = self.headers.get("idempotency-key")
        known = next((run for run in self.gateway.runs.values() if key and run.key == key), None)
        if known is not None and known.body != body:
            return 409, {"detail": "The idempotency key was used for another request.", "run": known.id}, {}
        if known is not None:
            return 200, known.view(), {}
        lacking = [file["path"] for file in body["workspace"] if file["sha256"] not in self.gateway.blobs]
        if lacking:
            return 422, {"detail": f"The content of {lacking[0]} is not here.", "field": "workspace"}, {}
        run = self.gateway.new_run(body, key)
        self.gateway.on_submit(run)
        return 201, run.view(), {}

    def _list(self) -> tuple[int, Any, dict[str, str]]:
        found = list(reversed(self.gateway.runs.values()))
        if status := self.query.get("status"):
            found = [run for run in found if run.status == status]
        start, limit = int(self.query.get("cursor", 0)), int(self.query.get("limit", 50))
        more = str(start + limit) if start + limit < len(found) else None
        return 200, {"runs": [run.view() for run in found[start : start + limit]], "next": more}, {}

    def _blob(self, digest: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if self.command == "GET":
            return self._content(self.gateway.blobs.get(digest))
        if hashlib.sha256(body).hexdigest() != digest:
            return 422, {"detail": "The content has another digest.", "field": "sha256"}, {}
        self.gateway.blobs[digest] = body
        return 201, {"sha256": digest, "size": len(body)}, {}

    def _of_run(self, run: ScriptedRun, rest: str) -> tuple[int, Any, dict[str, str]]:
        if rest == "/events":
            self._events(run)
            return 0, None, {}
        if rest == "/cancel":
            run.cancelled += 1
            self.gateway.on_cancel(run)
            return 202, run.view(), {}
        if rest == "/console":
            text = b"hello console\n"[int(self.query.get("start", 0)) :]
            return 200, text, {"X-Text-Size": "14", **({} if run.finished else {"X-More-Data": "true"})}
        if rest == "/metrics":
            return 200, {"accuracy": 0.9}, {}
        if rest == "/artifacts":
            items = [
                {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "media_type": "x/y"}
                for path, content in run.artifacts.items()
            ]
            return 200, {"artifacts": items}, {}
        if rest.startswith("/artifacts/"):
            return self._content(run.artifacts.get(rest.removeprefix("/artifacts/")))
        return 200, run.view(), {}

    def _content(self, content: bytes | None) -> tuple[int, Any, dict[str, str]]:
        """A file, whole or from the byte asked for; cut off after half of it where a fault says so."""
        if content is None:
            return 404, {"detail": "There is no such file."}, {}
        etag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        start = 0
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        if match and self.headers.get("if-range", etag) == etag:
            start = int(match[1])
        fault = self.gateway.take_fault(f"HALF {self.path}")
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", etag)
        self.end_headers()
        piece = content[start:]
        if fault:
            self.wfile.write(piece[: len(piece) // 2])
            self.wfile.flush()
            raise CutError
        self.wfile.write(piece)
        return 0, None, {}

    def _events(self, run: ScriptedRun) -> None:
        after = int(self.query.get("after", 0))
        sent = max(0, after - run.repeat)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk(b"retry: 1000\n\n")
        quiet = 0.0
        while not self.server.stopped:
            while sent < len(run.lines):
                line, quiet = run.lines[sent], 0.0
                sent += 1
                message = b"id: %d\nevent: x\ndata: %s\n\n" % (sent, line)
                cut = run.cuts.pop(sent, None)
                if cut is not None:
                    self._chunk(message[:cut])
                    raise CutError
                self._chunk(message)
            if run.finished and sent >= len(run.lines):
                self.wfile.write(b"0\r\n\r\n")
                return
            time.sleep(0.01)
            quiet += 0.01
            if quiet > 0.3:
                quiet = 0.0
                self._chunk(b": ping\n\n")
        raise CutError

    def _chunk(self, content: bytes) -> None:
        if content:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
            self.wfile.flush()
