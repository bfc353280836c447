"""PostgreSQL goes away and comes back: nothing is lost, and nobody has to be restarted."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from kernel_gateway.events import Status
from kernel_gateway.store.database import migrate, open_database
from kernel_gateway.store.runs import NewRun, RunStore

from .postgres import PostgresServer


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_the_store_goes_on_after_the_server_was_restarted(postgres: PostgresServer, how: signal.Signals) -> None:
    # given: a store with open connections
    engine = open_database(postgres.new_database())
    migrate(engine)
    store = RunStore(engine)
    store.submit(NewRun(id="before", name="n"))

    # when: the server goes away
    postgres.stop(how)
    try:
        start = time.monotonic()
        with pytest.raises(OperationalError):
            store.submit(NewRun(id="meanwhile", name="n"))
        refused = time.monotonic() - start
    finally:
        postgres.start()

    # then: that was told at once, and after the restart the same store works
    assert refused < 10
    store.submit(NewRun(id="after", name="n"))
    assert [record.id for record in store.list()[0]] == ["after", "before"]
    engine.dispose()


def test_a_restart_between_two_calls_is_not_noticed(postgres: PostgresServer) -> None:
    engine = open_database(postgres.new_database())
    migrate(engine)
    store = RunStore(engine)
    store.submit(NewRun(id="before", name="n"))

    postgres.stop()
    postgres.start()

    assert store.submit(NewRun(id="after", name="n"))[1]
    engine.dispose()


def test_clients_that_repeat_what_failed_lose_and_double_nothing_over_a_restart(postgres: PostgresServer) -> None:
    # given: four clients that submit without pause, and repeat with the same key what failed
    engine = open_database(postgres.new_database())
    migrate(engine)
    store = RunStore(engine)
    answered: list[str] = []
    failures: list[DBAPIError] = []
    done = threading.Event()

    def client(number: int) -> None:
        count = 0
        while not done.is_set():
            try:
                key = f"c{number}-{count}"
                run = NewRun(id=f"{key}-{len(failures)}", name="n", token="ci", idempotency_key=key)
                answered.append(store.submit(run)[0].id)
                count += 1
            except DBAPIError as error:
                failures.append(error)
                time.sleep(0.05)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in clients:
        thread.start()

    # when: the server is killed without a word and started again
    time.sleep(0.5)
    try:
        postgres.stop(signal.SIGQUIT)
        time.sleep(0.3)
    finally:
        postgres.start()
    before = len(answered)
    time.sleep(1)
    done.set()
    for thread in clients:
        thread.join()

    # then: every answer stands for one run, each run has one key, and work went on
    rows: dict[str, str | None] = {}
    cursor = None
    while True:
        page, cursor = store.list(limit=500, cursor=cursor)
        rows |= {record.id: record.idempotency_key for record in page}
        if cursor is None:
            break
    assert failures
    assert len(answered) > before
    assert set(answered) <= rows.keys()
    assert len(answered) == len(set(answered))
    assert len(set(rows.values())) == len(rows)
    engine.dispose()


def test_a_run_taken_when_the_server_dies_is_taken_or_queued_but_not_gone(postgres: PostgresServer) -> None:
    engine = open_database(postgres.new_database())
    migrate(engine)
    store = RunStore(engine)
    store.submit(NewRun(id="a", name="n"))

    def server_dies(_: object) -> bool:
        postgres.stop(signal.SIGQUIT)
        return True

    try:
        with pytest.raises(DBAPIError):
            store.take_next(server_dies)
    finally:
        postgres.start()

    assert store.get("a").status == Status.QUEUED
    taken = store.take_next(lambda _: True)
    assert taken is not None
    assert taken.id == "a"
    engine.dispose()
