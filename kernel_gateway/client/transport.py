"""Requests to a gateway that survive what happens to networks and services.

Every request of this program may be repeated without harm: a submit carries an idempotency key, a blob is
named by its content, a second cancel changes nothing. So a request whose answer was lost is sent again, and a
gateway that says "not now" (429, 502, 503, 504) is asked again, until the `Patience` for it has run out.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from .. import __version__
from ..errors import UnreachableError, UsageError
from .problems import NOT_NOW, no_answer, problem
from .response import NoAnswerError, Response, no_gateway
from .wire import PlainWire, Wire

FIRST_DELAY, LAST_DELAY = 0.1, 5.0
"""Seconds between two tries: doubled from the first to the last."""

MAX_RETRY_AFTER = 30.0
"""Seconds that a gateway's ``Retry-After`` may ask for; more is cut, so that its return is noticed."""

UPLOAD_BLOCK = 1 << 18

Remark = Callable[[str], None]
"""Takes a sentence for people about what the connection does."""


class Stopped(Exception):
    """The caller's ``stop`` was set while a request waited for its next try."""


class Timeouts(NamedTuple):
    """Seconds: to connect, for the next bytes of an answer, and for the next bytes of a stream, heartbeats included."""

    connect: float = 10.0
    read: float = 120.0
    stream: float = 60.0


class Patience(NamedTuple):
    """For how long an absent gateway is waited for: one that never answered, and one that did before. Seconds."""

    first: float = 10.0
    later: float = 600.0


class Outage:
    """One stretch of time in which a gateway did not answer; decides how long to go on, and tells it once."""

    def __init__(self, transport: Transport, patience: float | None = None) -> None:
        self._transport = transport
        self._patience = patience
        self._since: float | None = None
        self._told = False
        self._delay = FIRST_DELAY

    def over(self) -> None:
        """The gateway has answered, and as it should."""
        self.answered()
        self._delay = FIRST_DELAY

    def answered(self) -> None:
        """The gateway is there; whether its answer is of use will be seen."""
        if self._told and self._since is not None:
            self._transport.remark(f"The gateway answers again, after {time.monotonic() - self._since:.0f} s.")
        self._since, self._told = None, False

    def wait(self, error: UnreachableError | Exception, at_least: float = 0.0) -> None:
        """Wait until the next try is due. Raises `error` when patience has run out, `Stopped` when told to stop."""
        from random import uniform

        now = time.monotonic()
        if self._since is None:
            self._since = now
        limit = self._transport.patience_now if self._patience is None else self._patience
        if now - self._since + at_least >= limit:
            raise error
        if not self._told and (now - self._since > 1 or at_least > 1):
            self._told = True
            self._transport.remark(f"{str(error).split(': ')[0].rstrip('.')}; trying again for up to {limit:.0f} s.")
        delay = max(at_least, self._delay * uniform(0.5, 1.0))
        self._delay = min(self._delay * 2, LAST_DELAY)
        if self._transport.stop.wait(min(delay, max(0.05, self._since + limit - now))):
            raise Stopped


