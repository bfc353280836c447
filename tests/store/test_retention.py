"""What is removed, and above all what is not: live and queued runs, and blobs that somebody needs."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine

from kernel_gateway.events import EventType, Status
from kernel_gateway.settings import Settings
from kernel_gateway.store.eventlog import EventLog
from kernel_gateway.store.records import RetentionPolicy
from kernel_gateway.store.retention import BLOB_GRACE, Collected

from .data_folder import OLD, Service

KEEP_NONE = RetentionPolicy(max_age_days=1e-9, max_runs=1, max_bytes=1)


@pytest.fixture
def service(tmp_path: Path, engine: Engine) -> Service:
    return Service(tmp_path / "data", engine)


def test_a_policy_without_limits_keeps_all_runs(service: Service) -> None:
    service.run("a", days=10_000)

    assert service.collect() == Collected(0, 0, 0)
    assert service.left() == ["a"]


def test_old_runs_go_with_their_folder_and_row(service: Service) -> None:
    service.run("old", Status.FAILED, days=31, size=1000)
    service.run("young", days=29)

    collected = service.collect(RetentionPolicy(max_age_days=30))

    assert (collected.runs, collected.bytes > 1000) == (1, True)
    assert service.left() == ["young"]


def test_of_more_runs_than_wanted_those_that_ended_last_stay(service: Service) -> None:
    for number in range(6):
        service.run(f"r{number}", days=number)

    assert service.collect(RetentionPolicy(max_runs=2)).runs == 4
    assert service.left() == ["r0", "r1"]


@pytest.mark.parametrize(
    "policy", [KEEP_NONE, RetentionPolicy(max_age_days=1e-9), RetentionPolicy(max_runs=1), RetentionPolicy(max_bytes=1)]
)
def test_live_and_queued_runs_are_never_touched(service: Service, policy: RetentionPolicy) -> None:
    # given: runs in all their states, each with a blob of its own
    kept = [Status.QUEUED, Status.STARTING, Status.RUNNING]
    blobs = {status: service.blob(status.encode()) for status in kept}
    for status in kept:
        service.run(status, status, size=10_000, workspace=(blobs[status],))
    service.runs.request_cancel("queued")
    service.run("ended", days=2)
    service.run("ended-last", days=1)

    # when: a policy asks for as much as can be
    service.collect(policy)
    service.collect(policy)

    # then: only what has ended went
    assert set(service.left()) >= {"queued", "running", "starting"}
    assert "ended" not in service.left()
    assert all(service.has(digest) for digest in blobs.values())
    for status in kept:
        assert (service.folder(status) / "artifacts" / "model.bin").stat().st_size == 10_000
        assert service.runs.get(status).status == status


def test_a_folder_that_something_still_writes_to_is_left_for_later(service: Service) -> None:
    folder = service.run("a", days=2)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        service.collect(KEEP_NONE)
        assert service.left() == ["a"]

    service.collect(KEEP_NONE)

    assert service.left() == []


def test_over_the_size_the_first_to_end_go_until_it_fits(service: Service) -> None:
    for number in range(5):
        service.run(f"r{number}", days=10 - number, size=100_000)

    service.collect(RetentionPolicy(max_bytes=250_000))

    assert service.left() == ["r3", "r4"]


def test_the_size_counts_blobs_and_what_going_runs_set_free_of_them(service: Service) -> None:
    own, shared = service.blob(b"a" * 100_000), service.blob(b"b" * 100_000)
    service.run("first", days=3, outputs=(own, shared))
    service.run("second", days=2, outputs=(shared,))
    service.run("third", days=1)

    service.collect(RetentionPolicy(max_bytes=150_000))

    assert service.left() == ["second", "third"]  # the first's own blob was enough
    assert (service.has(own), service.has(shared)) == (False, True)


def test_a_blob_goes_when_no_run_names_it_and_it_is_old(service: Service) -> None:
    sent, output, young = service.blob(b"sent"), service.blob(b"output"), service.blob(b"young", age=BLOB_GRACE - 60)
    shared, unused = service.blob(b"shared"), service.blob(b"unused")
    service.run("old", days=2, workspace=(sent, shared), outputs=(output,))
    service.run("new", workspace=(shared,))

    assert service.collect().blobs == 1  # the unused one
    assert not service.has(unused)
    assert all(service.has(digest) for digest in (sent, output, young, shared))

    collected = service.collect(RetentionPolicy(max_age_days=1))

    assert (collected.runs, collected.blobs) == (1, 2)
    assert [service.has(digest) for digest in (sent, output, young, shared)] == [False, False, True, True]


def test_a_blob_that_a_live_run_comes_to_name_is_kept(service: Service) -> None:
    folder = service.run("live", Status.RUNNING)
    service.collect()
    digest = service.blob(b"later")
    events = EventLog.resume(folder / "events.jsonl")
    events.append(EventType.DISPLAY, data={}, blobs={"image/png": {"sha256": digest, "size": 5}})
    events.close()

    service.collect()
    service.runs.finish("live", "succeeded", "", 0, 1.0)
    service.collect()
    service.collect()

    assert service.has(digest)


def test_a_folder_without_a_row_keeps_its_blobs(service: Service) -> None:
    digest = service.blob(b"about to be submitted")
    service.run("a", workspace=(digest,))
    service.runs.delete("a")

    service.collect(KEEP_NONE)

    assert service.has(digest)


def test_what_an_aborted_upload_left_goes_after_an_hour(service: Service) -> None:
    folder = service.blobs.path(service.blob(b"x")).parent
    for name, age in ((".tmpold", OLD), (".tmpyoung", 10.0)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age, time.time() - age))

    service.collect()

    assert sorted(path.name for path in folder.iterdir()) == [".tmpyoung"]


def test_a_log_is_read_once_after_its_run_has_ended(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = service.blob(b"output")
    folder = service.run("a", outputs=(digest,))
    service.collect()
    (folder / "events.jsonl").write_bytes(b"")  # whoever reads it again finds nothing

    service.collect()

    assert service.has(digest)


def test_no_blob_goes_while_a_run_cannot_be_read(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    folder = service.run("a")
    unused = service.blob(b"unused")
    (folder / "request.json").unlink()
    (folder / "request.json").mkdir()  # root reads everything else

    service.collect()

    assert service.has(unused)
    assert "no blob is removed" in caplog.text


def test_digests_in_any_line_are_found_but_only_whole_ones(service: Service) -> None:
    named, longer = service.blob(b"named"), service.blob(b"longer")
    folder = service.run("a", Status.RUNNING)
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b'{"seq":2,"text":"' + b"x" * 300_000 + f'","sha256":"{named}"}}\n'.encode())
        file.write(f'{{"seq":3,"sha256":"{longer}0"}}\n'.encode())

    service.collect()

    assert (service.has(named), service.has(longer)) == (True, False)


def test_the_settings_make_the_policy() -> None:
    settings = Settings(retention_days=1.5, retention_runs=7, retention_gb=0.5)

    assert RetentionPolicy.from_settings(settings) == RetentionPolicy(
        max_age_days=1.5, max_runs=7, max_bytes=512 * 1024**2
    )
