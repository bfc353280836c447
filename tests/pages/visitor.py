"""Somebody with a real browser before a real service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.service.conftest import Service

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

CHECKS = (Path(__file__).parent / "checks.js").read_text()

WAIT = 30_000
"""Milliseconds that a page has for what is awaited."""


class Visitor:
    """A browser's window, and everything in it that went wrong."""

    def __init__(self, browser: Browser, service: Service, **options: Any) -> None:
        self.service = service
        self.context: BrowserContext = browser.new_context(**options)
        self.context.set_default_timeout(WAIT)
        self.context.add_init_script(CHECKS + "note()")
        self.troubles: list[str] = []
        self.page = self.new_page()

    def new_page(self) -> Page:
        """One more tab."""
        page = self.context.new_page()
        page.on("console", lambda said: self.troubles.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        return page

    def log_in(self, path: str = "/", token: str = "") -> Page:
        """Type the token in, and be where one wanted to go."""
        self.page.goto(self.service.url + path)
        self.page.get_by_label("Token").fill(token or self.service.token)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(self.service.url + path)
        return self.page

    def violations(self) -> list[str]:
        """What the page's policy has refused."""
        refused: list[str] = self.page.evaluate("window.violations ?? []")
        return [*self.troubles, *refused]


def widths(images: Locator) -> list[int]:
    """The own widths in pixels of images, each scrolled to and loaded first (they are loaded when seen); 0: broken."""
    loaded = "one => one.decode().then(() => one.naturalWidth, () => 0)"
    found = []
    for image in images.all():
        image.scroll_into_view_if_needed()
        found.append(image.evaluate(loaded))
    return found
