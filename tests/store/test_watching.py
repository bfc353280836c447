"""Waiting for a file to grow: told at once, and looked at where nobody tells."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from kernel_gateway.events import EventType
from kernel_gateway.store import watching
from kernel_gateway.store.eventlog import EventLog, LogReader
from kernel_gateway.store.watching import FileWatch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with something in it."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"1\n")
    return path


def append(file: Path) -> None:
    with file.open("ab") as out:
        out.write(b"2\n")


def test_a_change_ends_the_wait_also_one_from_before_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "DOUBT_SECONDS", 30.0)
    watch = FileWatch(file)
    assert watch.is_told

    append(file)
    watch.wait(30.0)
    threading.Timer(0.1, append, [file]).start()
    started = time.monotonic()
    watch.wait(30.0)

    assert time.monotonic() - started < 20
    watch.close()
    assert not watch.is_told


def test_a_quiet_file_is_waited_for_no_longer_than_asked(file: Path) -> None:
    watch = FileWatch(file)

    started = time.monotonic()
    watch.wait(0.05)

    assert time.monotonic() - started < 10
    assert watch.is_told
    watch.close()


def test_a_change_that_was_not_told_ends_the_trust(file: Path) -> None:
    watch = FileWatch(file)
    watch.wait(0.01)

    watch.found()  # the reader found what inotify said nothing of

    assert not watch.is_told
    watch.wait(0.01)


def test_a_change_at_the_very_end_of_a_wait_was_told_all_the_same(file: Path) -> None:
    watch = FileWatch(file)
    watch.wait(0.01)
    append(file)

    watch.found()

    assert watch.is_told
    watch.close()


@pytest.mark.parametrize("lacking", ["file", "instances", "inotify"])
def test_what_cannot_be_watched_is_looked_at(file: Path, monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    if lacking == "instances":
        monkeypatch.setattr(watching, "_FLAGS", -1)  # as good a reason for the system to refuse as any
    elif lacking == "inotify":
        monkeypatch.setattr(watching, "_library", lambda: None)
    else:
        file.unlink()

    watch = FileWatch(file)
    watch.wait(0.001)

    assert not watch.is_told
    watch.close()


def test_a_reader_whose_log_is_not_told_of_still_gets_every_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_library", lambda: None)
    log = EventLog(tmp_path / "events.jsonl")
    got: list[int] = []

    def follow() -> None:
        with LogReader(log.path) as reader:
            while len(got) < 20:
                got.extend(event["seq"] for event in reader.read())
                reader.wait(0.5)

    reading = threading.Thread(target=follow)
    reading.start()
    for number in range(20):
        log.append(EventType.LOG, level="info", message=str(number))
        log.flush()
        time.sleep(0.002)
    reading.join(20)
    log.close()

    assert got == list(range(1, 21))
