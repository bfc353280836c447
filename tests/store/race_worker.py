"""One of the processes of the race in `test_runs.py`: submits its runs and takes what it can get, with 8 threads.

Called as ``python -m tests.store.race_worker URL PREFIX COUNT TOTAL``; prints what it took, one id a line.
"""

from __future__ import annotations

import queue
import random
import sys
import threading
import time

from kernel_gateway.events import Status
from kernel_gateway.store.database import open_database
from kernel_gateway.store.runs import NewRun, RunStore

THREADS = 8
GIVE_UP_SECONDS = 100


def next_of(ids: queue.SimpleQueue[str]) -> str | None:
    """One more id; None when another thread got the last."""
    try:
        return ids.get_nowait()
    except queue.Empty:
        return None


def work(store: RunStore, ids: queue.SimpleQueue[str], total: int, taken: list[str]) -> None:
    """Submit and take in turns until all runs of all processes are taken."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < deadline:
        id = next_of(ids)
        if id is not None:
            store.submit(NewRun(id=id, name="race", priority=random.randint(-3, 3)), limit=total)
        record = store.take_next(lambda _: True)
        if record is not None:
            taken.append(record.id)
        elif id is None and store.counts()[Status.STARTING] == total:
            return


def main(url: str, prefix: str, count: int, total: int) -> None:
    """Race."""
    store = RunStore(open_database(url))
    ids: queue.SimpleQueue[str] = queue.SimpleQueue()
    for number in range(count):
        ids.put(f"{prefix}-{number}")
    taken: list[str] = []
    threads = [threading.Thread(target=work, args=(store, ids, total, taken)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(taken))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
