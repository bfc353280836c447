"""The event log on disk: order, resumption, and what happens when it can't be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kernel_gateway.errors import StorageError
from kernel_gateway.events import EventType
from kernel_gateway.store.eventlog import EventLog, encode, follow_events, follow_file, last_event, read_events


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
    log.append(EventType.DISPLAY, data={"application/json": {"big": 10**30, "huge": -(10**400)}})
    log.close()
    assert len(list(read_events(log.path))) == 2


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_log_that_a_program_removed_is_put_back_whole(tmp_path: Path, how: str) -> None:
    (tmp_path / "out").mkdir()
    log = EventLog(tmp_path / "out" / "events.jsonl")
    stream(log, "before")
    log.flush()
    if how == "removed":
        shutil.rmtree(tmp_path / "out")
    else:
        (tmp_path / "out").rename(tmp_path / "elsewhere")
    stream(log, "after")
    log.restore()
    log.close()
    assert [event["text"] for event in read_events(tmp_path / "out" / "events.jsonl")] == ["before", "after"]


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


def test_a_log_is_continued_where_another_writer_left_it(tmp_path: Path) -> None:
    first = EventLog(tmp_path / "events.jsonl")
    stream(first, "one")
    stream(first, "two")
    first.close()

    second = EventLog.resume(tmp_path / "events.jsonl")
    stream(second, "three")
    second.close()

    assert [(event["seq"], event["text"]) for event in read_events(second.path)] == [
        (1, "one"),
        (2, "two"),
        (3, "three"),
    ]
    assert second.size == second.path.stat().st_size


@pytest.mark.parametrize(
    "left",
    [
        b"",
        b"{",
        b'{"seq":3,"type":"log"}',
        b"\0" * 4096,
        b"\0\0\n",
        b"\n",
        b'[]\n{"x":1}\n',
        b'{"seq":3,' + b"x" * 200_000,
    ],
)
def test_what_a_killed_writer_left_unfinished_is_cut_off(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "events.jsonl"
    big = "ü" * 100_000  # longer than what is read at a time
    whole = encode({"seq": 1, "type": "log"}) + encode({"seq": 2, "type": "stream", "text": big})
    path.write_bytes(whole + left)

    log = EventLog.resume(path)
    stream(log, "next")
    log.close()

    assert path.read_bytes().startswith(whole)
    assert [event["seq"] for event in read_events(path)] == [1, 2, 3]


@pytest.mark.parametrize("left", [b"", b'{"seq":1', b"\n\n"])
def test_a_log_without_any_event_is_begun(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(left)

    log = EventLog.resume(path)
    stream(log, "first")
    log.close()

    assert [event["seq"] for event in read_events(path)] == [1]


def test_a_log_that_is_not_there_cannot_be_continued(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        EventLog.resume(tmp_path / "events.jsonl")
    assert not (tmp_path / "events.jsonl").exists()


def test_a_continued_log_gives_its_reserve_up_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    EventLog(tmp_path / "events.jsonl").close()
    reserve = tmp_path / "reserve"
    reserve.write_bytes(b"\0")
    log = EventLog.resume(tmp_path / "events.jsonl", reserve=reserve)
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if reserve.exists():
            raise OSError(28, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    stream(log, "lost")
    with pytest.raises(StorageError, match="No space left"):
        log.flush()
    log.append(EventType.RUN_FINISHED, status="failed")
    log.close()
    assert [(event["seq"], event["type"]) for event in read_events(log.path)] == [(1, "run_finished")]


WRITER = """
import os, sys, time
from pathlib import Path
from kernel_gateway.events import EventType
from kernel_gateway.store.eventlog import EventLog
log = EventLog.resume(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    log.append(EventType.STREAM, cell=0, name="stdout", text="x" * (number % 5000))
    if number % 3 == 0:
        log.flush()
log.flush()
os.write(log._fd, b'{"seq":99999,"half')
os.kill(os.getpid(), 9)
"""


def test_followers_see_each_event_once_though_writers_are_killed_in_mid_line(tmp_path: Path) -> None:
    # given: ten followers of a log that is not there yet, each from a place of its own
    path = tmp_path / "events.jsonl"
    ended = threading.Event()
    seen: list[list[int]] = [[] for _ in range(10)]

    def follow(number: int) -> None:
        seen[number].extend(event["seq"] for event in follow_file(path, number * 100, ended.is_set))

    followers = [threading.Thread(target=follow, args=(number,)) for number in range(10)]
    for follower in followers:
        follower.start()

    # when: three processes write it one after the other, and each is killed in the middle of a line
    EventLog(path).close()
    for _ in range(3):
        writer = subprocess.run([sys.executable, "-c", WRITER, str(path), "1000"], check=False)
        assert writer.returncode == -9
    last = EventLog.resume(path)
    last.append(EventType.RUN_FINISHED, status="lost")
    last.close()
    ended.set()
    for follower in followers:
        follower.join(20)

    # then: nobody misses an event, or sees one twice
    assert seen == [list(range(number * 100 + 1, 3002)) for number in range(10)]


def test_a_follower_who_is_told_to_stop_still_gets_what_is_there(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    for number in range(20_000):
        stream(log, str(number) * 20)
    log.close()

    assert len(list(follow_file(log.path, 5, lambda: True))) == 19_995
    assert list(follow_file(tmp_path / "none", 0, lambda: True)) == []


def test_a_follower_ends_when_the_log_is_deleted(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    stream(log, "x")
    log.close()
    follower = follow_file(log.path, 0, lambda: False)
    assert next(follower)["text"] == "x"

    log.path.unlink()

    assert list(follower) == []


def test_an_event_reaches_a_follower_within_a_tenth_of_a_second(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    ended = threading.Event()
    lags: list[float] = []

    def follow() -> None:
        for event in follow_file(log.path, 0, ended.is_set):
            lags.append(time.monotonic() - float(event["text"]))

    follower = threading.Thread(target=follow)
    follower.start()
    for _ in range(10):
        time.sleep(0.15)  # quiet enough for the follower to look seldom
        stream(log, str(time.monotonic()))
        log.flush()
    ended.set()
    follower.join(10)
    log.close()

    assert len(lags) == 10
    assert sorted(lags)[5] < 0.1


@pytest.mark.parametrize("size", [0, 10, 300_000, 1_000_000])
def test_the_last_event_is_found_from_the_end(tmp_path: Path, size: int) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    assert last_event(log.path) is None
    for _ in range(3):
        stream(log, "é" * size)
    log.append(EventType.LOG, level="info", message="x" * size)
    log.close()
    found = last_event(log.path)
    assert found is not None
    assert (found["seq"], found["type"]) == (4, "log")
    with log.path.open("ab") as file:
        file.write(b'{"seq": 5, "half')
    assert (last_event(log.path) or {})["seq"] == 4
