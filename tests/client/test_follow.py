"""Following a run's events: each once and in order, whatever the connection does."""

from __future__ import annotations

import threading
import time
import tracemalloc
from typing import Any

import pytest

from kernel_gateway.client import GatewayClient, Patience, stream
from kernel_gateway.client.stream import SseParser
from kernel_gateway.errors import GatewayError, NotFoundError, UnreachableError
from tests.client.gateway import CutError, Handler, ScriptedGateway
from tests.client.scripted_run import ScriptedRun, event


def lines_of(client: GatewayClient, run: ScriptedRun) -> list[bytes]:
    return [line.line.rstrip(b"\n") for batch in client.lines(run.id) for line in batch]


def talkative(gateway: ScriptedGateway, count: int) -> ScriptedRun:
    """A run that has ended after so many lines."""
    run = gateway.new_run()
    run.begin()
    for number in range(count):
        run.say(f"line {number}\n")
    run.end()
    return run


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
def test_messages_cut_anywhere_become_whole_events(size: int) -> None:
    lines = [event(seq, "stream", cell=0, name="stdout", text="ä\u2028\\n" * seq) for seq in range(1, 9)]
    content = b"retry: 5\r\n\r\n" + b"".join(b": ping\n\nid: 1\nevent: stream\ndata: %s\n\n" % line for line in lines)

    parser = SseParser()
    found = [line for start in range(0, len(content), size) for line in parser.feed(content[start : start + size])]

    assert [line.line for line in found] == [line + b"\n" for line in lines]
    assert [line.event["seq"] for line in found] == list(range(1, 9))


def test_a_megabyte_in_one_event_costs_no_more_than_its_size() -> None:
    content = b"data: " + event(1, "stream", text="x" * 20_000_000) + b"\n\n"
    parser = SseParser()
    started = time.monotonic()

    found = [line for at in range(0, len(content), 4096) for line in parser.feed(content[at : at + 4096])]

    assert len(found) == 1
    assert time.monotonic() - started < 3  # scanning the rest anew for each piece takes minutes


