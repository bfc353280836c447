"""HTTP/1.1 over plain connections, for gateways that are reached without TLS and without a proxy.

`transport.Transport` sends its requests through a `Wire`: this one, or that of `secure`, which stands on urllib3
and brings TLS and proxies. Importing urllib3 takes longer than a short run does, and most builds talk to a gateway in
their own network; so these few pages and `response` speak what a gateway speaks: RFC 9112 with bodies of a known
length, chunked ones, and connections that are kept for the next request.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Mapping
from typing import Protocol
from urllib.parse import quote, urlsplit

from ..errors import UsageError
from .response import BUFFER, CHECK_URL, Connection, NoAnswerError, PlainResponse, Response, broken, words

MOST_IDLE = 8
"""Connections kept for later requests."""

PATH_CHARACTERS = "/:@!$&'()*+,;=~-._%"
"""What stays as it is in a URL's path (RFC 3986, section 3.3); anything else is percent-encoded."""


class Wire(Protocol):
    """Sends requests to one gateway. May be used from several threads."""

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        *,
        connect: float,
        read: float,
    ) -> Response:
        """Make one request; redirects are not followed. ``connect``: seconds to connect; ``read``: without a byte.

        A body of pieces comes with its ``content-length`` in the headers. Raises `NoAnswerError`, and whatever
        the body raises.
        """

    def close(self) -> None:
        """Close idle connections."""


class PlainWire:
    """The `Wire` without TLS and proxy."""

    def __init__(self, url: str) -> None:
        """Raises `UsageError` for a host that can't be one."""
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        parts = urlsplit(url)
        host = parts.hostname or ""
        self._port = parts.port or 80
        try:
            # As bytes, for a name given as text makes Python load its tables of international names.
            self._host = host.encode("ascii" if host.isascii() else "idna")
        except UnicodeError:
            raise UsageError(f"{host!r} in the gateway's URL is no host name.", field="gateway") from None
        name = self._host.decode().partition("%")[0]
        name = f"[{name}]" if ":" in name else name
        self._name = f"{name}:{parts.port}" if parts.port else name

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        *,
        connect: float,
        read: float,
    ) -> PlainResponse:
        """See `Wire`."""
        head = self._head(method, url, headers, body)
        connection = self._take() or self._connect(connect)
        try:
            connection.socket.settimeout(read)
            whole = _send(connection.socket, head, body)
            return PlainResponse(connection, method, self._put_back if whole else None)
        except OSError as error:
            connection.close()
            raise broken(error) from error
        except BaseException:
            connection.close()
            raise

    def _head(self, method: str, url: str, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None) -> bytes:
        parts = urlsplit(url)
        target = quote(parts.path or "/", safe=PATH_CHARACTERS)
        if parts.query:
            target += "?" + quote(parts.query, safe=PATH_CHARACTERS + "?")
        lines = [f"{method} {target} HTTP/1.1", f"host: {self._name}"]
        if isinstance(body, bytes):
            lines.append(f"content-length: {len(body)}")
        for name, value in headers.items():
            if not value.isprintable() or max(value, default="") > "\xff":
                raise UsageError(f"The header {name} can't carry {value!r}: use printable ASCII characters.")
            lines.append(f"{name}: {value}")
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1")

    def _take(self) -> Connection | None:
        """A connection that was used before and is still open."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_quiet:
                return connection
            connection.close()

    def _put_back(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        with self._lock:
            if len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self, seconds: float) -> Connection:
        try:
            addresses = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            name = self._host.decode()
            raise NoAnswerError(f"the name {name} is not known to this machine", sent=False) from None
        failure: OSError | None = None
        for family, kind, protocol, _, address in addresses:
            connecting = socket.socket(family, kind, protocol)
            try:
                connecting.settimeout(seconds)
                connecting.connect(address)
                connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return Connection(connecting)
            except OSError as error:
                connecting.close()
                failure = error
        if isinstance(failure, TimeoutError):
            check = CHECK_URL + " A firewall may lie between."
            raise NoAnswerError("the connection attempt timed out", check, sent=False)
        if isinstance(failure, ConnectionRefusedError):
            raise NoAnswerError("the connection was refused", sent=False)
        raise NoAnswerError(f"the connection broke ({words(failure)})", sent=False)

    def close(self) -> None:
        """See `Wire`."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    __del__ = close  # whoever forgets a client leaves no open connections, as with urllib3


def _send(connected: socket.socket, head: bytes, body: bytes | Iterable[bytes] | None) -> bool:
    """Send a request; whether all of it went out. One that was cut off may have its answer all the same."""
    try:
        if isinstance(body, bytes) and len(body) <= BUFFER:
            connected.sendall(head + body)  # in one piece, so that it leaves as few packets
            return True
        connected.sendall(head)
        for piece in [body] if isinstance(body, bytes) else body or ():
            connected.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True
