"""What a client, a kernel or a URL says stays text in the pages, and the report's HTML is cleaned once more."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest

from kernel_gateway.api.pages import embed, formats
from kernel_gateway.events import EventType
from tests.api.conftest import Service

from .conftest import Reader

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "{{ 7 * 7 }}{% for x in y %}",
    "</pre></textarea></title><svg onload=alert(1)>",
    "javascript:alert(1)//",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href=javascript:alert(1)>x</a><form action=//evil><input name=csrf>",
    "\u202e<base href=//evil>\u2028",
]

ALLOWED_SCRIPTS = "/static/web.js"


class Inspector(HTMLParser):
    """Notes everything in a page that could run, load or send something that is not the service's own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        for name, value in values.items():
            if name.startswith("on") or name in ("style", "srcdoc", "formaction"):
                self.found.append(f"{tag} {name}={value}")
            plain = "".join((value or "").split()).lower()
            if name in ("href", "src", "action") and plain.startswith(("javascript:", "data:", "vbscript:", "//")):
                self.found.append(f"{tag} {name}={value}")
        if tag in ("iframe", "object", "embed", "base", "style", "frame", "math", "template"):
            self.found.append(tag)
        if tag == "script" and not (values.get("src") or "").startswith(ALLOWED_SCRIPTS):
            self.found.append(f"script {values}")
        if tag == "form" and not (values.get("action") or "").startswith("/"):
            self.found.append(f"form {values}")


def dangers(page: str) -> list[str]:
    """What is dangerous in a page."""
    inspector = Inspector()
    inspector.feed(page)
    inspector.close()
    return inspector.found


def test_the_inspection_sees_what_it_looks_for() -> None:
    for payload in (PAYLOADS[0], PAYLOADS[1], PAYLOADS[4], PAYLOADS[6], PAYLOADS[7], PAYLOADS[8]):
        assert dangers(payload), payload


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_in_any_field_stays_text(service: Service, reader: Reader, payload: str) -> None:
    line = "".join(letter for letter in payload if letter.isprintable())
    html = {"text/html": payload, "text/plain": payload}
    id = service.new_run(
        name=line,
        parameters={"epochs": {payload: payload}},
        build={"job": payload, "number": payload, "url": payload},
        git={"commit": payload, "branch": payload, "dirty": payload},
        require=["accuracy >= 0.9"],
    )
    other = service.new_run()
    service.start(id)
    service.agent_says(
        name=payload, labels=[payload], gpus={payload: id}, pool=[{"kernel": payload, "problem": payload}]
    )
    service.write(
        id,
        (EventType.CELL_STARTED, {"cell": 1, "id": payload, "title": payload, "kernel": payload}),
        (EventType.STREAM, {"cell": 1, "name": "stdout", "text": payload + "\n"}),
        (EventType.DISPLAY, {"cell": 1, "data": html, "metadata": {}, "blobs": {}, "display_id": None}),
        (EventType.METRIC, {"name": payload, "value": 1.0, "step": 0, "cell": 1}),
        (EventType.METRIC, {"name": payload, "value": 2.0, "step": 1, "cell": 1}),
        (EventType.ERROR, {"cell": 1, "ename": payload, "evalue": payload, "traceback": [payload]}),
        (EventType.ARTIFACT, {"path": payload, "sha256": payload, "size": 1, "media_type": payload, "cell": 1}),
        (EventType.GATE, {"expression": payload, "value": 1.0, "bound": 2.0, "passed": False, "message": payload}),
        (EventType.LOG, {"level": "error", "message": payload}),
    )

    for state in ("running", "ended"):
        for path in ("/", f"/runs/{id}", f"/runs/{id}/fragment", f"/compare?runs={id},{other}", "/runs/fragment"):
            page = reader.page(path)
            assert dangers(page) == [], (state, path)
            assert "{{ 7 * 7 }}" in page or "7 * 7" not in payload
        if state == "running":
            service.end(id)
            service.gateway.runs._change(id, list(type(service.gateway.run(id).status)), reason=payload)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_in_an_address_stays_text(service: Service, reader: Reader, payload: str) -> None:
    names = ("text", "name", "status", "build", "cursor", "runs", "next")
    for path in ("/", "/compare", "/login", "/runs/fragment"):
        answer = reader.get(path, query_string=dict.fromkeys(names, payload))
        assert dangers(answer.text) == []
    stranger = service.app.test_client()
    assert dangers(stranger.get("/login", query_string={"next": payload}).text) == []
    assert "\n" not in stranger.get("/", query_string={"text": payload}).headers["Location"]


