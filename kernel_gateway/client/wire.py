"""HTTP/1.1 over plain connections, for gateways that are reached without TLS and without a proxy.

`transport.Transport` sends its requests through a `Wire`: this one, or that of `secure`, which stands on urllib3
and brings TLS and proxies. Importing urllib3 takes longer than a short run does, and most builds talk to a gateway in
their own network; so these few pages speak what a gateway speaks: RFC 9112 with bodies of a known length, chunked ones,
and connections that are kept for the next request. Compressed bodies are not asked for.
"""

from __future__ import annotations

import re
import select
import socket
import threading
from collections.abc import Iterable, Mapping
from typing import NoReturn, Protocol
from urllib.parse import quote, urlsplit

from ..errors import UsageError

MOST_IDLE = 8
"""Connections kept for later requests."""

BUFFER = 1 << 16

LONGEST_LINE = 1 << 16
MOST_HEADERS = 200
MOST_INTERIM = 20
"""Answers such as 103 Early Hints that may come before the one that counts."""

_NUMBER = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")

PATH_CHARACTERS = "/:@!$&'()*+,;=~-._%"
"""What stays as it is in a URL's path (RFC 3986, section 3.3); anything else is percent-encoded."""

CHECK_URL = "Check that the URL (--gateway or KERNEL_GATEWAY_URL) is right and that `kernel-gateway serve` runs there."


class NoAnswerError(Exception):
    """A request got no whole answer. ``cause`` says why, ``check`` what to look at; both are for people.

    ``sent``: the gateway may have carried the request out, since a connection was made.
    """

    def __init__(self, cause: str, check: str = CHECK_URL, *, sent: bool = True) -> None:
        super().__init__(cause)
        self.cause = cause
        self.check = check
        self.sent = sent


class Response(Protocol):
    """An answer whose content is still to be read. Reading raises `NoAnswerError` when the connection breaks."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers; names in lower case find theirs."""

    def read(self) -> bytes:
        """All of the content that is left."""

    def read1(self, size: int) -> bytes:
        """What has come, at most so many bytes, as soon as there is any; empty at the end."""

    def close(self) -> None:
        """Give the connection back, or close it if the content was not read to its end. May be called twice."""


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
        self._idle: list[_Connection] = []
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
            return PlainResponse(self, connection, method, reusable=whole)
        except OSError as error:
            connection.close()
            _fail(error)
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

    def _take(self) -> _Connection | None:
        """A connection that was used before and is still open."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_quiet:
                return connection
            connection.close()

    def put_back(self, connection: _Connection) -> None:
        """Keep a connection for the next request; `PlainResponse` calls it when all was read."""
        with self._lock:
            if len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self, seconds: float) -> _Connection:
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
                return _Connection(connecting)
            except OSError as error:
                connecting.close()
                failure = error
        if isinstance(failure, TimeoutError):
            check = CHECK_URL + " A firewall may lie between."
            raise NoAnswerError("the connection attempt timed out", check, sent=False)
        if isinstance(failure, ConnectionRefusedError):
            raise NoAnswerError("the connection was refused", sent=False)
        raise NoAnswerError(f"the connection broke ({_words(failure)})", sent=False)

    def close(self) -> None:
        """See `Wire`."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    __del__ = close  # whoever forgets a client leaves no open connections, as with urllib3


class _Connection:
    """A socket, and a buffer for what was received from it."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.file = connected.makefile("rb")

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits to be read: an idle connection to which something comes, such as its end, is done.

        So is one with more than the answer had to be: that would be taken for the answer to the next request.
        """
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        if poll.poll(0):
            return False
        self.socket.settimeout(0.0)
        return not self.file.peek(1)

    def close(self) -> None:
        """Close it."""
        self.file.close()
        self.socket.close()


