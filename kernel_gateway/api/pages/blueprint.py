"""What all pages share: the blueprint, its headers, refusals in words for people.

A view is marked with its scope as any other, and one that takes a form with `auth.form`. Refusals are problem documents
all over the service; `_as_page` makes pages of them. Names and texts are escaped by Jinja; what a kernel made comes in
by `embed` alone.
"""

from __future__ import annotations

from urllib.parse import urlencode

import orjson
from flask import Blueprint, Response, g, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from ...events import Status
from ...projections.margins import number_text
from .. import problems, sessions
from . import formats

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""What a page may do: nothing that is not a file of this service."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

pages = Blueprint("pages", __name__, template_folder="templates")


@pages.after_request
def _guard(response: Response) -> BaseResponse:
    """Headers that every page has, and refusals in words for people."""
    if response.mimetype == problems.MEDIA_TYPE:
        return _as_page(response)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _as_page(problem: Response) -> BaseResponse:
    """A page that says what a problem document says; to somebody who has to log in, the page for that."""
    if problem.status_code == 401 and request.method in sessions.SAFE_METHODS:
        if request.path.endswith("/fragment"):
            return _with_headers(Response(status=401))
        wanted = request.full_path.rstrip("?")
        return _with_headers(redirect("/login?" + urlencode({"next": wanted}), 303))
    content = orjson.loads(problem.get_data())
    if problem.status_code == 401:
        content["detail"] = "The login has ended. Log in again, then try it once more."
    page = render_template("pages/problem.html", problem=content)
    response = Response(page, status=problem.status_code)
    if "Retry-After" in problem.headers:
        response.headers["Retry-After"] = problem.headers["Retry-After"]
    return _with_headers(response)


def _with_headers(response: BaseResponse) -> BaseResponse:
    response.headers.update(HEADERS)
    return response


@pages.context_processor
def _shared() -> dict[str, object]:
    """What every template may use."""
    token = g.get("token")
    return {
        "token": token,
        "may_run": token is not None and token.allows("run"),
        "csrf_field": sessions.FORM_FIELD,
        "csrf": sessions.form_token,
        "statuses": [str(status) for status in Status],
    }


for _filter in (
    formats.moment,
    formats.duration,
    number_text,
    formats.change,
    formats.size,
    formats.words,
    formats.plain,
):
    pages.add_app_template_filter(_filter)