def test_an_event_without_end_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_CONTENT", 1000)
    line = b"data: " + b"x" * 500 + b"\n"

    for content in (b"x" * 1001, line * 3):
        with pytest.raises(UnreachableError, match="no kernel gateway: an event of its stream is larger than"):
            SseParser().feed(content)
    message = b"data: " + event(1, "stream", text="x" * 800) + b"\n\n"
    parser = SseParser()
    assert [len(parser.feed(message)) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("text", [b"[1]", b"{}", b"nonsense", b'{"seq":"1","type":"log"}'])
def test_data_that_is_no_event_is_noticed(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 — orjson's or ours
        SseParser().feed(b"data: " + text + b"\n\n")


def test_connections_that_break_in_mid_event_lose_and_repeat_nothing(
    gateway: ScriptedGateway, client: GatewayClient
) -> None:
    run = talkative(gateway, 300)
    # Before a message, within its id, within its data, after it but before the blank line, and twice in a row.
    run.cuts = {2: 0, 20: 3, 21: 40, 50: 1000, 100: 60, 101: 0, 304: 30}
    run.repeat = 3  # on each new connection the gateway sends the last three once more

    assert lines_of(client, run) == run.lines
    assert gateway.count("GET .*/events") == 1 + 7


def test_events_come_at_once_not_when_the_next_one_does(gateway: ScriptedGateway, client: GatewayClient) -> None:
    run = gateway.new_run()
    run.begin()
    delays: list[float] = []

    def produce() -> None:
        for _ in range(20):
            time.sleep(0.05)
            run.say(repr(time.monotonic()))
        run.end()

    threading.Thread(target=produce).start()
    for found in client.events(run.id):
        if found["type"] == "stream":
            delays.append(time.monotonic() - float(found["text"]))

    # The scripted gateway looks for events every 10 ms; Nagle and delayed acknowledgements would add 40.
    assert sorted(delays)[10] < 0.03


def test_a_gateway_that_restarts_in_mid_run_is_followed_on(gateway: ScriptedGateway) -> None:
    run = gateway.new_run()
    run.begin()
    remarks: list[str] = []

    def live() -> None:
        for number in range(80):
            run.say(f"{number}\n")
            time.sleep(0.05)
            if number == 10:
                gateway.stop()
            if number == 70:
                gateway.start()
        run.end()

    thread = threading.Thread(target=live)
    thread.start()
    with GatewayClient(gateway.url, patience=Patience(later=20), remark=remarks.append) as client:
        assert lines_of(client, run) == run.lines
    thread.join()

    assert len(remarks) == 2
    assert remarks[0].startswith(f"No gateway answers at {gateway.url}; trying again for up to 20 s")
    assert remarks[1].startswith("The gateway answers again")


def test_answers_of_503_for_three_seconds_are_waited_out(gateway: ScriptedGateway, client: GatewayClient) -> None:
    run = talkative(gateway, 10)
    run.cuts = {5: 10}
    lines = client.lines(run.id)
    first = next(lines)
    gateway.fail("events", 503, times=0, until=time.monotonic() + 3)

    rest = [line.line.rstrip(b"\n") for batch in lines for line in batch]

    assert [line.line.rstrip(b"\n") for line in first] + rest == run.lines
    assert gateway.count("GET .*/events") < 14  # with pauses that grow, not as fast as it goes


def test_following_begins_after_a_given_event(gateway: ScriptedGateway, client: GatewayClient) -> None:
    run = talkative(gateway, 10)

    assert [found["seq"] for found in client.events(run.id, after=8)] == list(range(9, 16))
    assert gateway.requests[-1][2]["last-event-id"] == "8"


def test_a_gateway_that_stays_away_is_an_error_after_the_patience(gateway: ScriptedGateway) -> None:
    run = gateway.new_run()
    run.begin()
    with GatewayClient(gateway.url, patience=Patience(later=1.0)) as client:
        lines = client.lines(run.id)
        next(lines)
        gateway.stop()
        started = time.monotonic()
        with pytest.raises(UnreachableError, match="No gateway answers"):
            list(lines)

    assert 0.5 < time.monotonic() - started < 4


def test_a_connection_that_falls_silent_counts_as_broken(
    gateway: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = gateway.new_run()
    run.begin()
    monkeypatch.setattr(Handler, "_chunk", silent_once(run))
    with GatewayClient(gateway.url, timeout=0.5, patience=Patience(later=10)) as client:
        assert lines_of(client, run) == run.lines

    assert gateway.count("GET .*/events") == 2


def silent_once(run: ScriptedRun) -> Any:
    """A connection that sends what is there and then nothing, as when a cable is pulled; the second one works."""
    send = Handler._chunk

    def chunk(self: Handler, content: bytes) -> None:
        if content.startswith(b": ping") and not run.finished:
            run.end()  # while nobody hears it
            time.sleep(3)
            raise CutError
        send(self, content)

    return chunk


def test_a_gap_in_the_log_is_read_again_and_then_an_error(gateway: ScriptedGateway, client: GatewayClient) -> None:
    run = talkative(gateway, 10)
    whole = list(run.lines)
    del run.lines[6]

    with pytest.raises(GatewayError, match="lacks event 7"):
        lines_of(client, run)

    run.lines = whole
    assert lines_of(client, run) == whole


def test_a_log_without_an_end_ends_with_its_run(gateway: ScriptedGateway, client: GatewayClient) -> None:
    run = gateway.new_run()
    run.begin()
    run.finished, run.status = True, "lost"

    assert lines_of(client, run) == run.lines


def test_an_unknown_run_is_an_error_at_once(client: GatewayClient) -> None:
    with pytest.raises(NotFoundError, match="There is no run"):
        list(client.events("20260101-000000-00000000"))


def test_a_reader_who_is_slow_costs_no_memory(gateway: ScriptedGateway, client: GatewayClient) -> None:
    run = gateway.new_run()
    run.begin()
    for _ in range(400):
        run.say("x" * 100_000)
    run.end()

    tracemalloc.start()
    try:
        for number, _ in enumerate(client.lines(run.id)):
            if number < 20:
                time.sleep(0.02)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 10_000_000  # of 40 MB that were sent
