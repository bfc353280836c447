"""What the service itself costs, measured from outside: ``python -m benchmarks.service``.

Needs nothing but this package. Starts services of its own on loopback, and prints a table and JSON. It measures the
whole machine: let nothing else run on it. How it compares with others is what `benchmarks/run` measures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from kernel_gateway import GatewayClient

from . import commands, memory
from .about import about
from .contestants.gateway import Service, is_runner
from .samples import percentile

SLOTS = 4
SUBMITS = 200
PRINTS = 300
STREAMS = 50
STAMPS = f"import time\nfor i in range({PRINTS}):\n    print(time.time_ns(), flush=True)\n    time.sleep(0.01)\n"


@contextlib.contextmanager
def service(*options: str) -> Iterator[Service]:
    """A service for the length of a ``with`` block."""
    with tempfile.TemporaryDirectory(prefix="kg-", ignore_cleanup_errors=True) as folder:
        started = Service(Path(folder), *options)
        try:
            yield started
        finally:
            started.stop()


def resident(served: Service) -> dict[str, float]:
    """Resident memory of each process of the service, in 10^6 bytes; of runners and their kernels, the last one's."""
    found: dict[str, float] = {}
    for pid in memory.tree([served.process.pid]):
        line = memory.command_line(pid)
        if is_runner(line):
            found["runner"] = memory.resident(pid) / 1e6
        elif "ipykernel_launcher" in line and "guard" not in line and "bwrap" not in line:
            found["kernel"] = memory.resident(pid) / 1e6
        else:
            for word, name in (
                ("agents.dispatcher", "dispatcher"),
                ("gunicorn", "web"),
                ("gateway serve", "supervisor"),
            ):
                if word in line:
                    found[name + " worker" * (name in found)] = memory.resident(pid) / 1e6
    return {name: round(value, 1) for name, value in found.items()}


def percentiles(values: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {"p50": round(median(values), 2), "p99": round(percentile(values, 0.99), 2)}


def finish(client: GatewayClient, ids: list[str]) -> None:
    """Wait until runs have ended. Raises RuntimeError if one did not succeed."""
    for id in ids:
        while not (run := client.run(id)).is_finished:
            time.sleep(0.05)
        if not run.succeeded:
            raise RuntimeError(f"{id} ended as {run.status}: {run.reason}")


def measure_submits() -> dict[str, Any]:
    """Milliseconds that a submit takes the client, while no run starts: the queue waits behind one that sleeps."""
    with service("--slots", "1") as served:
        first = served.client.submit("import time; time.sleep(600)").id
        while served.client.run(first).status != "running":
            time.sleep(0.1)
        costs = []
        for number in range(SUBMITS):
            begun = time.perf_counter()
            served.client.submit(f"print({number})")
            costs.append((time.perf_counter() - begun) * 1000)
    return {"submit_ms": percentiles(costs)}


def measure_starts() -> dict[str, Any]:
    """Seconds from a submit to the first output at a follower, nothing being warm but the disk; memory on the way."""
    with service("--slots", str(SLOTS)) as served:
        idle = resident(served)
        starts: list[float] = []
        busy: dict[str, float] = {}
        for _ in range(7):
            begun = time.perf_counter()
            id = served.client.submit("print('here', flush=True)\nimport time; time.sleep(0.3)").id
            for event in served.client.events(id):
                if event["type"] == "stream":
                    starts.append(time.perf_counter() - begun)
                    busy = resident(served)
        return {
            "start_s": {"p50": round(median(starts), 2), "max": round(max(starts), 2)},
            "memory_idle_mb": idle,
            "memory_running_mb": busy,
        }


def measure_throughput(runs: int) -> dict[str, Any]:
    """Trivial runs a second, all queued at once, and what the processes hold before and after."""
    with service("--slots", str(SLOTS)) as served:
        finish(served.client, [served.client.submit("1").id])
        before = resident(served)
        begun = time.monotonic()
        finish(served.client, [served.client.submit("1").id for _ in range(runs)])
        seconds = time.monotonic() - begun
        return {
            "runs": runs,
            "slots": SLOTS,
            "queue_s": round(seconds, 1),
            "runs_per_s": round(runs / seconds, 2),
            "memory_before_mb": before,
            "memory_after_mb": resident(served),
        }


def measure_streams() -> dict[str, Any]:
    """Milliseconds from a flushed print to the line at a client, with one follower and with many."""
    found: dict[str, Any] = {}
    with service("--slots", "1") as served:
        for readers in (1, STREAMS):
            delays: list[float] = []
            id = served.client.submit(STAMPS).id
            threads = [threading.Thread(target=_follow, args=(served, id, delays)) for _ in range(readers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if len(delays) != readers * PRINTS:
                raise RuntimeError(f"{readers} readers got {len(delays)} lines, not {readers * PRINTS}")
            found[f"print_to_client_ms_{readers}"] = percentiles(delays)
            found[f"memory_after_{readers}_mb"] = resident(served)
    return found


def _follow(served: Service, id: str, delays: list[float]) -> None:
    with GatewayClient(served.url, served.token) as client:
        for event in client.events(id):
            if event["type"] == "stream":
                arrived = time.time_ns()
                delays += [(arrived - int(line)) / 1e6 for line in event["text"].split()]


def measure_blob(size: int) -> dict[str, Any]:
    """Seconds to send one large blob, and the most memory that a web worker had."""
    import hashlib
    import http.client
    from urllib.parse import urlsplit

    piece = os.urandom(1 << 20)
    summed = hashlib.sha256()
    for _ in range(size >> 20):
        summed.update(piece)
    with service() as served:
        before = resident(served)
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(served.url).port, timeout=600)
        headers = {"Authorization": f"Bearer {served.token}", "Content-Length": str(size)}
        path = f"/api/v1/blobs/{summed.hexdigest()}"
        connection.request("PUT", path, (piece for _ in range(size >> 20)), headers)
        answer = connection.getresponse()
        if answer.status != 201:
            raise RuntimeError(f"the blob was refused: {answer.read()!r}")
        seconds = time.monotonic() - begun
        connection.close()
        workers = [pid for pid in memory.tree([served.process.pid]) if "gunicorn" in memory.command_line(pid)]
        return {
            "blob_mb": size >> 20,
            "blob_s": round(seconds, 2),
            "blob_mb_per_s": round(size / 1e6 / seconds),
            "web_worker_before_mb": before["web worker"],
            "web_worker_peak_mb": round(max(map(memory.high_water, workers)) / 1e6, 1),
        }


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| figure | value |", "| --- | --- |"]
    for name, value in result.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        lines.append(f"| {name.replace('_', ' ')} | {value} |")
    return "\n".join(lines)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description="Measure the service.")
    parser.add_argument("--runs", type=int, default=200, help="runs queued at once")
    parser.add_argument("--blob-mb", type=int, default=2048, help="size of the large blob")
    parser.add_argument("--only", action="append", metavar="NAME", help="submits, starts, throughput, streams or blob")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the JSON there too")
    arguments = parser.parse_args()
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "submits": measure_submits,
        "starts": measure_starts,
        "streams": measure_streams,
        "throughput": lambda: measure_throughput(arguments.runs),
        "blob": lambda: measure_blob(arguments.blob_mb << 20),
    }
    where = about()
    result: dict[str, Any] = {name: where[name] for name in ("date", "machine", "versions", "load_before")}
    try:
        for name, measured in measures.items():
            if not arguments.only or name in arguments.only:
                print(f"{name} …", file=sys.stderr, flush=True)
                result |= measured()
    finally:
        commands.stop_all()
    print(table(result))
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