class Answer:
    """An answer's status, headers and content. ``lost`` counts the tries before whose answer never came."""

    def __init__(self, response: Response, lost: int = 0) -> None:
        """Reads the content. Raises `NoAnswerError` when it does not come, `UnreachableError` for too much."""
        self.lost = lost
        self.status = response.status
        self.headers = response.headers
        self.content = response.read()

    def json(self) -> Any:
        """The object that the content is in JSON. Raises `UnreachableError` for any other: no gateway answers there."""
        try:
            document = json.loads(self.content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise no_gateway("its answer is not an object of JSON")
        return document

    def entries(self, key: str) -> list[dict[str, Any]]:
        """The objects that the answer lists below a key. Raises `UnreachableError` as `json` if it does not."""
        found = self.json().get(key)
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise no_gateway(f"its answer has no list of {key}")
        return found


class Transport:
    """A gateway's URL with what is needed to talk to it. May be used from several threads.

    ``stop``: once set, no more tries are made. ``remark`` is told about outages.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeouts: Timeouts | None = None,
        patience: Patience | None = None,
        ca_file: str | None = None,
        remark: Remark | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.url = check_url(url)
        self.has_token = bool(token)
        self.remark: Remark = remark or (lambda sentence: None)
        self.stop = stop or threading.Event()
        self._timeouts = Timeouts() if timeouts is None else timeouts
        self._patience = Patience() if patience is None else patience
        self._has_answered = False
        self._headers = {"user-agent": f"kernel-gateway/{__version__}", "accept-encoding": "identity"}
        if token:
            self._headers["authorization"] = f"Bearer {_check_token(token)}"
        self._wire = _wire(self.url, ca_file)

    @property
    def patience_now(self) -> float:
        """Seconds for which an absent gateway is waited for, as things are."""
        return self._patience.later if self._has_answered else self._patience.first

    def close(self) -> None:
        """Close idle connections."""
        self._wire.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        content: Callable[[], Iterator[bytes]] | None = None,
        size: int = 0,
        headers: Mapping[str, str] | None = None,
        patience: float | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """One answer below 400. ``content`` makes the body anew for each try, ``size`` bytes long.

        Raises the `GatewayError` that fits the answer, or `UnreachableError` when patience has run out.
        """
        outage = Outage(self, patience)
        sent: dict[str, str] = dict(headers or {})
        body: bytes | None = None
        if json is not None:
            body = _encode(json)
            sent["content-type"] = "application/json"
        elif content is not None:
            sent |= {"content-type": "application/octet-stream", "content-length": str(size)}
        seconds = self._timeouts.read if timeout is None else timeout
        lost = 0
        while True:
            try:
                answer = Answer(self._send(method, path, query, content() if content else body, sent, seconds), lost)
            except NoAnswerError as error:
                lost += error.sent
                outage.wait(no_answer(self.url, error))
                continue
            if answer.status < 400:
                outage.over()
                return answer
            failure = problem(self.url, answer.status, answer.content, self.has_token)
            if answer.status not in NOT_NOW:
                raise failure
            outage.wait(failure, _retry_after(answer.headers))

    @contextmanager
    def stream(
        self, path: str, *, query: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[Response]:
        """An answer below 400 whose content is read by the caller, who also repeats: one try only.

        Raises `UnreachableError` for a broken connection, also from the ``with`` block, with ``retry_after`` set
        where the gateway gave it, and other `GatewayError` for what repeating doesn't mend.
        """
        response: Response | None = None
        try:
            response = self._send("GET", path, query, None, headers or {}, self._timeouts.stream)
            if response.status >= 400:
                failure = problem(self.url, response.status, response.read(), self.has_token)
                if response.status in NOT_NOW:
                    raise NotNow(str(failure), _retry_after(response.headers))
                raise failure
            yield response
        except NoAnswerError as error:
            raise NotNow(str(no_answer(self.url, error))) from error
        finally:
            if response is not None:
                response.close()

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: bytes | Iterator[bytes] | None,
        headers: Mapping[str, str],
        seconds: float,
    ) -> Response:
        url = self.url + path
        if given := {name: value for name, value in (query or {}).items() if value is not None}:
            url += "?" + urlencode(given)
        response = self._wire.send(
            method,
            url,
            {**self._headers, **headers},
            body,
            connect=min(self._timeouts.connect, seconds),
            read=seconds,
        )
        self._has_answered = True
        if 300 <= response.status < 400 and response.status != 304:
            response.close()
            target = response.headers.get("location", "another address")
            raise UnreachableError(f"{self.url} sends on to {target[:500]!a}: use that URL for the gateway.")
        return response


class NotNow(UnreachableError):
    """The gateway can't be talked to at the moment; ``retry_after`` are the seconds that it asks to wait."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def _wire(url: str, ca_file: str | None) -> Wire:
    """What reaches this URL. Raises `UsageError` for a CA file that isn't there."""
    proxy = _proxy(url)
    if proxy is None and urlsplit(url).scheme == "http":
        return PlainWire(url)
    from .secure import SecureWire

    return SecureWire(proxy, ca_file)


def check_url(url: str) -> str:
    """The URL without its end's slashes. Raises `UsageError` for what is no http(s) URL."""
    text = url.strip()
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment:
        raise UsageError(
            f"{url!r} is no gateway's URL; it looks like http://gateway.example:8888. "
            "Give it with --gateway or KERNEL_GATEWAY_URL.",
            field="gateway",
        )
    if parts.username is not None:
        raise UsageError("Leave user name and password out of the gateway's URL: set KERNEL_GATEWAY_TOKEN instead.")
    return text.rstrip("/").removesuffix("/api/v1").rstrip("/")


def _check_token(token: str) -> str:
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("KERNEL_GATEWAY_TOKEN holds characters that no token has; set it anew.", field="token")
    return token


def _encode(value: Any) -> bytes:
    """JSON as Python writes it: it keeps NaN and integers of any size, which parameters may be."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace")


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for this URL, by the rules of curl and pip."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _retry_after(headers: Mapping[str, str]) -> float:
    """The header's seconds, or seconds until the time it gives; 0 without it."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
