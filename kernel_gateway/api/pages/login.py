"""``/login``, ``/logout``: a token in exchange for a cookie."""

from __future__ import annotations

import threading
import time
from collections import deque
from urllib.parse import urlencode, urlsplit

from flask import Response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from .. import sessions
from ..auth import PUBLIC, form, scope
from ..service import gateway
from .blueprint import pages

FAILURES = 10
"""Failed logins from one address, within `WINDOW_SECONDS`, after which it has to wait. Per web worker."""

WINDOW_SECONDS = 60.0

ADDRESSES = 10_000
"""Addresses whose failures are remembered; the oldest make room."""

FAILURE_SECONDS = 0.3
"""How long a login that fails takes, whatever is wrong with the token."""

REFUSED = "This token does not let you in. Check that it is whole, and neither revoked nor expired."


class Failures:
    """When logins failed, by address. Tokens can't be guessed; this keeps those who try from costing much."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def add(self, address: str) -> None:
        """Note a failure."""
        with self._lock:
            times = self._times.pop(address, None) or deque(maxlen=FAILURES)
            times.append(time.monotonic())
            self._times[address] = times
            if len(self._times) > ADDRESSES:
                del self._times[next(iter(self._times))]

    def wait(self, address: str) -> float:
        """Seconds until the address may try again; 0 if it may now."""
        with self._lock:
            times = self._times.get(address)
            if times is None or len(times) < FAILURES:
                return 0.0
            return max(0.0, times[0] + WINDOW_SECONDS - time.monotonic())


failures = Failures()


@pages.get("/login")
@scope(PUBLIC)
def login() -> ResponseReturnValue:
    """The form; on to the page that was wanted for somebody who is logged in."""
    wanted = safe_next(request.args.get("next"))
    if sessions.token() is not None:
        return redirect(wanted, 303)
    if _comes_from_elsewhere() and "here" not in request.args:
        # A strict cookie stays at home when a link of another site, such as a build page, leads here; it comes along
        # with the next step, which this site takes.
        again = "/login?" + urlencode({"next": wanted, "here": "1"})
        return render_template("pages/login.html", next=wanted, again=again)
    return render_template("pages/login.html", next=wanted)


@pages.post("/login")
@scope(PUBLIC)
def log_in() -> ResponseReturnValue:
    """Check the token. Every failure takes the same time and is told in the same words."""
    sessions.check_origin()
    wanted = safe_next(request.form.get("next"))
    address = request.remote_addr or ""
    if wait := failures.wait(address):
        message = f"Too many logins failed. Try again in {wait:.0f} s."
        page = render_template("pages/login.html", next=wanted, message=message)
        return Response(page, 429, {"Retry-After": str(int(wait) + 1)})
    begun = time.monotonic()
    token = gateway().tokens.check(request.form.get("token", "").strip())
    if token is None or not token.allows("read"):
        failures.add(address)
        time.sleep(max(0.0, FAILURE_SECONDS - (time.monotonic() - begun)))
        return render_template("pages/login.html", next=wanted, message=REFUSED), 401
    sessions.begin(token)
    return redirect(wanted, 303)


@pages.post("/logout")
@scope("read")
@form
def log_out() -> ResponseReturnValue:
    """End the session."""
    sessions.end()
    return redirect("/login", 303)


def safe_next(wanted: str | None) -> str:
    """The page to go on to: a path of this service, else the list of runs. Never an address somewhere else."""
    if not wanted or len(wanted) > 2000 or not wanted.isprintable() or "\\" in wanted:
        return "/"
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return "/"
    if parts.scheme or parts.netloc or not wanted.startswith("/") or wanted.startswith("//"):
        return "/"
    if parts.path in ("/login", "/logout") or parts.path.endswith(("/fragment", "/cancel", "/rerun")):
        return "/"
    return wanted


def _comes_from_elsewhere() -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "cross-site"
    referrer = request.headers.get("Referer")
    return referrer is not None and sessions.site_of(referrer) != request.host
