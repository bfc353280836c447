"""The event log on disk: order, resumption, and what happens when it can't be written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from kernel_gateway.errors import StorageError
from kernel_gateway.events import EventType
from kernel_gateway.store.eventlog import EventLog, encode, follow_events, read_events


def stream(log: EventLog, text: str) -> None:
    log.append(EventType.STREAM, cell=0, name="stdout", text=text)


def test_events_are_numbered_from_one_without_gaps(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    for number in range(100):
        stream(log, str(number))
    log.close()
    events = list(read_events(log.path))
    assert [event["seq"] for event in events] == list(range(1, 101))
    assert [event["text"] for event in events] == [str(number) for number in range(100)]


def test_reading_resumes_after_a_number(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    for number in range(10):
        stream(log, str(number))
    log.close()
    assert [event["text"] for event in read_events(log.path, after=7)] == ["7", "8", "9"]


def test_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(encode({"seq": 1, "type": "log"}) + b'{"seq":2,"ty')
    assert [event["seq"] for event in read_events(path)] == [1]


def test_a_follower_sees_every_event_while_it_is_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    seen: list[str] = []
    follower = threading.Thread(target=lambda: seen.extend(event["text"] for event in follow_events(log)))
    follower.start()
    for number in range(5000):
        stream(log, f"{number}-" + "x" * (number % 300))
        if number % 7 == 0:
            log.flush()
    log.close()
    follower.join(10)
    assert [text.split("-")[0] for text in seen] == [str(number) for number in range(5000)]


@pytest.mark.parametrize("text", ["a\ud800b", "\ud83d\ude00", "\x00\u2028"])
def test_text_that_is_no_unicode_is_kept_readable(tmp_path: Path, text: str) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    stream(log, text)
    log.append(EventType.DISPLAY, data={"application/json": {"big": 10**30}})
    log.close()
    assert len(list(read_events(log.path))) == 2


def test_when_the_log_cannot_be_written_the_end_still_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = tmp_path / "reserve"
    reserve.write_bytes(b"\0" * 10)
    log = EventLog(tmp_path / "events.jsonl", reserve=reserve)
    stream(log, "kept")
    log.flush()
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if reserve.exists():
            write(fd, bytes(data[:5]))  # half a line fits
            raise OSError(28, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    stream(log, "lost")
    with pytest.raises(StorageError, match="No space left"):
        log.flush()
    stream(log, "ignored from now on")
    log.append(EventType.RUN_FINISHED, status="failed")
    log.close()
    events = list(read_events(log.path))
    assert [(event["seq"], event["type"]) for event in events] == [(1, "stream"), (2, "run_finished")]


def test_a_log_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        EventLog(tmp_path / "no" / "events.jsonl")
