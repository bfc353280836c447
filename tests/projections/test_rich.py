"""Foreign HTML in the report: what is harmless stays, coloured tables too, and nothing else."""

from __future__ import annotations

import re

import nh3
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel_gateway.projections.report.figures import Figures
from kernel_gateway.projections.report.rich import Headings, Rich
from kernel_gateway.projections.report.styles import PROPERTIES, Styles, declarations
from tests.projections.conftest import PNG

STYLER = """<style type="text/css">
#T_1 th { text-align: left; }
#T_1_row0_col0, #T_1_row1_col0 { background-color: #ffff00; color: #000000; }
#T_1_row0_col1 { width: 10em; background: linear-gradient(90deg, #d65f5f 50.0%, transparent 50.0%); }
#T_1 tbody tr:nth-child(even):hover { color: red; }
</style>
<table id="T_1" class="dataframe"><thead><tr><th class="blank">&nbsp;</th><th>a</th></tr></thead>
<tbody><tr><th>0</th>
<td id="T_1_row0_col0" class="data row0" style="font-weight:bold">1 &lt; 2</td></tr></tbody></table>"""

PIECES = st.sampled_from(
    [
        *("<script>", "</script>", "<style>", "</style>", "<!--", "-->", "<svg>", "</svg>", "<math>", "<p>", "</p>"),
        *(
            "<img src=x onerror=alert(1)>",
            "<a href='javascript:x'>",
            "<iframe srcdoc=x>",
            "<table><td>",
            "<b id=a",
            ">",
        ),
        *(
            '<div style="',
            "background:url(//x)",
            "color:red",
            '">',
            "<form action=/x>",
            "<meta http-equiv=refresh",
            "'",
        ),
        *(
            "} body { display:none }",
            "@import 'x';",
            "<base href=//x>",
            "&lt;script&gt;",
            "\x00",
            "é",
            "<![CDATA[",
            "]]>",
        ),
        *("<b id=a", "]]>", "'"),
        *("expression(alert(1))", "\\75rl(x)", "position:fixed;", "<noscript>", "<template>", "<textarea>", "<title>"),
    ]
)


def render(html: str) -> tuple[str, str, Figures]:
    """The HTML and the style sheet that come of it."""
    blobs: dict[str, bytes] = {}
    figures, styles = Figures(blobs.__getitem__), Styles()
    shown = Rich(figures, styles, Headings()).html(html)
    return shown, styles.text, figures


def test_a_styled_frame_becomes_a_table_with_classes_and_a_style_sheet_of_its_own() -> None:
    html, css, _ = render(STYLER)

    assert html.startswith('<div class="scroll rich paper o1">')
    assert '<td id="o1-T_1_row0_col0" class="o1-data o1-row0 s1">1 &lt; 2</td>' in html
    assert '<th scope="col">a</th>' in html
    assert '<th scope="row">0</th>' in html
    assert ".o1 #o1-T_1_row0_col0, .o1 #o1-T_1_row1_col0 { background-color: #ffff00; color: #000000 }" in css
    assert "background: linear-gradient(90deg, #d65f5f 50%, transparent 50%)" in css
    assert ".o1 #o1-T_1 tbody tr:nth-child(even):hover" in css
    assert ".rich .s1:not(#_):not(#_) { font-weight: bold }" in css


@pytest.mark.parametrize(
    "css",
    [
        "position: fixed",
        "background: url(https://example.org/x)",
        "background: u\\72l(x)",
        "background-image: image-set('x')",
        "color: expression(alert(1))",
        "color: var(--text)",
        "width: 100000px",
        "width: calc(1px + 100vw)",
        "margin: -100px",
        "padding: -5px",
        "content: 'x'",
        "behavior: url(x)",
        "font: 1px/1 x",
        "transform: scale(100)",
        "opacity: 0",
        "z-index: 9",
        "color: red; }",
    ],
)
def test_no_declaration_that_loads_moves_or_hides_gets_through(css: str) -> None:
    assert declarations(css) in ({}, {"color": "red"})