class PlainResponse:
    """The `Response` of a `PlainWire`."""

    def __init__(self, wire: PlainWire, connection: _Connection, method: str, *, reusable: bool) -> None:
        """Reads the head of the answer. ``reusable``: whether the connection may serve another request."""
        self._wire = wire
        self._connection: _Connection | None = connection
        self._file = connection.file
        version, self.status, headers = self._head()
        self.headers: Mapping[str, str] = headers
        persistence = self.headers.get("connection", "keep-alive" if version > 0 else "close").lower()
        self._reusable = reusable and "close" not in persistence
        self._chunked = False
        self._ends_line = False
        """Whether the line end behind a chunk is still to be read: a chunk is passed on before it comes."""
        self._left: int | None = self._body_size(method)
        """Bytes that are left, of the chunk or of all; None: up to the connection's end."""
        if self._left == 0 and not self._chunked:
            self._done()

    def _head(self) -> tuple[int, int, dict[str, str]]:
        """The minor version, the status and the headers, of the answer that counts."""
        for _ in range(MOST_INTERIM):
            version, status = self._status_line()
            headers = self._header_lines()
            if status >= 200:  # 100 Continue and 103 Early Hints come before the answer
                return version, status, headers
        raise NoAnswerError("too much comes before its answer")

    def _status_line(self) -> tuple[int, int]:
        """The minor version and the status."""
        line = self._line()
        words = line.split(None, 2)
        known = len(words) > 1 and words[0] in (b"HTTP/1.0", b"HTTP/1.1")
        if not known or not words[1].isdigit() or not 100 <= int(words[1][:4]) <= 999:
            shown = line[:80].decode("latin-1")
            raise NoAnswerError(f"the connection broke ({shown!r} is no answer of HTTP)" if line else _CLOSED)
        return words[0][-1] - ord("0"), int(words[1])

    def _header_lines(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for _ in range(MOST_HEADERS):
            line = self._line().decode("latin-1")
            if not line.strip():
                return found
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            found[name] = f"{found[name]}, {value}" if name in found else value
        raise NoAnswerError("its answer has too many headers")

    def _line(self) -> bytes:
        line = self._file.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise NoAnswerError(_CLOSED if len(line) < LONGEST_LINE else "a line of its answer is too long")
        return line

    def _body_size(self, method: str) -> int | None:
        if method == "HEAD" or self.status in (204, 304):
            return 0
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise NoAnswerError("its answer is compressed, which was not asked for")
        if "transfer-encoding" in self.headers:
            if self.headers["transfer-encoding"].lower() != "chunked":
                raise NoAnswerError("its answer is sent in a way that was not asked for")
            self._chunked = True
            return 0
        length = self.headers.get("content-length")
        if length is not None and not _NUMBER.fullmatch(length):
            raise NoAnswerError(f"its answer has no sensible length ({length[:40]!r})")
        return None if length is None else int(length)

    def read(self) -> bytes:
        """See `Response`."""
        return b"".join(iter(lambda: self.read1(BUFFER), b""))

    def read1(self, size: int) -> bytes:
        """See `Response`."""
        if self._connection is None:
            return b""
        try:
            if self._chunked and self._left == 0 and not self._next_chunk():
                return b""
            content = self._file.read1(size if self._left is None else min(size, self._left))
        except OSError as error:
            self._give_up()
            _fail(error)
        except NoAnswerError:
            self._give_up()
            raise
        self._took(len(content))
        return content

    def _took(self, count: int) -> None:
        if self._left is None:
            if not count:
                self._give_up()
            return
        if not count:
            self._give_up()
            raise NoAnswerError(_CLOSED)
        self._left -= count
        if self._chunked:
            self._ends_line = self._left == 0
        elif self._left == 0:
            self._done()

    def _next_chunk(self) -> bool:
        """Go to the next chunk; false at the end."""
        if self._ends_line:
            self._ends_line = False
            if self._line().strip():
                raise NoAnswerError("a chunk of its answer does not end where it should")
        size = self._line().partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(size):
            raise NoAnswerError("a chunk of its answer has no sensible size")
        self._left = int(size, 16)
        if self._left:
            return True
        self._header_lines()
        self._done()
        return False

    def _done(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._reusable:
            self._wire.put_back(connection)
        elif connection is not None:
            connection.close()

    def _give_up(self) -> None:
        self._reusable = False
        self._done()

    def close(self) -> None:
        """See `Response`."""
        self._give_up()


_CLOSED = "the connection broke (closed before the answer was whole)"


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


def _fail(error: OSError) -> NoReturn:
    if isinstance(error, TimeoutError):
        check = "The gateway's log may tell why."
        raise NoAnswerError("it accepted the connection but did not answer in time", check) from error
    raise NoAnswerError(f"the connection broke ({_words(error)})") from error


def _words(error: OSError | None) -> str:
    return error.strerror.lower() if error is not None and error.strerror else str(error)
