"""Answers of a gateway: how their content is read, and what is none."""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Callable, Mapping
from typing import Protocol

from ..errors import UnreachableError

BUFFER = 1 << 16

LONGEST_LINE = 1 << 16
MOST_HEADERS = 200
MOST_INTERIM = 20
"""Answers such as 103 Early Hints that may come before the one that counts."""

MOST_CONTENT = 64 << 20
"""Bytes of an answer that is read as a whole, and of a line of a stream of events. Files are never read as a whole."""

_NUMBER = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")

_CLOSED = "the connection broke (closed before the answer was whole)"

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


def no_gateway(reason: str) -> UnreachableError:
    """The error for an answer that no gateway would give; ``reason`` goes on after a colon."""
    return UnreachableError(f"What answers there is no kernel gateway: {reason}. Check the gateway's URL.")


class Response(Protocol):
    """An answer whose content is still to be read. Reading raises `NoAnswerError` when the connection breaks."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers; names in lower case find theirs."""

    def read(self) -> bytes:
        """All of the content that is left. Raises `UnreachableError` for more than `MOST_CONTENT`."""

    def read1(self, size: int) -> bytes:
        """What has come, at most so many bytes, as soon as there is any; empty at the end."""

    def close(self) -> None:
        """Give the connection back, or close it if the content was not read to its end. May be called twice."""


def read_all(response: Response) -> bytes:
    """All of the content that is left. Raises `UnreachableError` for more than `MOST_CONTENT`."""
    pieces: list[bytes] = []
    room = MOST_CONTENT
    while piece := response.read1(BUFFER):
        room -= len(piece)
        if room < 0:
            response.close()
            raise no_gateway(f"its answer is larger than {MOST_CONTENT >> 20} MiB")
        pieces.append(piece)
    return b"".join(pieces)


def check_encoding(headers: Mapping[str, str]) -> None:
    """Raises `NoAnswerError` for compressed content: no request asks for it, and none could say how large it is."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise NoAnswerError("its answer is compressed, which was not asked for")


class Connection:
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
    """The `Response` of a `wire.PlainWire`."""

    def __init__(self, connection: Connection, method: str, put_back: Callable[[Connection], None] | None) -> None:
        """Reads the head of the answer. ``put_back`` takes the connection if it may serve another request."""
        self._connection: Connection | None = connection
        self._file = connection.file
        version, self.status, headers = self._head()
        self.headers: Mapping[str, str] = headers
        persistence = self.headers.get("connection", "keep-alive" if version > 0 else "close").lower()
        self._put_back = None if "close" in persistence else put_back
        self._chunked = False
        self._ends_line = False
        """Whether the line end behind a chunk is still to be read: a chunk is passed on before it comes."""
        self._left: int | None = self._body_size(method)
        """Bytes that are left, of the chunk or of all; None: up to the connection's end."""
        if self._left == 0 and not self._chunked:
            self._release()

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
        check_encoding(self.headers)
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
        return read_all(self)

    def read1(self, size: int) -> bytes:
        """See `Response`."""
        if self._connection is None:
            return b""
        try:
            if self._chunked and self._left == 0 and not self._next_chunk():
                return b""
            content = self._file.read1(size if self._left is None else min(size, self._left))
        except OSError as error:
            self._discard()
            raise broken(error) from error
        except NoAnswerError:
            self._discard()
            raise
        self._count(len(content))
        return content

    def _count(self, count: int) -> None:
        if self._left is None:
            if not count:
                self._discard()
            return
        if not count:
            self._discard()
            raise NoAnswerError(_CLOSED)
        self._left -= count
        if self._chunked:
            self._ends_line = self._left == 0
        elif self._left == 0:
            self._release()

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
        self._release()
        return False

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._put_back is not None:
            self._put_back(connection)
        elif connection is not None:
            connection.close()

    def _discard(self) -> None:
        self._put_back = None
        self._release()

    def close(self) -> None:
        """See `Response`."""
        self._discard()


def broken(error: OSError) -> NoAnswerError:
    """The error for a connection that broke."""
    if isinstance(error, TimeoutError):
        return NoAnswerError("it accepted the connection but did not answer in time", "The gateway's log may tell why.")
    return NoAnswerError(f"the connection broke ({words(error)})")


def words(error: OSError | None) -> str:
    """What the system says of an error."""
    return error.strerror.lower() if error is not None and error.strerror else str(error)
