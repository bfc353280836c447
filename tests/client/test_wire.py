"""HTTP as it stands on the wire: what servers and networks do to answers, and which connections are used again."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from kernel_gateway.client import response as responses
from kernel_gateway.client.response import NoAnswerError, PlainResponse
from kernel_gateway.client.secure import SecureWire
from kernel_gateway.client.transport import Transport
from kernel_gateway.client.wire import PlainWire
from kernel_gateway.errors import UnreachableError, UsageError

OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """Answers the requests of each connection with the given bytes, and hangs up after the last."""

    def __init__(self) -> None:
        self.connections: list[list[bytes | list[bytes]]] = []
        self.requests: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.accepted = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            with connection:
                for answer in self.connections.pop(0):
                    self.requests.append(self._request(connection))
                    for piece in [answer] if isinstance(answer, bytes) else answer:
                        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who has seen enough
                            connection.sendall(piece)

    def _request(self, connection: socket.socket) -> bytes:
        got = b""
        while b"\r\n\r\n" not in got and (more := connection.recv(1)):
            got += more
        return got


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on loopback."""
    made = Server()
    yield made
    made.socket.close()


@pytest.fixture
def wire(server: Server) -> Iterator[PlainWire]:
    """A wire to it."""
    made = PlainWire(server.url)
    yield made
    made.close()


def get(wire: PlainWire, url: str, **headers: str) -> PlainResponse:
    return wire.send("GET", url, headers, None, connect=5.0, read=5.0)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n5;kind=x\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n"

WHOLE = {
    "length": OK + b"Content-Length: 11\r\n\r\nhello world",
    "chunked": CHUNKED,
    "up to the end": OK + b"\r\nhello world",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    "after interim answers": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + CHUNKED,
    "line feeds alone": CHUNKED.replace(b"\r\n", b"\n"),
}


@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE.keys())
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_answer_is_whole_however_it_comes(server: Server, wire: PlainWire, answer: bytes, size: int) -> None:
    server.connections = [[[answer[start : start + size] for start in range(0, len(answer), size)]]]

    response = get(wire, server.url)

    assert response.status == 200
    assert response.read() == b"hello world"
    assert response.read1(100) == b""


