"""Runs in SQL, on SQLite and PostgreSQL alike: the queue, races, paging, and ends."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from kernel_gateway.errors import ConflictError, TooManyError, UsageError
from kernel_gateway.events import Status
from kernel_gateway.store.database import writing
from kernel_gateway.store.runs import NewRun, RunRecord, RunStore

ROOT = Path(__file__).parent.parent.parent


def submit(store: RunStore, id: str, **fields: Any) -> RunRecord:
    return store.submit(NewRun(id=id, name=fields.pop("name", "train"), **fields))[0]


def take_all(store: RunStore, fits: Callable[[RunRecord], bool] = lambda _: True) -> list[str]:
    taken = []
    while (record := store.take_next(fits)) is not None:
        taken.append(record.id)
    return taken


def test_a_run_comes_back_as_it_was_submitted(store: RunStore) -> None:
    before = datetime.now(UTC)
    build = {"job": "team/train", "number": 12, "url": "http://ci/train/12/"}

    record, created = store.submit(
        NewRun(
            id="a", name="größer ☃", priority=-7, retries=2, gpus=1, label="big", kernel="ir", token="ci", build=build
        )
    )

    assert created
    assert store.get("a") == record
    assert (record.name, record.priority, record.retries, record.gpus) == ("größer ☃", -7, 2, 1)
    assert (record.label, record.kernel, record.token, record.build) == ("big", "ir", "ci", build)
    assert (record.status, record.reason, record.exit_code, record.attempt) == (Status.QUEUED, "", None, 1)
    assert (record.runner_pid, record.gpu_ids, record.cancel_requested) == (None, [], False)
    assert before <= record.created <= datetime.now(UTC)


def test_a_text_is_looked_for_in_all_that_people_know_a_run_by(store: RunStore) -> None:
    build = {"job": "nightly", "number": 12}
    submit(store, "a-1", name="Train 100%", kernel="ir", token="ci", build=build)
    submit(store, "b-2", name="other", token="me")
    store.finish("b-2", Status.FAILED, "Cell 1 failed: ZeroDivisionError", 1, 0.1)

    def found(text: str) -> list[str]:
        return [record.id for record in store.list(text=text)[0]]

    for text_ in ("a-1", "train", "TRAIN", "100%", "nightly#12", "IR", "ci"):
        assert found(text_) == ["a-1"], text_
    assert found("zerodivision") == found("b-2") == ["b-2"]
    assert found("%") == ["a-1"]
    assert found("_") == found("no such") == found("\0") == []
    assert found("-") == ["b-2", "a-1"]


def test_queued_runs_know_their_place(store: RunStore) -> None:
    records = [submit(store, id, priority=priority) for id, priority in (("a", 0), ("b", 5), ("c", 0))]
    records.append(submit(store, "gone"))
    store.request_cancel("gone")

    assert store.queue_places(records) == {"b": 1, "a": 2, "c": 3}
    assert store.queue_places(records[2:3]) == {"c": 3}
    assert store.queue_places([]) == {}


def test_the_queue_goes_by_priority_then_age(store: RunStore) -> None:
    for id, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5), ("e", -1)):
        submit(store, id, priority=priority)

    assert take_all(store) == ["b", "d", "a", "c", "e"]
    assert store.counts()[Status.STARTING] == 5


def test_what_does_not_fit_is_passed_over_and_waits(store: RunStore) -> None:
    for number in range(250):  # more than are looked at in one go
        submit(store, f"{number:03}", gpus=8)
    submit(store, "small", gpus=0)

    assert take_all(store, lambda run: run.gpus == 0) == ["small"]
    assert store.queue_length() == 250
    assert take_all(store)[:2] == ["000", "001"]


@pytest.mark.slow
def test_of_many_takers_in_many_processes_each_run_has_exactly_one(
    new_database: Callable[[], str], engine: Engine
) -> None:
    # given: the database of `engine`, four processes of eight threads that submit 100 runs each
    url = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.store.race_worker", url]

    # when: all of them submit and take at the same time
    racers = [
        subprocess.Popen([*command, f"p{number}", "100", "400"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    taken = [id for racer in racers for id in racer.communicate(timeout=110)[0].split()]

    # then: no run is lost, none is taken twice
    assert [racer.returncode for racer in racers] == [0] * 4
    assert sorted(taken) == sorted(f"p{number}-{index}" for number in range(4) for index in range(100))
    assert RunStore(engine).counts()[Status.STARTING] == 400


def test_twenty_submits_with_one_key_make_one_run(store: RunStore) -> None:
    barrier = threading.Barrier(20)

    def attempt(number: int) -> tuple[str, bool]:
        run = NewRun(id=f"r{number}", name="n", token="ci", idempotency_key="build-12", request_digest="d")
        barrier.wait()
        record, created = store.submit(run)
        return record.id, created

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(attempt, range(20)))

    assert len({id for id, _ in results}) == 1
    assert sum(created for _, created in results) == 1
    assert store.queue_length() == 1


def test_a_key_belongs_to_its_token_and_its_request(store: RunStore) -> None:
    submit(store, "a", token="ci", idempotency_key="k", request_digest="one")

    assert submit(store, "b", token="other", idempotency_key="k", request_digest="two").id == "b"
    with pytest.raises(ConflictError, match="became run a"):
        submit(store, "c", token="ci", idempotency_key="k", request_digest="two")
    with pytest.raises(UsageError, match="1 to 255"):
        submit(store, "d", idempotency_key="k" * 256)


def test_an_id_is_given_once(store: RunStore) -> None:
    submit(store, "a")

    with pytest.raises(ConflictError, match="run a already"):
        submit(store, "a")


def test_a_token_has_no_more_queued_than_its_limit_however_fast_it_submits(store: RunStore) -> None:
    def attempt(number: int) -> bool:
        try:
            return store.submit(NewRun(id=f"r{number}", name="n", token="ci"), limit=5)[1]
        except TooManyError:
            return False

    with ThreadPoolExecutor(20) as pool:
        made = sum(pool.map(attempt, range(20)))

    assert made == store.queue_length() == 5
    store.submit(NewRun(id="x", name="n", token="other"), limit=5)
    take_all(store)
    assert store.submit(NewRun(id="y", name="n", token="ci"), limit=5)[1]


def test_a_lost_run_is_tried_again_once_however_often_that_is_asked(store: RunStore) -> None:
    submit(store, "a", retries=3)
    again, created = store.submit(NewRun(id="b", name="train", attempt=2, retry_of="a", retries=3))
    repeated, made = store.submit(NewRun(id="c", name="train", attempt=2, retry_of="a", retries=3))

    assert (again.id, created, repeated.id, made) == ("b", True, "b", False)
    assert (store.get("a").retried_as, store.get("b").retry_of, store.get("b").attempt) == ("b", "a", 2)


def test_pages_stay_as_they_are_while_runs_are_added(store: RunStore) -> None:
    for number in range(25):
        submit(store, f"{number:02}")

    seen: list[str] = []
    cursor = None
    while True:
        page, cursor = store.list(limit=10, cursor=cursor)
        seen += [record.id for record in page]
        submit(store, f"new-{len(seen)}")
        if cursor is None:
            break

    assert seen == [f"{number:02}" for number in reversed(range(25))]


def test_runs_of_the_same_instant_are_paged_too(store: RunStore, engine: Engine) -> None:
    for number in range(7):
        submit(store, f"{number}")
    with writing(engine) as connection:
        connection.execute(text("UPDATE runs SET created = (SELECT max(created) FROM runs)"))

    first, cursor = store.list(limit=4)
    rest, end = store.list(limit=4, cursor=cursor)

    assert [record.id for record in first + rest] == list("6543210")
    assert end is None


def test_a_list_is_filtered_by_name_status_token_and_build(store: RunStore) -> None:
    submit(store, "a", name="one", token="ci", build={"job": "train", "number": 1})
    submit(store, "b", name="two", token="ci", build={"job": "train", "number": 12})
    submit(store, "c", name="two", token="me", build={"job": "tra_n", "number": 1})
    store.take_next(lambda run: run.id == "b")

    def ids(**filters: str) -> list[str]:
        return [record.id for record in store.list(**filters)[0]]  # type: ignore[arg-type]

    assert ids(name="two") == ["c", "b"]
    assert ids(status="starting") == ["b"]
    assert ids(token="ci", status="queued") == ["a"]
    assert ids(build="train") == ["b", "a"]
    assert ids(build="train#1") == ["a"]
    assert ids(build="tra_n") == ["c"]
    assert ids(build="tr%") == ids(name="\0") == ids(build="\ud800") == ids(status="no such") == []


@pytest.mark.parametrize("cursor", ["", "x", "ü", "%%%", "MjAyNi0wMS0wMQ", "MjAyNi0wMS0wMSBhYmM", "bm8gdGltZQ"])
def test_a_cursor_that_no_page_gave_is_refused(store: RunStore, cursor: str) -> None:
    with pytest.raises(UsageError, match="first page"):
        store.list(cursor=cursor)


@pytest.mark.parametrize("field", ["name", "label", "kernel", "token", "idempotency_key"])
@pytest.mark.parametrize("value", ["a\0b", "a\ud800b"])
def test_text_that_no_database_keeps_is_refused_by_its_field(store: RunStore, field: str, value: str) -> None:
    with pytest.raises(UsageError, match=field) as refused:
        submit(store, "a", **{field: value})
    assert refused.value.field == field
    assert store.queue_length() == 0


def test_a_build_is_kept_whatever_its_values_are(store: RunStore) -> None:
    build = {"job": "j" * 5000, "number": "\ud800\0", "deep": [{"a": None}]}

    assert submit(store, "a", build=build).build == build
    with pytest.raises(UsageError, match="build"):
        submit(store, "b", build={"x": float("nan")})


def test_a_run_goes_from_queued_to_its_end(store: RunStore) -> None:
    submit(store, "a")
    assert not store.set_running("a")  # it was not taken yet
    store.take_next(lambda _: True)
    assert store.set_runner("a", 4711, 2**40, ["GPU-0", "GPU-1"])
    assert store.set_running("a")
    (active,) = store.active()
    assert (active.status, active.runner_pid, active.runner_ticks) == (Status.RUNNING, 4711, 2**40)
    assert active.gpu_ids == ["GPU-0", "GPU-1"]
    assert active.started is not None

    assert store.finish("a", "failed", "cell 3: \ud800 \0", 1, 12.5)

    ended = store.get("a")
    assert (ended.status, ended.exit_code, ended.seconds) == (Status.FAILED, 1, 12.5)
    assert ended.reason.startswith("cell 3: ")
    assert ended.finished is not None
    assert ended.finished >= active.started
    assert store.active() == []


def test_the_first_end_stays(store: RunStore) -> None:
    submit(store, "a")
    assert store.finish("a", "succeeded", "", 0, 1.0)

    assert not store.finish("a", "lost", "no runner", 5, 9.0)
    assert not store.set_runner("a", 1, 1, [])
    assert not store.set_running("a")
    assert not store.request_cancel("a").cancel_requested
    assert store.get("a").status == Status.SUCCEEDED
    with pytest.raises(ValueError, match="can't end as running"):
        store.finish("a", "running", "", 0, 1.0)


def test_a_cancelled_run_that_is_queued_is_not_taken_but_told_of(store: RunStore) -> None:
    submit(store, "a")
    submit(store, "b")

    assert store.request_cancel("a").status == Status.QUEUED

    assert take_all(store) == ["b"]
    store.request_cancel("b")
    assert [record.id for record in store.cancel_requested()] == ["a", "b"]
    store.finish("a", "cancelled", "Cancelled.", 130, 0.0)
    assert [record.id for record in store.cancel_requested()] == ["b"]


def test_a_run_that_was_taken_and_not_begun_can_be_put_back(store: RunStore) -> None:
    submit(store, "a")
    take_all(store)

    assert store.put_back("a")
    assert take_all(store) == ["a"]
    store.set_runner("a", 1, 1, ["0"])
    assert store.put_back("a")
    assert store.get("a").gpu_ids == []
    assert take_all(store) == ["a"]
    store.set_running("a")
    assert not store.put_back("a")


def test_only_what_has_ended_is_deleted(store: RunStore) -> None:
    for id in ("queued", "starting", "ended"):
        submit(store, id)
    store.take_next(lambda run: run.id == "starting")
    store.finish("ended", "succeeded", "", 0, 1.0)

    assert [store.delete(id) for id in ("queued", "starting", "ended", "ended")] == [False, False, True, False]
    with pytest.raises(KeyError):
        store.get("ended")


@pytest.mark.parametrize("id", ["", "no such", "a\0", "\ud800"])
def test_a_run_that_is_not_there_is_a_key_error(store: RunStore, id: str) -> None:
    with pytest.raises(KeyError):
        store.get(id)
    with pytest.raises(KeyError):
        store.request_cancel(id)
    assert not store.finish(id, "lost", "", None, 0.0)


def test_counts_name_every_status(store: RunStore) -> None:
    submit(store, "a")

    assert store.counts() == dict.fromkeys(Status, 0) | {Status.QUEUED: 1}


def test_a_database_that_is_locked_for_five_seconds_only_delays(store: RunStore, engine: Engine) -> None:
    # given: somebody who holds the database for five seconds
    submit(store, "a")
    held = threading.Event()

    def hold() -> None:
        with writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("LOCK TABLE runs IN EXCLUSIVE MODE"))
            held.set()
            time.sleep(5)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    start = time.monotonic()

    # when: it is read, then written
    assert store.get("a").status == Status.QUEUED
    read = time.monotonic() - start
    submit(store, "b")
    written = time.monotonic() - start
    holder.join()

    # then: readers did not wait, and the writer did, and no longer than it had to
    assert read < 2
    assert 4 < written < 15
    assert take_all(store) == ["a", "b"]
