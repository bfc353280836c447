"""The report in a real Chromium that enforces the policy which Jenkins sends by default."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Open, write_report
from tests.browser.everything import everything, figure
from tests.projections.conftest import Log, code

CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const parse = text => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((part, index) => index < 3 ? part : part / 255);
  };
  const luminance = colour => colour.slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((under, over) =>
      under.map((part, index) => over[index] * over[3] + part * (1 - over[3])), [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text) continue;
    const [one, other] = [luminance(parse(getComputedStyle(element).color)), luminance(ground(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    found.push([ratio, text.slice(0, 40), element.className]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a report that has everything in it, and the files that the report links to."""
    folder = write_report(everything(), tmp_path_factory.mktemp("run"))
    (folder / "artifacts" / "model").mkdir(parents=True)
    (folder / "artifacts" / "model" / "card.json").write_text(json.dumps({"accuracy": 0.9125}))
    return folder


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_report_with_everything_in_it_does_not_violate_the_policy_once(
    folder: Path, open_report: Open, dark: bool
) -> None:
    page = open_report(folder, dark=dark)
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()
    page.wait_for_function("[...document.images].every(image => image.complete)")

    assert page.violations == []  # type: ignore[attr-defined]
    widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 1 + 2 + 10 + 1
    assert min(widths) > 0
    assert page.title() == "train.ipynb: Failed"


def test_the_policy_of_this_test_blocks_what_it_should(tmp_path: Path, open_report: Open) -> None:
    (tmp_path / "report").mkdir()
    page = "<p style='color:red'>x</p><script>document.title = 'ran'</script><img src='data:image/gif;base64,R0lGODlh'>"
    (tmp_path / "report" / "index.html").write_text(f"<!DOCTYPE html><title>t</title>{page}")

    opened = open_report(tmp_path)

    assert opened.title() == "t"
    assert len(opened.violations) == 3  # type: ignore[attr-defined]


def test_hostile_html_of_a_notebook_changes_nothing_outside_its_output(folder: Path, open_report: Open) -> None:
    page = open_report(folder)

    assert page.locator("script, iframe, form, input, object, embed, base, video, svg, style, [onload]").count() == 0
    assert page.locator("meta[http-equiv]").count() == 0
    assert page.locator(".verdict").is_visible()
    assert all(cell.is_visible() for cell in page.locator("article.cell").all())
    assert page.locator("body").evaluate("body => getComputedStyle(body).display") == "block"
    cover = page.get_by_text("cover", exact=True)
    assert cover.evaluate("it => getComputedStyle(it).position") == "static"
    links = page.locator("main a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert all(link is None or link.startswith(("#", "../", "https://")) for link in links)
    page.get_by_role("link", name="Gates").click()
    assert page.url.endswith("/report/index.html#gates")


def test_a_styled_frame_keeps_its_colours(folder: Path, open_report: Open) -> None:
    page = open_report(folder, dark=True)
    table = page.locator(".paper table")

    grounds = table.locator("td.s1, td").evaluate_all("cells => cells.map(it => getComputedStyle(it).backgroundColor)")
    assert {"rgb(2, 56, 88)", "rgb(255, 247, 251)"} <= set(grounds)  # both ends of the gradient PuBu
    bars = table.locator("td").evaluate_all("cells => cells.map(it => getComputedStyle(it).backgroundImage)")
    assert any("linear-gradient" in bar for bar in bars)
    assert table.locator("caption").inner_text() == "By class"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_has_enough_contrast(folder: Path, open_report: Open, dark: bool) -> None:
    page = open_report(folder, dark=dark)
    page.locator("details").evaluate_all("all => all.forEach(it => it.open = true)")

    found: list[Any] = page.evaluate(CONTRAST)

    assert len(found) > 200
    assert [(round(ratio, 2), text, kind) for ratio, text, kind in found if ratio < 4.5] == []


def test_headings_are_in_order_and_everything_has_a_name(folder: Path, open_report: Open) -> None:
    page = open_report(folder)

    levels = page.locator("h1, h2, h3, h4, h5, h6").evaluate_all("all => all.map(it => +it.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    alts = page.locator("img").evaluate_all("all => all.map(it => it.alt)")
    assert all(alts)
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("table:not(:has(th))").count() == 0
    ids = page.locator("[id]").evaluate_all("all => all.map(it => it.id)")
    assert len(set(ids)) == len(ids)
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1, landmark
    assert page.locator("html").get_attribute("lang") == "en"
    regions = page.locator("[role=region]")
    assert all(region.get_attribute("aria-label") for region in regions.all())


def test_the_keyboard_reaches_links_and_scrolling_parts_and_shows_where_it_is(folder: Path, open_report: Open) -> None:
    page = open_report(folder)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")

    focused = page.evaluate("[document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]")
    assert focused == ["A", "solid"]


def test_on_a_phone_only_tables_and_code_scroll_sideways(folder: Path, open_report: Open) -> None:
    page = open_report(folder, width=360)
    page.locator("details").evaluate_all("all => all.forEach(it => it.open = true)")

    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("document.body.scrollWidth") <= 360
    assert page.locator("header.verdict").bounding_box()["width"] > 320  # type: ignore[index]


def test_the_failing_cell_comes_first_and_the_trend_has_a_table(folder: Path, open_report: Open) -> None:
    page = open_report(folder)

    titles = page.locator("h2").all_inner_texts()
    assert titles[:4] == ["What went wrong", "Gates", "Metrics", "Trend"]
    assert "31 rows lack a label" in page.locator("section.trouble pre.error").inner_text()
    page.get_by_text("The numbers").click()
    rows = page.locator("section:has(#trend) tbody tr").all_inner_texts()
    assert len(rows) == 8
    assert "this run" in rows[0]
    assert "◆ unstable" in rows[-3]


def test_a_report_of_200_figures_is_laid_out_before_they_have_loaded(tmp_path: Path, open_report: Open) -> None:
    # Browsers load lazily only where scripts may run, so not under Jenkins' policy, but in a report opened as a file.
    log = Log(code("plot()", "Plot")).start().cell(0)
    for number in range(200):
        log.display({"image/png": figure(number)})
    page = open_report(write_report(log.done(0).end(), tmp_path))

    timing = page.evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
    shown, loaded = timing["domContentLoadedEventEnd"], timing["loadEventEnd"]
    print(f"A page with 200 figures was laid out after {shown:.0f} ms; all had loaded after {loaded:.0f} ms.")
    images = page.locator("img")
    assert images.count() == 200
    assert set(images.evaluate_all("all => all.map(it => it.loading + ' ' + it.decoding)")) == {"lazy async"}
    sizes = images.evaluate_all("all => all.map(it => it.getAttribute('width') + 'x' + it.getAttribute('height'))")
    assert set(sizes) == {"480x240"}
    assert page.violations == []  # type: ignore[attr-defined]