def report(content: str, before: str = "") -> str:
    """A report's page whose sanitising has failed altogether."""
    return f"<html><head></head><body>{before}<main>{content}</main></body></html>"


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_hole_in_the_report_is_none_in_the_page(payload: str) -> None:
    shown = embed.embedded(report(payload, f"<nav>{payload}</nav>"), "20261121-073012-9f3a1c2b")

    assert dangers(shown) == []
    assert "<form" not in shown
    assert "<input" not in shown


def test_a_report_can_not_take_the_place_of_a_part_of_the_page() -> None:
    shown = embed.embedded(report('<p id="page-tools">x</p><p id="cell-1">y</p><p style="position:fixed">z</p>'), "x")

    assert "page-tools" not in shown
    assert 'id="cell-1"' in shown
    assert "style" not in shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ('<img src="image-001.png" alt="a">', '<img src="/runs/R/report/image-001.png?v=abc" alt="a">'),
        ('<img src="curve-001.svg">', '<img src="/runs/R/report/curve-001.svg">'),
        ('<img src="https://evil.example/x.png">', "<img>"),
        ('<img src="//evil.example/x.png">', "<img>"),
        ('<img src="/logout">', "<img>"),
        ('<img src="..\\x.png">', "<img>"),
        ('<a href="http://[x">y</a>', '<a rel="noopener noreferrer">y</a>'),
        ('<a href="../artifacts/a%20b/m.bin">x</a>', "/api/v1/runs/R/artifacts/a%20b/m.bin"),
        ('<a href="#cell-3">x</a>', 'href="#cell-3"'),
        ('<a href="https://example.org/">x</a>', 'href="https://example.org/" rel="noopener noreferrer"'),
    ],
)
def test_addresses_of_a_report_lead_back_to_it(given: str, shown: str) -> None:
    assert shown in embed.embedded(report(given), "R", {"image-001.png": "abc"})


@pytest.mark.parametrize(
    "style",
    [
        "} body { display: none",
        "a { color: red } } body { display: none } b {",
        "/* } */ a { content: '}' } }",
        "a {",
        "a { content: '\\'}' } } b { content: '",
        "a { b: '\n} body { display: none } x { y: '",
    ],
)
def test_a_style_that_would_reach_beyond_the_report_is_left_out(style: str) -> None:
    assert embed.confined(style) == ""


@pytest.mark.parametrize(
    "style", ["", "a { b: c } /* } */", "@media print { a { content: '}\\'' } }", 'a { b: "\\"}" }']
)
def test_a_style_of_a_report_is_confined_to_it(style: str) -> None:
    assert embed.confined(style) == "#page-report {\n" + style + "\n}\n"


def test_a_page_without_a_report_in_it_is_shown_without() -> None:
    assert embed.embedded("<p>nothing", "R") == ""
    assert embed.styles("<p>nothing") == []


@pytest.mark.parametrize("value", [None, "", "x", "<b>", "2026-11-21T07:30:12Z", "9999-99-99"])
def test_whatever_stands_for_a_time_is_shown(value: Any) -> None:
    assert "<b>" not in formats.moment(value)


def test_values_are_shown_as_people_write_them() -> None:
    assert [formats.change(value) for value in (None, 0.0, 1.5, -0.25, float("nan"))] == ["", "±0", "+1.5", "−0.25", ""]
    assert formats.plain({"a": "<b>"}) == json.dumps({"a": "<b>"}, separators=(",", ":"))
