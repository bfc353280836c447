"""What a service bears: a full queue, readers who are slow or gone, and processes that die all the time."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.service.conftest import FINAL, Serve, Service

pytestmark = pytest.mark.slow

GROWTH = 24 << 20
"""Bytes by which a process of the service may have grown after 200 runs: pools, caches and threads, no more."""


@pytest.fixture
def small_kernel(tmp_path: Path) -> dict[str, str]:
    """Environment of a service that has the kernel ``small`` too."""
    folder = tmp_path / "jupyter" / "kernels" / "small"
    folder.mkdir(parents=True)
    command = [sys.executable, str(Path(__file__).with_name("small_kernel.py")), "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "small", "language": "text"}))
    return {"JUPYTER_PATH": str(folder.parents[1])}


def processes(service: Service) -> dict[str, psutil.Process]:
    """The service's own processes by name, without runners."""
    assert service.process is not None
    found = {"supervisor": psutil.Process(service.process.pid)}
    for child in service.children("agents.dispatcher"):
        found["dispatcher"] = child
    for child in service.children("gunicorn"):
        found["web worker" if child.ppid() != service.process.pid else "web server"] = child
    assert len(found) == 4
    return found


def memory(service: Service) -> dict[str, int]:
    """Resident bytes of each."""
    return {name: process.memory_info().rss for name, process in processes(service).items()}


def assert_each_ran_once(service: Service, ids: list[str]) -> None:
    """Every run has one start, one end and its own text in a log without gaps."""
    for number, id in enumerate(ids):
        events = service.events(id)
        types = Counter(event["type"] for event in events)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1)), id
        assert (types["run_started"], types["cell_started"], types["run_finished"]) == (1, 1, 1), (id, events)
        assert service.text(id) == f"{number}\n"


def wait_for_all(service: Service, ids: list[str], seconds: float) -> Counter[str]:
    """Wait until all runs have ended; how many ended how."""
    deadline = time.monotonic() + seconds
    while True:
        runs: list[dict[str, Any]] = []
        with contextlib.suppress(OSError, http.client.HTTPException):
            runs = service.ask("GET", "/api/v1/runs?limit=500").json["runs"]
        statuses = Counter(run["status"] for run in runs if run["id"] in set(ids))
        if sum(statuses[status] for status in FINAL) == len(ids):
            return statuses
        assert time.monotonic() < deadline, statuses
        time.sleep(0.2)


def test_two_hundred_runs_queued_at_once_end_once_each_in_flat_memory(
    serve: Serve, small_kernel: dict[str, str]
) -> None:
    service = serve("--slots", "4", **small_kernel)
    service.wait_for(service.submit("0", kernel="small"))
    before = memory(service)
    begun = time.monotonic()
    ids = [service.submit(str(number), kernel="small", name=f"run-{number}") for number in range(200)]
    assert time.monotonic() - begun < 30
    assert wait_for_all(service, ids, 300) == {"succeeded": 200}
    seconds = time.monotonic() - begun
    assert_each_ran_once(service, ids)
    after = memory(service)
    grown = {name: after[name] - before[name] for name in before}
    print(f"200 runs in {seconds:.1f} s; memory in MB: {[(n, b >> 20, after[n] >> 20) for n, b in before.items()]}")
    assert max(grown.values()) < GROWTH, grown
    assert not service.runners()


def test_a_dispatcher_killed_again_and_again_runs_everything_once(serve: Serve, small_kernel: dict[str, str]) -> None:
    service = serve("--slots", "4", **small_kernel)
    ids = [service.submit(str(number), kernel="small") for number in range(30)]
    for _ in range(5):
        time.sleep(1.3)
        for dispatcher in service.children("agents.dispatcher"):
            dispatcher.kill()
    assert wait_for_all(service, ids, 120) == {"succeeded": 30}
    assert_each_ran_once(service, ids)


def test_a_run_that_a_dying_dispatcher_had_taken_but_not_started_is_started_by_the_next(serve: Serve) -> None:
    from kernel_gateway.store.database import open_database
    from kernel_gateway.store.runs import RunStore

    service = serve("--slots", "1")
    first = service.submit("import time; time.sleep(3)")
    service.wait_for(first, {"running"})
    taken = service.submit("print('begun')")
    engine = open_database(f"sqlite:///{service.data / 'gateway.db'}")
    try:
        # As a dispatcher that is killed between the two leaves it.
        record = RunStore(engine).take_next(lambda run: run.id == taken)
    finally:
        engine.dispose()
    assert record is not None
    for dispatcher in service.children("agents.dispatcher"):
        dispatcher.kill()
    assert service.wait_for(taken) == "succeeded"
    assert service.text(taken) == "begun\n"


