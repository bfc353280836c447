"""The `Wire` for TLS and proxies, by urllib3, whose import takes longer than a short run: `wire` does without it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import urllib3

from ..errors import UsageError
from .response import CHECK_URL, NoAnswerError, check_encoding, read_all
from .wire import MOST_IDLE

UPLOAD_BLOCK = 1 << 18


class SecureWire:
    """See `wire.Wire`."""

    def __init__(self, proxy: str | None, ca_file: str | None) -> None:
        """``ca_file``: certificate of the CA that signed the gateway's; without it, those that this machine trusts.

        Raises `UsageError` when there is no such file.
        """
        # urllib3 sets TCP_NODELAY by itself. Repeating is done by the transport, where it can be told and stopped.
        options: dict[str, Any] = {"maxsize": MOST_IDLE, "retries": False, "blocksize": UPLOAD_BLOCK}
        options["cert_reqs"] = "CERT_REQUIRED"
        if ca_file:
            if not os.path.isfile(ca_file):
                raise UsageError(f"There is no file {ca_file} with the gateway's CA certificate.", field="ca_file")
            options["ca_certs"] = ca_file
        self._pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        *,
        connect: float,
        read: float,
    ) -> SecureResponse:
        """See `wire.Wire`."""
        with _errors_told(url):
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=dict(headers),
                timeout=urllib3.Timeout(connect=connect, read=read),
                preload_content=False,
                decode_content=False,
                redirect=False,
            )
        try:
            check_encoding(response.headers)
        except NoAnswerError:
            response.close()
            raise
        return SecureResponse(response, url)

    def close(self) -> None:
        """See `wire.Wire`."""
        self._pool.clear()


class SecureResponse:
    """See `response.Response`."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str) -> None:
        self._response = response
        self._url = url
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers

    def read(self) -> bytes:
        """See `response.Response`."""
        return read_all(self)

    def read1(self, size: int) -> bytes:
        """See `response.Response`."""
        with _errors_told(self._url):
            return self._response.read1(size, decode_content=False)

    def close(self) -> None:
        """See `response.Response`."""
        self._response.close()


@contextmanager
def _errors_told(url: str) -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.HTTPError as error:
        cause, check = _cause(url, error)
        not_sent = urllib3.exceptions.ConnectTimeoutError | urllib3.exceptions.NewConnectionError
        raise NoAnswerError(cause, check, sent=not isinstance(error, not_sent)) from error


def _cause(url: str, error: urllib3.exceptions.HTTPError) -> tuple[str, str]:
    parts = urlsplit(url)
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return f"the name {parts.hostname} is not known to this machine", CHECK_URL
    # urllib3 derives "no connection" from "timed out while connecting".
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError) and "refused" not in _short(error):
        return "the connection attempt timed out", CHECK_URL + " A firewall may lie between."
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return "it accepted the connection but did not answer in time", "The gateway's log may tell why."
    reason = getattr(error, "reason", None)
    if isinstance(error, urllib3.exceptions.ProxyError):
        return f"the proxy failed ({_short(error)})", "Name the gateway's host in NO_PROXY if it needs no proxy."
    if isinstance(error, urllib3.exceptions.SSLError) or isinstance(reason, ssl.SSLError):
        text = _short(error)
        if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
            help = "Name the CA's certificate file in SSL_CERT_FILE if the gateway has one of your own."
            return "its TLS certificate is not trusted by this machine", help
        return f"TLS failed ({text})", f"Check whether the URL must begin with http:// (port {parts.port})."
    text = _short(error)
    if "refused" in text:
        return "the connection was refused", CHECK_URL
    return f"the connection broke ({text})", CHECK_URL


def _short(error: BaseException) -> str:
    """The innermost cause of a urllib3 error, in its own words."""
    inner: BaseException = error
    while (cause := inner.__cause__ or getattr(inner, "reason", None)) is not None and isinstance(cause, BaseException):
        inner = cause
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror.lower()
    return str(inner).split("Caused by")[0].strip().rstrip(".") or type(inner).__name__
