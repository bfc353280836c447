"""What a person sees of a run in Jenkins, in a real browser and under Jenkins' own content security policy."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import browser  # noqa: F401  (a fixture)
from tests.jenkins_real.conftest import RECORD_PAGE, Site
from tests.jenkins_real.face import Build

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CODE = (
    "from IPython.display import HTML, Image, display\\n"
    'display(Image(data=__import__("base64").b64decode("{png}"), format="png"))\\n'
    'display(HTML("<p id=here>a table</p><script>document.title = 1</script>"))\\n'
    'print("::metric name=accuracy value=0.93")'
)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def build(site: Site) -> Build:
    """A green build whose notebook shows a picture, markup and a metric."""
    made = site.step("pages", f"name: 'shown', code: '{CODE.replace('{png}', PNG)}'")
    assert made.wait() == "SUCCESS", made.log()
    return made


@contextmanager
def watched(site: Site, browser: Browser, url: str) -> Iterator[tuple[Page, list[str]]]:  # noqa: F811
    """A page of Jenkins as the administrator sees it, and what the browser complained about while it was loaded."""
    word = base64.b64encode(f"{site.jenkins.user}:{site.jenkins.token}".encode()).decode()
    context = browser.new_context(
        extra_http_headers={"Authorization": f"Basic {word}"}, viewport={"width": 1280, "height": 900}
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(url)
    page.wait_for_load_state("networkidle")
    try:
        yield page, complaints
    finally:
        context.close()


def has_default_policy(policy: str) -> bool:
    """Whether it is what Jenkins sends with a build's files where nobody has set anything: no scripts."""
    words = [part.strip() for part in policy.strip("; ").split(";")]
    rest = ["default-src 'none'", "img-src 'self'", "style-src 'self'"]
    return words[0] in {"sandbox", "sandbox allow-same-origin"} and words[1:] == rest


def photograph(page: Page, name: str) -> None:
    """Keep a picture for the documentation, when the results are kept as well."""
    if kept := os.environ.get(RECORD_PAGE):
        page.screenshot(path=Path(kept).parent / "img" / name)


def test_the_archived_report_works_under_the_default_content_security_policy(
    site: Site,
    build: Build,
    browser: Browser,  # noqa: F811
) -> None:
    url = f"{build.url}/artifact/kernel-runs/shown/report/index.html"
    assert has_default_policy(site.jenkins.ask("GET", url).headers["Content-Security-Policy"])

    with watched(site, browser, url) as (page, complaints):
        assert page.locator("#here, p:has-text('a table')").first.is_visible()
        pictures = page.locator("img").evaluate_all("all => all.map(one => one.naturalWidth)")
        assert pictures
        assert all(pictures)
        assert page.evaluate("document.styleSheets.length"), "the style sheet is loaded"
        assert complaints == []


def test_the_builds_page_shows_the_runs_headline_and_its_artifacts(
    site: Site,
    build: Build,
    browser: Browser,  # noqa: F811
) -> None:
    with watched(site, browser, build.url) as (page, _):
        text = page.inner_text("body")
        assert "shown: succeeded" in text
        assert "accuracy 0.93" in text
        assert page.locator("a:has-text('report')").count() or "Notebook shown" in text
        photograph(page, "jenkins-build.png")