@pytest.mark.parametrize(
    "selector", ["+ main", "~ .cell", "> td", "a[href]", "td::before", ":root", ":has(a)", "td:not(a)", "|a", "é", "."]
)
def test_selectors_that_could_reach_further_are_left_out(selector: str) -> None:
    styles = Styles()
    styles.sheet(f"{selector} {{ color: #111 }}", "o1")

    assert styles.text == ""


def test_every_selector_is_bound_to_its_output() -> None:
    _, css, _ = render("<style>body, *, .verdict, #gates, td > .x { color: #111111 }</style><p>x</p>")

    assert css == ".o1 body, .o1 *, .o1 .o1-verdict, .o1 #o1-gates, .o1 td > .o1-x { color: #111111 }\n"


def test_colours_that_could_not_be_read_are_made_readable() -> None:
    _, css, _ = render(
        "<p style='color: #ff0000'>a</p><p style='background: #000080'>b</p><p style='color: #000'>c</p>"
    )

    assert re.search(r"\.s1\S+ { color: #[c-f][0-9a-f]0000 }", css)
    assert "color: #ffffff" in css
    assert "{ color: #000 }" in css


def test_images_in_data_uris_become_files() -> None:
    html, _, figures = render(f"<img src='data:image/png;base64,{PNG}' alt='a plot'>")

    assert '<img src="image-001.png" alt="a plot" width="1" height="1" loading="lazy" decoding="async">' in html
    assert next(figures.files())[1].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "url", ["data:text/html;base64,AAAA", "data:image/png;base64,A", "data:image/x;base64,AAAA", "//x/y.png", "x.png"]
)
def test_other_images_leave_their_text(url: str) -> None:
    html, _, figures = render(f"<img src='{url}' alt='a plot'>")

    assert html == '<div class="scroll rich o1"><span class="quiet">[a plot: not part of the report]</span></div>'
    assert list(figures.files()) == []


def test_headings_never_skip_a_level() -> None:
    html, _, _ = render("<h6>a</h6><h1>b</h1><h6>c</h6>")

    assert re.findall(r"<h(\d)>", html) == ["3", "4", "5"]


@pytest.mark.parametrize(
    "text",
    [
        "<div>" * 150_000 + "x",
        "<style>" + "a{" * 100_000,
        "<p style='color:" + "rgb(" * 100_000 + "'>x",
        "<style " * 100_000,
    ],
    ids=["elements", "rules", "functions", "styles"],
)
def test_what_is_nested_without_end_is_given_up_at_once(text: str) -> None:
    html, css, _ = render(text)

    assert len(html) < 100
    assert css == ""


@given(st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join))
@example("<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>")
@example("<style><!--</style><img src=x onerror=alert(1)>-->")
@example('<a title="</a><script>alert(1)</script>" href="java\nscript:x">x')
def test_whatever_a_notebook_shows_the_page_gets_harmless_html_only(text: str) -> None:
    html, css, figures = render(text)
    own = {name for name, _ in figures.files()}

    # The sanitiser, asked once more with a list that has no style and no handler, finds nothing to take away.
    allowed = {"*": {"class", "id", "title", "lang", "dir"}, "a": {"href", "rel"}, "img": {"src", "alt", "loading"}}
    tables = {"td": {"rowspan", "colspan", "align"}, "th": {"rowspan", "colspan", "align", "scope"}}
    again = nh3.clean(html, attributes=allowed | tables, link_rel=None, url_schemes={"http", "https", "mailto"})
    assert again.count("<") == html.count("<")
    assert not re.search(r"<[^>]*\s(?:on\w+|style|srcdoc|action)=", re.sub(r'"[^"]*"', '""', html), re.IGNORECASE)
    assert all(name in own for name in re.findall(r'<img src="([^"]*)"', html))
    for rule in css.splitlines():
        assert re.fullmatch(r"\.(?:o1|rich) [^{}]+ { [^{}<>\\@]+ }", rule)
        assert "url" not in rule
        assert {part.split(":")[0].strip() for part in rule.partition("{")[2].rstrip(" }").split(";")} <= PROPERTIES


@given(st.text(max_size=200) | st.lists(PIECES, max_size=10).map("".join))
def test_no_style_sheet_makes_the_reader_fail(text: str) -> None:
    styles = Styles()
    styles.sheet(text, "o1")
    styles.inline(text)