def test_submits_that_a_stopping_service_answered_are_kept_and_repeats_make_no_second_run(
    serve: Serve, small_kernel: dict[str, str]
) -> None:
    service = serve("--slots", "2", **small_kernel)
    assert service.process is not None
    answered: dict[int, str] = {}
    stopping = service.process
    timer = threading.Timer(0.3, stopping.send_signal, (signal.SIGTERM,))
    timer.start()
    for number in range(1000):
        try:
            answer = submit_with_key(service, number)
        except (OSError, http.client.HTTPException):
            break
        if answer.status not in (200, 201):
            break
        answered[number] = answer.json["id"]
    timer.join()
    stopping.wait(40)
    service.stop()
    assert 0 < len(answered) < 1000
    service.start()
    last = max(answered)
    repeated = {number: submit_with_key(service, number) for number in (0, last, last + 1)}
    assert repeated[0].status == repeated[last].status == 200
    assert [repeated[number].json["id"] for number in (0, last)] == [answered[0], answered[last]]
    assert repeated[last + 1].status in (200, 201)
    runs = service.ask("GET", "/api/v1/runs?limit=500").json["runs"]
    assert Counter(run["name"] for run in runs).most_common(1)[0][1] == 1
    assert {run["id"] for run in runs} == {*answered.values(), repeated[last + 1].json["id"]}


def submit_with_key(service: Service, number: int) -> Any:
    """Submit run `number`, by the same request with the same key each time."""
    body = {"source": {"content": str(number)}, "kernel": "small", "name": f"run-{number}"}
    return service.ask("POST", "/api/v1/runs", body, Idempotency_Key=f"key-{number}")


def test_a_submit_repeated_after_the_service_was_killed_gives_the_same_run(
    serve: Serve, small_kernel: dict[str, str]
) -> None:
    service = serve(**small_kernel)
    first = submit_with_key(service, 1)
    assert first.status == 201
    service.kill()
    service.start()
    again = submit_with_key(service, 1)
    assert (again.status, again.json["id"]) == (200, first.json["id"])
    assert service.wait_for(first.json["id"]) == "succeeded"
    assert len(service.ask("GET", "/api/v1/runs").json["runs"]) == 1


PRINTS = "import time\nfor i in range(400):\n    print('x' * 20_000, i, flush=True)\n    time.sleep(0.01)\n"


def open_stream(service: Service, id: str, receive_buffer: int = 0) -> socket.socket:
    """A connection on which a run's events arrive, and which nobody reads."""
    stream = socket.socket()
    if receive_buffer:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    stream.connect(("127.0.0.1", service.port))
    head = f"GET /api/v1/runs/{id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.token}\r\n\r\n"
    stream.sendall(head.encode())
    return stream


def test_readers_who_are_slow_or_gone_cost_neither_the_run_nor_the_service_anything(serve: Serve) -> None:
    service = serve(KERNEL_GATEWAY_WEB_THREADS="80")
    service.wait_for(service.submit("1"))
    before = memory(service)["web worker"]
    id = service.submit(PRINTS)
    service.wait_for(id, {"running"})
    vanished = [open_stream(service, id) for _ in range(50)]
    slow = open_stream(service, id, 4096)
    time.sleep(1)
    for stream in vanished:
        stream.close()
    got = b""
    while service.run(id)["status"] not in FINAL:
        got += slow.recv(100)  # one kilobyte a second
        time.sleep(0.1)
    assert service.run(id)["status"] == "succeeded"
    assert service.run(id)["seconds"] < 30
    grown = memory(service)["web worker"] - before
    assert grown < 60 << 20, grown
    begun = time.monotonic()
    assert service.ask("GET", "/readyz").status == 200
    assert time.monotonic() - begun < 2
    # All of it is there for the slow one too, once it hurries.
    slow.settimeout(30)
    while b"event: run_finished" not in got[-2000:]:
        part = slow.recv(1 << 20)
        if not part:
            break
        got += part
    slow.close()
    ends = [line for line in got.split(b"\n") if line.startswith(b"id: ")]
    assert len(ends) == len(service.events(id))
    deadline = time.monotonic() + 15
    worker = processes(service)["web worker"]
    while streams(worker) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not streams(worker)


def streams(worker: psutil.Process) -> int:
    """Event logs that a web worker has open, each for one reader."""
    return sum(file.path.endswith("events.jsonl") for file in worker.open_files())