BROKEN = {
    "nothing": b"",
    "half a head": OK + b"Content-Le",
    "too little": OK + b"Content-Length: 12\r\n\r\nhello world",
    "half a chunk": CHUNKED[: CHUNKED.index(b"rld")],
    "no last chunk": CHUNKED[: CHUNKED.index(b"0\r\nX-Sum")],
    "no trailer": CHUNKED[: CHUNKED.index(b"X-Sum")],
    "a wrong chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n",
    "a chunk that is longer than it says": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "an endless header": OK + b"X: " + b"x" * 100_000,
    "endless headers": OK + b"X: x\r\n" * 10_000 + b"\r\n",
    "a length that is none": OK + b"Content-Length: -1\r\n\r\n",
    "two lengths": OK + b"Content-Length: 11\r\nContent-Length: 12\r\n\r\nhello world!",
    "a length of thousands of digits": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "a negative chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "a chunk as Python writes numbers": OK + b"Transfer-Encoding: chunked\r\n\r\n0x0_5\r\nhello\r\n0\r\n\r\n",
    "a chunk without a size": OK + b"Transfer-Encoding: chunked\r\n\r\n;x\r\nhello\r\n0\r\n\r\n",
    "an endless chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 100_000,
    "a larger chunk than any": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 1000 + b"\r\nhello",
    "a status that is none": b"HTTP/1.1 OK\r\n\r\n",
    "a status below all": b"HTTP/1.1 099 Low\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    "a status of thousands of digits": b"HTTP/1.1 " + b"2" * 5000 + b" OK\r\n\r\n",
    "another version": b"HTTP/2 200\r\n\r\n",
    "endless interim answers": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000,
    "compression": OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
    "a compressed transfer": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n\x1f\x8b\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_whole_answer_is_an_error(server: Server, wire: PlainWire, answer: bytes) -> None:
    server.connections = [[answer]]

    with pytest.raises(NoAnswerError) as caught:
        get(wire, server.url).read()

    assert caught.value.sent
    assert str(caught.value)


def test_a_chunk_is_given_before_the_next_one_comes(server: Server, wire: PlainWire) -> None:
    received = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello"
        assert received.wait(5)
        yield b"\r\n0\r\n\r\n"

    server.connections = [[pieces()]]  # type: ignore[list-item]
    response = get(wire, server.url)

    assert response.read1(1000) == b"hello"
    received.set()
    assert response.read() == b""


def test_a_connection_whose_answer_was_read_serves_the_next_request(server: Server, wire: PlainWire) -> None:
    server.connections = [[WHOLE["length"], WHOLE["chunked"], OK + b"Content-Length: 0\r\n\r\n", WHOLE["length"]]]

    assert [get(wire, server.url).read() for _ in range(4)] == [b"hello world", b"hello world", b"", b"hello world"]
    assert server.accepted == 1


@pytest.mark.parametrize("header", ["Connection: close", "Connection: Keep-Alive, Close"])
def test_a_connection_that_the_server_closes_is_not_used_again(server: Server, wire: PlainWire, header: str) -> None:
    closing = OK + header.encode() + b"\r\nContent-Length: 0\r\n\r\n"
    server.connections = [[closing], [WHOLE["length"]]]

    assert get(wire, server.url).read() == b""
    assert get(wire, server.url).read() == b"hello world"


def test_a_connection_that_went_while_it_was_idle_is_not_used_again(server: Server, wire: PlainWire) -> None:
    server.connections = [[WHOLE["length"]], [WHOLE["length"]]]
    get(wire, server.url).read()
    idle = wire._idle[0].socket
    idle.settimeout(5)
    assert idle.recv(1, socket.MSG_PEEK) == b""  # the server has hung up

    assert get(wire, server.url).read() == b"hello world"
    assert server.accepted == 2


def test_what_comes_after_an_answer_is_not_taken_for_the_next_one(server: Server, wire: PlainWire) -> None:
    forged = OK + b"Content-Length: 6\r\n\r\nforged"
    server.connections = [[WHOLE["length"] + forged, forged], [WHOLE["length"]]]

    assert get(wire, server.url).read() == b"hello world"
    assert get(wire, server.url).read() == b"hello world"
    assert server.accepted == 2


@pytest.mark.parametrize("content", [b"[]", b"null", b"<html>", b"\xff", b"[" * 100_000])
def test_an_answer_that_is_no_object_is_no_gateways(server: Server, content: bytes) -> None:
    server.connections = [[OK + b"Content-Length: %d\r\n\r\n" % len(content) + content]]
    transport = Transport(server.url)

    with pytest.raises(UnreachableError, match="is no kernel gateway"):
        transport.request("GET", "/api/v1/runs").json()

    transport.close()


def test_an_address_that_a_server_sends_on_to_is_shown_without_its_control_characters(server: Server) -> None:
    server.connections = [[b"HTTP/1.1 302 Found\r\nLocation: http://x/\x1b[2J\r\nContent-Length: 0\r\n\r\n"]]
    transport = Transport(server.url)

    with pytest.raises(UnreachableError, match=r"sends on to 'http://x/\\x1b\[2J'"):
        transport.request("GET", "/api/v1/runs")

    transport.close()


def test_an_answer_that_is_left_half_read_ends_its_connection(server: Server, wire: PlainWire) -> None:
    server.connections = [[WHOLE["length"], WHOLE["length"]], [WHOLE["chunked"]]]

    get(wire, server.url).close()

    assert get(wire, server.url).read() == b"hello world"
    assert server.accepted == 2


def test_an_upload_that_is_cut_off_has_the_answer_that_says_why(server: Server, wire: PlainWire) -> None:
    server.connections = [[b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge"]]
    refused = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"x"
        refused.wait(0.2)
        for _ in range(1000):
            yield b"x" * 65536

    response = wire.send("PUT", server.url, {"content-length": "65536001"}, body(), connect=5.0, read=5.0)

    assert (response.status, response.read()) == (413, b"large")


def test_an_error_in_the_body_is_the_callers_own(server: Server, wire: PlainWire) -> None:
    server.connections = [[b""]]

    def body() -> Iterator[bytes]:
        yield {"x": b""}["y"]

    with pytest.raises(KeyError, match="y"):
        wire.send("PUT", server.url, {"content-length": "10"}, body(), connect=5.0, read=5.0)


def test_nobody_who_listens_means_that_nothing_was_sent() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"

    with pytest.raises(NoAnswerError, match="refused") as caught:
        get(PlainWire(url), url)

    assert not caught.value.sent


def test_a_server_that_says_nothing_is_told_from_one_that_breaks(server: Server, wire: PlainWire) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NoAnswerError, match="did not answer in time") as caught:
            PlainWire(url).send("GET", url, {}, None, connect=5.0, read=0.1)

    assert caught.value.sent


def test_a_request_is_one_line_of_the_urls_characters_and_its_headers(server: Server, wire: PlainWire) -> None:
    server.connections = [[WHOLE["length"]]]

    get(wire, server.url + "/a b/ä%20?q=1&r=\r\nX: y", authorization="Bearer x").read()

    first, *headers = server.requests[0].decode("ascii").split("\r\n")
    # urlsplit takes line feeds out of URLs, as browsers do
    assert first == "GET /a%20b/%C3%A4%20?q=1&r=X:%20y HTTP/1.1"
    assert headers == [f"host: {server.url.removeprefix('http://')}", "authorization: Bearer x", "", ""]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\0", "\u2028", "日本"])
def test_a_header_that_would_be_another_is_refused(server: Server, wire: PlainWire, value: str) -> None:
    with pytest.raises(UsageError, match="The header idempotency-key can't carry"):
        get(wire, server.url, **{"idempotency-key": value})

    assert server.accepted == 0


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://gateway.example:8888/base", "gateway.example:8888"),
        ("http://gateway.example", "gateway.example"),
        ("http://[::1]:8888", "[::1]:8888"),
        ("http://[fe80::1%25eth0]:8888", "[fe80::1]:8888"),
        ("http://bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_the_host_header_is_the_urls_host(url: str, host: str) -> None:
    assert f"\r\nhost: {host}\r\n".encode() in PlainWire(url)._head("GET", url, {}, None)


@pytest.mark.parametrize("answer", [OK + b"\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n"])
def test_an_answer_without_end_fills_no_memory(server: Server, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    monkeypatch.setattr(responses, "MOST_CONTENT", 1 << 20)
    piece = b"x" * 0x8000
    if b"chunked" in answer:
        piece = b"8000\r\n" + piece + b"\r\n"
    server.connections = [[[answer, *[piece] * 40]]]

    transport = Transport(server.url)

    with pytest.raises(UnreachableError, match="no kernel gateway: its answer is larger than 1 MiB"):
        transport.request("GET", "/api/v1/runs")

    transport.close()
    assert len(server.requests) == 1


@pytest.fixture
def secure(server: Server) -> Iterator[SecureWire]:
    """A wire that reaches any host through the server, as its proxy."""
    made = SecureWire(server.url, None)
    yield made
    made.close()


@pytest.mark.parametrize("name", ["length", "chunked", "up to the end"])
def test_an_answer_through_a_proxy_is_whole(server: Server, secure: SecureWire, name: str) -> None:
    server.connections = [[WHOLE[name]]]

    assert secure.send("GET", "http://gateway.example/", {}, None, connect=5.0, read=5.0).read() == b"hello world"


def test_an_answer_that_a_proxy_compressed_is_an_error(server: Server, secure: SecureWire) -> None:
    server.connections = [[BROKEN["compression"]]]

    with pytest.raises(NoAnswerError, match="is compressed, which was not asked for"):
        secure.send("GET", "http://gateway.example/", {}, None, connect=5.0, read=5.0)


def test_an_answer_without_end_through_a_proxy_fills_no_memory(
    server: Server, secure: SecureWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "MOST_CONTENT", 1 << 20)
    server.connections = [[[OK + b"\r\n", *[b"x" * 0x8000] * 40]]]

    with pytest.raises(UnreachableError, match="larger than 1 MiB"):
        secure.send("GET", "http://gateway.example/", {}, None, connect=5.0, read=5.0).read()


def test_a_host_that_can_be_none_is_refused() -> None:
    with pytest.raises(UsageError, match="is no host name"):
        PlainWire(f"http://{'ä' * 100}.example")


def test_tls_and_proxies_are_left_to_urllib3(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert isinstance(Transport("http://gateway.example")._wire, PlainWire)

    assert type(Transport("https://gateway.example")._wire).__name__ == "SecureWire"
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    assert type(Transport("http://gateway.example")._wire).__name__ == "SecureWire"
    assert "urllib3" in sys.modules
