"""The report: a static page that Jenkins' content security policy lets through."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from kernel_gateway.projections import Report
from kernel_gateway.projections.metrics import MetricSummary
from kernel_gateway.projections.report.charts import curve_svg
from kernel_gateway.settings import Settings
from tests.projections.conftest import PNG, Log, code, markdown

VOID = {"img", "meta", "link", "br", "hr", "wbr", "col", "source"}


def files(log: Log, settings: Settings | None = None) -> dict[str, bytes]:
    """The report of a log, after a check of every page against the policy."""
    report = Report(settings or Settings(), log.blobs)
    for event in log.events:
        report.feed(event)
    made = dict(report.files())
    assert dict(report.files()) == made, "files() must not consume anything"
    Checker(set(made)).check(made["index.html"].decode())
    return made


def page(log: Log, settings: Settings | None = None) -> str:
    return files(log, settings)["index.html"].decode()


class Checker(HTMLParser):
    """Fails on what ``sandbox; default-src 'none'; img-src 'self'; style-src 'self'`` blocks, and on loose ends."""

    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self.names = names
        self.open: list[str] = []
        self.ids: list[str] = []

    def check(self, text: str) -> None:
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(set(self.ids)) == len(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert tag not in ("script", "style", "iframe", "form", "object", "embed", "base", "svg")
        assert "style" not in given
        assert not any(name.startswith("on") for name in given)
        assert not (given.get("href") or "").lower().startswith(("javascript:", "data:"))
        # Foreign images become text; what stays must be ours and have an alternative text.
        if tag == "img":
            assert given["src"] in self.names
            assert given.get("alt")
            assert given["loading"] == "lazy"
        if tag == "source":
            assert given["srcset"] in self.names
        if tag == "link":
            assert given["href"] in self.names
        if "id" in given:
            self.ids.append(given["id"] or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_a_realistic_run_makes_a_page_with_style_sheet_images_and_curves(rich_log: Log) -> None:
    made = files(rich_log)

    assert sorted(made) == [
        *("curve-001-dark.svg", "curve-001.svg", "image-001.png", "image-002.png"),
        *("index.html", "notebook.css", "style.css"),
    ]
    assert made["image-001.png"] == b"\x89PNG" * 300
    assert made["image-002.png"].startswith(b"\x89PNG\r\n")
    assert ElementTree.fromstring(made["curve-001.svg"].decode()).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_verdict_and_the_failing_cell_come_before_everything_else(rich_log: Log) -> None:
    text = page(rich_log)
    order = [text.index(word) for word in ("Failed</h1>", 'id="trouble"', "Traceback", 'id="gates"', 'id="metrics"')]

    assert order == sorted(order)
    assert 'href="#cell-6"' in text
    assert 'id="cell-6"' in text


def test_a_run_without_trouble_has_no_section_for_it() -> None:
    text = page(Log(code("x", "X")).start().cell(0).done(0).end())

    assert "Succeeded</h1>" in text
    assert "What went wrong" not in text


def test_gates_metrics_artifacts_and_provenance_have_tables(rich_log: Log) -> None:
    text = page(rich_log)

    assert "loss &lt;= 0.1" in text
    assert 'class="bad">✗ not met' in text
    assert '<th scope="row">loss</th><td><strong>0.2</strong></td><td>1</td><td>0.2</td><td>1</td>' in text
    assert 'href="../artifacts/models/m%201.pkl"' in text
    assert "abc123" in text
    assert "numpy" in text


def test_html_and_markdown_are_shown_without_what_could_run(rich_log: Log) -> None:
    text = page(rich_log)

    assert '<table><tbody><tr><td class="s1">1</td></tr></tbody></table>' in text
    assert "alert(1)" not in text
    assert "x()" not in text
    assert "<h3>Train a model</h3>" in text
    assert "<em>digits</em>" in text


@pytest.mark.parametrize(
    "html",
    [
        "<img src=x onerror=alert(1)>",
        "<img src='data:image/png;base64,AAAA' alt=''>",
        "<img alt='' src='https://example.org/x.png'>",
        "<a href='javascript:alert(1)'>x</a>",
        "<div style='position:fixed' id='cell-0'>x</div>",
        "<svg><script>alert(1)</script></svg><b>b</b>",
        "<form action=x><input></form>text",
        "</div></main><h1>fake</h1>",
    ],
)
def test_hostile_html_does_not_get_through(html: str) -> None:
    log = Log(code("x", "X"), markdown(html)).start().cell(0).display({"text/html": html, "text/plain": "p"})
    text = page(log)

    assert "alert(1)" not in text.replace("&lt;", "")
    assert "example.org" not in text
    assert "<form" not in text


def test_titles_and_text_of_the_program_are_escaped() -> None:
    evil = "<script>alert(1)</script>"
    log = Log(code(evil, evil), name=evil + ".py").start().cell(0).print(evil).error(0, evil, evil)
    log.add("artifact", path=f"{evil}\"'", sha256="0", size=1, media_type=evil, cell=0)
    log.add("gate", expression=evil, value=None, bound=None, passed=False, message=evil)
    log.add("metric", name=evil, value=1, step=0, cell=0).add("metric", name=evil, value=2, step=1, cell=0)
    log.done(0, "error").end("failed", evil, 1)

    assert evil not in page(log)


def test_interactive_html_that_would_be_empty_falls_back_to_text() -> None:
    log = Log(code("x", "X")).start().cell(0)
    log.display({"text/html": "<div><script>plot()</script></div>", "text/plain": "Figure(...)"})

    assert '<pre class="result" tabindex="0">Figure(...)</pre>' in page(log)


def test_attachments_of_markdown_become_files() -> None:
    log = Log(markdown("![plot](attachment:a.png)", attachments={"a.png": {"image/png": PNG}})).start()

    assert '<img src="image-001.png" alt="plot" width="1" height="1" loading="lazy" decoding="async">' in page(log)
    assert files(log)["image-001.png"].startswith(b"\x89PNG")


def test_text_is_folded_free_of_colours_and_bounded() -> None:
    log = Log(code("x", "X")).start().cell(0).print("\r10%").print("\r\x1b[32m99%\x1b[0m\n")
    for _ in range(100):
        log.print("line of text\n" * 1000)
    text = page(log, Settings(notebook_limit=10_000))

    assert ">99%\n" in text
    assert "events.jsonl has them whole" in text
    assert len(text) < 30_000


def test_colours_have_enough_contrast_in_both_schemes(rich_log: Log) -> None:
    css = files(rich_log)["style.css"].decode()
    light, dark = css.split("@media (prefers-color-scheme: dark)")
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", scheme.split("* {")[0]))
        for name in ("text", "quiet", "link", "good", "bad", "warn"):
            for ground in ("page", "soft"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio of two colours."""
    levels = []
    for colour in (one, other):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        levels.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(levels) + 0.05) / (min(levels) + 0.05)


def test_a_curve_survives_flat_and_huge_series() -> None:
    for values in ([1.0, 1.0], [-1e308, 1e308], [0.0, 5e-324]):
        summary = MetricSummary()
        for value in values:
            summary.add(value)
        svg = curve_svg(summary.steps())
        assert "nan" not in svg
        assert "inf" not in svg
        ElementTree.fromstring(svg)
