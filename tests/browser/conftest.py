"""A real Chromium in front of a report, served with the policy that Jenkins sends by default."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kernel_gateway.projections import Report
from kernel_gateway.settings import Settings
from tests.conftest import REQUIRE_KERNELS
from tests.projections.conftest import Log

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

POLICY = "sandbox; default-src 'none'; img-src 'self'; style-src 'self';"
"""Jenkins' ``hudson.model.DirectoryBrowserSupport.CSP`` as it is where nobody has set it."""

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")  # two at once in one process are refused by Playwright
def browser() -> Iterator[Browser]:
    """Chromium. Where there is none the test is skipped, but not where required parts must not be missing."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        reason = "Chromium is not installed; `apt-get install chromium` installs it"
        if os.environ.get(REQUIRE_KERNELS):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # as Jenkins: one connection serves many figures
    disable_nagle_algorithm = True

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves a folder on a free port of loopback; gives its URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def write_report(log: Log, folder: Path, **options: Any) -> Path:
    """Writes the report of a log into ``report/`` below a folder, as a run's folder has it."""
    report = Report(Settings(), log.blobs, **options)
    for event in log.events:
        report.feed(event)
    place = folder / "report"
    place.mkdir(parents=True, exist_ok=True)
    for name, content in report.files():
        (place / name).write_bytes(content)
    return folder


@pytest.fixture
def open_report(browser: Browser, serve: Callable[[Path], str]) -> Iterator[Open]:
    """Opens a run's report; ``page.violations`` lists what the policy blocked and what failed to load."""
    contexts = []

    def open_(folder: Path, *, width: int = 1200, dark: bool = False) -> Page:
        scheme: Any = "dark" if dark else "light"
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        found: list[str] = []
        page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
        page.on("requestfailed", lambda request: found.append(f"failed: {request.url}"))
        page.on("response", lambda answer: found.append(f"{answer.status}: {answer.url}") if not answer.ok else None)
        page.on("dialog", lambda dialog: found.append(f"dialog: {dialog.message}"))
        page.on("popup", lambda popup: found.append(f"popup: {popup.url}"))
        page.goto(serve(folder) + "/report/index.html", wait_until="load")
        page.violations = found  # type: ignore[attr-defined]
        return page

    yield open_
    for context in contexts:
        context.close()
