"""The pages in a real Chromium, before a real service: what a person sees, does and can't break."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.pages.visitor import CHECKS, Visitor, widths
from tests.service.conftest import Serve, Service

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

SLOW = """
import time
for number in range(1000):
    print(f"line {number}", flush=True)
    print(f"::metric name=loss value={1 / (number + 1)} step={number}", flush=True)
    time.sleep(0.2)
"""

TRAIN = """
import base64
from IPython.display import HTML, Image, display
print("::metric name=accuracy value=%(accuracy)s step=0")
print("::metric name=accuracy value=%(accuracy)s1 step=1")
display(Image(base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")))
display(HTML("<table><tr><td onclick='alert(1)'>cell</td></tr></table><script>document.title = 'taken'</script>"))
display(HTML("<p style='position: fixed; inset: 0'>over it all</p><img src=x onerror=\\"document.title = 'taken'\\">"))
open("model.txt", "w").write("weights")
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with two slots and two GPUs, as it claims."""
    folder = tmp_path_factory.mktemp("pages")
    service = Service(folder / "data", ("--slots", "2", "--gpus", "0,1"))
    service.start()
    yield service
    service.close()


@pytest.fixture
def visit(browser: Browser, service: Service) -> Iterator[Any]:
    """Opens windows."""
    visitors: list[Visitor] = []

    def visit(**options: Any) -> Visitor:
        visitors.append(Visitor(browser, service, **options))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()


@pytest.fixture(scope="module")
def trained(service: Service) -> tuple[str, str]:
    """Two ended runs with metrics, a gate, a figure, hostile HTML and an artifact."""
    ids = [
        service.submit(
            TRAIN % {"accuracy": accuracy},
            name="train",
            require=["accuracy >= 0.9"],
            artifacts=["model.txt"],
            git={"commit": "f" * 40, "branch": "main", "dirty": False},
            build={"job": "nightly", "number": 12, "url": "https://ci.example.org/job/nightly/12/"},
        )
        for accuracy in (0.8, 0.95)
    ]
    assert [service.wait_for(id) for id in ids] == ["unstable", "succeeded"]
    return ids[0], ids[1]


def cancel(service: Service, *ids: str) -> None:
    """End runs that go on."""
    for id in ids:
        service.ask("POST", f"/api/v1/runs/{id}/cancel")
    for id in ids:
        service.wait_for(id)


def test_the_list_follows_a_run_without_a_reload(visit: Any, service: Service) -> None:
    visitor = visit()
    page = visitor.log_in()
    page.evaluate("window.same = true")
    kept = service.submit("1", name="kept")
    page.locator(f"#page-row-{kept}").wait_for()
    page.locator(f"#page-row-{kept} input").check()

    id = service.submit(SLOW, name="slow", gpus=1)

    row = page.locator(f"#page-row-{id}")
    row.locator(".page-status", has_text="running").wait_for()
    page.locator(".page-chips a", has_text="slow").wait_for()
    service.ask("POST", f"/api/v1/runs/{id}/cancel")
    row.locator(".page-status", has_text="cancelled").wait_for()
    assert page.evaluate("window.same") is True
    assert page.locator(f"#page-row-{kept} input").is_checked()
    assert visitor.violations() == []


def test_a_run_is_followed_cancelled_and_started_again(visit: Any, service: Service) -> None:
    visitor = visit()
    id = service.submit(SLOW, name="slow")
    page = visitor.log_in(f"/runs/{id}")
    page.evaluate("window.same = true")
    page.locator("#page-status", has_text="running").wait_for()

    seen = len(service.text(id).splitlines()) // 2 + 5
    page.locator("#page-console-text", has_text=f"line {seen}\n").wait_for()
    page.locator("#page-report img[alt*=loss]").first.wait_for()
    page.locator("#page-report article details summary").first.click()
    page.wait_for_timeout(2500)
    assert page.locator("#page-report article details[open]").count() == 1, "what was opened stays open"
    below = "one => one.scrollHeight - one.scrollTop - one.clientHeight"
    assert page.locator("#page-console-text").evaluate(below) < 60, "who reads the console's end stays at it"
    lines = [line for line in page.locator("#page-console-text").inner_text().splitlines() if line.startswith("line")]
    assert lines == [f"line {number}" for number in range(len(lines))]

    page.locator("#page-cancel summary").click()
    page.get_by_role("button", name="Cancel this run").click()
    page.locator("#page-status", has_text="cancelled").wait_for()
    page.locator("#page-facts", has_text="Ended").wait_for()
    assert service.run(id)["status"] == "cancelled"
    assert page.get_by_role("button", name="Cancel").count() == 0
    assert page.title().startswith("slow: cancelled")

    page.get_by_role("button", name="Run again").click()
    page.locator("#page-facts a", has_text=id).wait_for()
    again = page.url.rpartition("/")[2]
    assert service.events(again)[0]["provenance"]["rerun_of"] == id
    page.locator("#page-console-text", has_text="line 1\n").wait_for()
    cancel(service, again)
    page.locator("#page-status", has_text="cancelled").wait_for()
    assert visitor.violations() == []


def test_two_runs_are_chosen_in_the_list_and_compared(visit: Any, service: Service, trained: tuple[str, str]) -> None:
    visitor = visit()
    page = visitor.log_in("/?name=train")
    for id in trained:
        page.locator(f"#page-row-{id} input").check()
    page.get_by_role("button", name="Compare").click()

    page.get_by_role("heading", name="Compare runs").wait_for()
    page.wait_for_load_state()
    assert page.locator("tr", has_text="accuracy").first.inner_text().count("★") == 1
    assert page.locator("svg polyline").count() == 2
    images = page.locator(".page-figures img")
    assert images.count() == 2
    assert widths(images) == [1, 1]
    assert visitor.violations() == []


def test_the_report_of_an_ended_run_is_shown_and_nothing_a_kernel_made_runs(
    visit: Any, service: Service, trained: tuple[str, str]
) -> None:
    visitor = visit()
    page = visitor.log_in(f"/runs/{trained[0]}")

    assert page.locator("#page-report td", has_text="cell").count() == 1
    assert page.title().startswith("train: unstable")
    assert all(widths(page.locator("#page-report img")))
    page.evaluate("scrollTo(0, 0)")
    over = "document.elementFromPoint(innerWidth / 2, {}).closest('{}') !== null"
    page.locator("#page-report p").first.evaluate("one => { one.style.position = 'fixed'; one.style.inset = 0 }")
    page.locator("#page-report p").first.evaluate("one => { one.style.zIndex = 99; one.style.background = 'red' }")
    assert page.evaluate(over.format(20, ".page-bar")), "nothing in a report lies over the bar"
    assert page.evaluate(over.format(80, "#page-tools")), "nor over the buttons"
    page.reload()
    page.locator("#page-console summary").click()
    assert "::metric name=accuracy" in page.locator("#page-console-text").inner_text()
    with page.expect_download() as download:
        page.locator("#page-facts a", has_text="run.json").click()
    assert download.value.suggested_filename == "run.json"
    shown = service.ask("GET", f"/api/v1/runs/{trained[0]}/artifacts/model.txt")
    assert shown.body == b"weights"
    assert visitor.violations() == []


def test_everything_works_without_script(visit: Any, service: Service, trained: tuple[str, str]) -> None:
    visitor = visit(java_script_enabled=False)
    page = visitor.log_in("/")
    page.get_by_label("Name", exact=True).fill("train")
    page.get_by_role("button", name="Filter").click()
    assert page.locator("tbody tr").count() == 2
    for id in trained:
        page.locator(f"#page-row-{id} input").check()
    page.get_by_role("button", name="Compare").click()
    assert page.locator("h1").inner_text() == "Compare runs"
    assert page.locator("time").first.inner_text().endswith(" UTC")

    id = service.submit(SLOW, name="slow")
    service.wait_for_text(id, "line 1\n")
    page.goto(f"{service.url}/runs/{id}")
    before = page.locator("#page-console-text").inner_text()
    page.wait_for_function(
        "before => document.querySelector('#page-console-text').innerText.length > before", arg=len(before)
    )
    page.locator("#page-cancel summary").click()
    page.get_by_role("button", name="Cancel this run").click()
    service.wait_for(id)
    page.goto(f"{service.url}/runs/{id}")
    page.get_by_role("button", name="Run again").click()
    again = page.url.rpartition("/")[2]
    assert again != id
    cancel(service, again)
    page.get_by_role("button", name="Log out").click()
    page.goto(service.url)
    assert page.get_by_role("heading", name="Log in").count() == 1


def test_a_link_from_another_site_finds_the_login_in_place(
    visit: Any, service: Service, trained: tuple[str, str]
) -> None:
    target = f"{service.url}/runs/{trained[0]}"

    class BuildPage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<a href="{target}">report</a>'.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), BuildPage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    visitor = visit()
    page = visitor.log_in()
    try:
        page.goto(f"http://localhost:{server.server_port}/")  # another site than 127.0.0.1
        page.get_by_text("report").click()
        page.locator("#page-report section").first.wait_for()
    finally:
        server.shutdown()
        server.server_close()

    assert page.url == target


def test_many_open_pages_leave_the_service_free_to_answer(visit: Any, service: Service) -> None:
    id = service.submit(SLOW, name="slow")
    visitor = visit()
    visitor.log_in(f"/runs/{id}")
    pages = [visitor.new_page() for _ in range(8)]
    for page in pages:
        page.goto(f"{service.url}/runs/{id}")

    line = len(service.text(id).splitlines()) // 2 + 10
    for page in pages:
        page.bring_to_front()
        page.locator("#page-console-text", has_text=f"line {line}\n").wait_for()
    assert service.ask("GET", "/healthz").status == 200
    cancel(service, id)
    assert visitor.violations() == []


def test_any_web_worker_can_answer_for_another(serve: Serve, browser: Browser) -> None:
    service = serve(KERNEL_GATEWAY_WEB_WORKERS="3")
    id = service.submit(SLOW, name="slow")
    visitor = Visitor(browser, service)
    page = visitor.log_in(f"/runs/{id}")

    line = len(service.text(id).splitlines()) // 2 + 40
    page.locator("#page-console-text", has_text=f"line {line}\n").wait_for()
    lines = [one for one in page.locator("#page-console-text").inner_text().splitlines() if one.startswith("line")]
    assert lines == [f"line {number}" for number in range(len(lines))]
    cancel(service, id)
    page.locator("#page-status", has_text="cancelled").wait_for()
    assert visitor.violations() == []
    visitor.context.close()


def test_a_page_says_that_its_login_has_ended(visit: Any, service: Service) -> None:
    id = service.submit(SLOW, name="slow")
    visitor = visit()
    page = visitor.log_in(f"/runs/{id}")
    visitor.context.clear_cookies()

    page.locator("#page-notice", has_text="logged out").wait_for()

    cancel(service, id)


# -- everybody can read it -------------------------------------------------------------------------------


def pages_of(service: Service, trained: tuple[str, str]) -> list[str]:
    """Addresses of every kind of page."""
    return ["/", f"/runs/{trained[0]}", f"/compare?runs={trained[0]},{trained[1]}", "/runs/20261121-073012-9f3a1c2b"]


def test_a_phone_scrolls_in_one_direction_only(visit: Any, service: Service, trained: tuple[str, str]) -> None:
    visitor = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = visitor.log_in()

    for path in pages_of(service, trained):
        page.goto(service.url + path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_colour_schemes_and_all_has_a_name(
    visit: Any, service: Service, trained: tuple[str, str], scheme: str
) -> None:
    visitor = visit(color_scheme=scheme)
    visitor.page.goto(service.url)
    assert visitor.page.evaluate(CHECKS + "contrast()") == []
    assert visitor.page.evaluate(CHECKS + "access()") == []
    page = visitor.log_in()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")

    for path in pages_of(service, trained):
        page.goto(service.url + path)
        assert page.evaluate(CHECKS + "contrast()") == [], path
        assert page.evaluate(CHECKS + "access()") == [], path


def test_the_keyboard_reaches_everything_and_shows_where_it_is(visit: Any, service: Service) -> None:
    id = service.submit(SLOW, name="slow")
    page = visit().log_in(f"/runs/{id}")
    page.locator("#page-status", has_text="running").wait_for()
    reached = []
    for _ in range(25):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break  # all the way round
        reached.append(page.evaluate("document.activeElement.innerText || document.activeElement.id"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", reached[-1]

    assert reached[0] == "Skip to the content"
    assert {"Log out", "Cancel", "Run again", "executed.ipynb", "Console"} <= {text.strip() for text in reached}
    assert page.locator("#page-status").get_attribute("aria-live") == "polite"
    cancel(service, id)


def test_times_are_shown_in_the_readers_zone(visit: Any, service: Service, trained: tuple[str, str]) -> None:
    page = visit(timezone_id="Asia/Tokyo", locale="en-GB").log_in(f"/runs/{trained[0]}")
    shown = page.locator("#page-facts time").first

    utc, local = shown.get_attribute("datetime"), shown.inner_text()

    assert utc is not None
    assert f"{(int(utc[11:13]) + 9) % 24:02d}:{utc[14:16]}" in local
    assert (shown.get_attribute("title") or "").endswith(" UTC")
