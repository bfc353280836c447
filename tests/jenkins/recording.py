"""A Jenkins for tests: what a real one answered, played again; or a real one, whose answers are recorded.

In front of the code under test stands a small HTTP server. Without further ado it plays `recordings/TEST.json`: each
request must be the one that was recorded next, its body included. With KERNEL_GATEWAY_TEST_JENKINS naming a real one
it passes every request on and writes the recording anew. Only what the tests need is kept: no cookies, keys or pages.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import urllib3

RECORDINGS = Path(__file__).parent / "recordings"
PLACE = "http://jenkins.example"
KEPT_HEADERS = ("Content-Type", "Location", "X-Jenkins", "X-Error")
LONGEST_PAGE = 1200


class PlayedJenkins:
    """One test's Jenkins. `url` is what the code under test gets; `finish` checks or writes the recording."""

    def __init__(self, name: str, real: str | None) -> None:
        """``name``: of the recording; ``real``: URL of a Jenkins to record, None to play."""
        self._file = RECORDINGS / f"{name}.json"
        self.real = real.rstrip("/") if real else None
        self._entries: list[dict[str, Any]] = [] if real else json.loads(self._file.read_text(encoding="utf-8"))
        self._position = 0
        self._problems: list[str] = []
        self._pool = urllib3.PoolManager(retries=False)
        self._lock = threading.Lock()
        played = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                played.answer(self)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Nothing on stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        asked = {
            "method": handler.command,
            "path": handler.path,
            "crumb": "Jenkins-Crumb" in handler.headers,
            "body": body.decode(),
        }
        with self._lock:
            status, headers, text = self._ask(handler, asked, body) if self.real else self._play(asked)
        content = text.encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def finish(self) -> None:
        """Stop. Writes the recording, or fails when the requests were not those of the recording."""
        self._server.shutdown()
        self._server.server_close()
        self._pool.clear()
        if self.real:
            self._file.write_text(json.dumps(self._entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            return
        assert not self._problems, "\n".join(self._problems)
        rest = [f"{entry['method']} {entry['path']}" for entry in self._entries[self._position :]]
        assert not rest, f"the recording goes on with {rest}"

    def _play(self, asked: dict[str, Any]) -> tuple[int, dict[str, str], str]:
        entry = self._entries[self._position] if self._position < len(self._entries) else {}
        self._position += 1
        differs = [key for key, value in asked.items() if entry.get(key) != value]
        if differs:
            self._problems.append(
                f"request {self._position} has another {', '.join(differs)} than the recording {self._file.name}:"
                f" {[asked[key] for key in differs]} instead of {[entry.get(key) for key in differs]}. If that is"
                " meant, record anew: KERNEL_GATEWAY_TEST_JENKINS=URL of a Jenkins for tests."
            )
            return 500, {"X-Jenkins": "0"}, "not in the recording"
        headers = {name: value.replace(PLACE, self.url) for name, value in entry["headers"].items()}
        return entry["status"], headers, entry["answer"].replace(PLACE, self.url)

    def _ask(
        self, handler: BaseHTTPRequestHandler, asked: dict[str, Any], body: bytes
    ) -> tuple[int, dict[str, str], str]:
        assert self.real is not None
        sent = {name: value for name, value in handler.headers.items() if name.lower() not in ("host", "connection")}
        sent["Accept-Encoding"] = "identity"
        answer = self._pool.request(handler.command, self.real + handler.path, body=body, headers=sent, redirect=False)
        text = answer.data.decode(errors="replace").replace(self.real, self.url)
        headers = {name: value.replace(self.real, self.url) for name, value in answer.headers.items()}
        kept = {name: headers[name].replace(self.url, PLACE) for name in KEPT_HEADERS if name in headers}
        entry = {**asked, "status": answer.status, "headers": kept, "answer": scrubbed(text).replace(self.url, PLACE)}
        self._entries.append(entry)
        passed = {name: headers[name] for name in (*KEPT_HEADERS, "Set-Cookie") if name in headers}
        return answer.status, passed, text


def scrubbed(text: str) -> str:
    """An answer as it is kept: of a page only its middle, and no crumb."""
    text = re.sub(r'("crumb":")[0-9a-f]+"', r'\1c0ffee"', text)
    if "<html" not in text.lower():
        return text
    middle = re.search(r'(?s)<div id="main-panel">.*?(?=<footer)', text)
    return (middle[0] if middle else text)[:LONGEST_PAGE]
