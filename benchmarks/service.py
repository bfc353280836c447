"""What the service itself costs, measured from outside: ``python -m benchmarks.service``.

Needs nothing but this package. Starts services of its own on loopback, and prints a table and JSON. It measures the
whole machine: let nothing else run on it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

SLOTS = 4
SUBMITS = 200
PRINTS = 300
STREAMS = 50
FINAL = {"succeeded", "unstable", "failed", "timed_out", "kernel_died", "cancelled", "lost"}
STAMPS = f"import time\nfor i in range({PRINTS}):\n    print(time.time_ns(), flush=True)\n    time.sleep(0.01)\n"


class Service:
    """A service on a data folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "kernel_gateway", "serve", "--port", "0", "--data", str(folder / "data")]
        self._log = (folder / "serve.log").open("w")
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=self._log, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+) \(token (\S+)\)", self.process.stdout.readline())
        if found is None:
            raise RuntimeError(f"the service did not start: {(folder / 'serve.log').read_text()}")
        self.port, self._token = int(found[1]), found[2]
        self._local = threading.local()

    def request(self, method: str, path: str, body: Any = None) -> http.client.HTTPResponse:
        """One request on this thread's connection; the answer must be read to its end."""
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        self._local.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response: http.client.HTTPResponse = self._local.connection.getresponse()
        return response

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """What the service answers. Raises RuntimeError for an error."""
        response = self.request(method, path, body)
        content = response.read()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {response.status} {content!r}")
        return json.loads(content)

    def submit(self, code: str) -> str:
        """Submit a snippet; returns the run's id."""
        return str(self.json("POST", "/api/v1/runs", {"source": {"content": code}})["id"])

    def wait_for(self, ids: list[str]) -> None:
        """Wait until runs have ended. Raises RuntimeError if one did not succeed."""
        for id in ids:
            while (run := self.json("GET", f"/api/v1/runs/{id}"))["status"] not in FINAL:
                time.sleep(0.05)
            if run["status"] != "succeeded":
                raise RuntimeError(f"{id} ended as {run['status']}: {run['reason']}")

    def events(self, id: str) -> Iterator[tuple[float, dict[str, Any]]]:
        """A run's events as they come, each with the time at which it came."""
        response = self.request("GET", f"/api/v1/runs/{id}/events")
        for line in response:
            if line.startswith(b"data: "):
                yield time.time(), json.loads(line[6:])

    def memory(self) -> dict[str, float]:
        """Resident memory of each process of the service, runners left out, in 10^6 bytes."""
        found: dict[str, float] = {}
        for pid, line in self._below(self.process.pid):
            name = "dispatcher" if "agents.dispatcher" in line else "web" if "gunicorn" in line else "supervisor"
            while name in found:
                name += " worker"
            found[name] = _resident(pid)
        return found

    def runner_memory(self) -> dict[str, float]:
        """The same of one runner and its kernel, while there is one."""
        found: dict[str, float] = {}
        for pid, line in self._below(self.process.pid, runners=True):
            for word, name in (("agents.runner_process", "runner"), ("ipykernel_launcher", "kernel")):
                if word in line and "guard.py" not in line and "bwrap" not in line.split("\0")[0]:
                    found[name] = _resident(pid)
        return found

    def _below(self, pid: int, *, runners: bool = False) -> Iterator[tuple[int, str]]:
        line = Path(f"/proc/{pid}/cmdline").read_text()
        if "runner_process" in line and not runners:
            return
        yield pid, line
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                yield from self._below(int(child), runners=runners)

    def stop(self) -> None:
        """Stop it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


def _resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def service(*options: str) -> Iterator[Service]:
    """A service for the length of a ``with`` block."""
    with tempfile.TemporaryDirectory(prefix="kg-") as folder:
        started = Service(Path(folder), *options)
        try:
            yield started
        finally:
            started.stop()


def percentiles(values: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {"p50": round(median(values), 2), "p99": round(sorted(values)[int(0.99 * (len(values) - 1))], 2)}


def measure_submits() -> dict[str, Any]:
    """Milliseconds that a submit takes the client, while no run starts: the queue waits behind one that sleeps."""
    with service("--slots", "1") as served:
        first = served.submit("import time; time.sleep(600)")
        while served.json("GET", f"/api/v1/runs/{first}")["status"] != "running":
            time.sleep(0.1)
        costs = []
        for number in range(SUBMITS):
            begun = time.perf_counter()
            served.submit(f"print({number})")
            costs.append((time.perf_counter() - begun) * 1000)
        served.json("POST", f"/api/v1/runs/{first}/cancel", {})
        while served.json("GET", f"/api/v1/runs/{first}")["status"] not in FINAL:
            time.sleep(0.1)
    return {"submit_ms": percentiles(costs)}


def measure_starts() -> dict[str, Any]:
    """Seconds from a submit to the first output at a follower, nothing being warm but the disk; memory on the way."""
    with service("--slots", str(SLOTS)) as served:
        idle = served.memory()
        starts: list[float] = []
        busy: dict[str, float] = {}
        for _ in range(7):
            begun = time.time()
            id = served.submit("print('here', flush=True)\nimport time; time.sleep(0.3)")
            for at, event in served.events(id):
                if event["type"] == "stream" and len(starts) < 7:
                    starts.append(at - begun)
                    busy = served.runner_memory()
        return {
            "start_s": {"p50": round(median(starts), 2), "max": round(max(starts), 2)},
            "memory_idle_mb": idle,
            "memory_runner_mb": busy,
        }


def measure_throughput(runs: int) -> dict[str, Any]:
    """Trivial runs a second, all queued at once, and what the processes hold before and after."""
    with service("--slots", str(SLOTS)) as served:
        served.wait_for([served.submit("1")])
        before = served.memory()
        begun = time.monotonic()
        ids = [served.submit("1") for _ in range(runs)]
        served.wait_for(ids)
        seconds = time.monotonic() - begun
        return {
            "runs": runs,
            "slots": SLOTS,
            "queue_s": round(seconds, 1),
            "runs_per_s": round(runs / seconds, 2),
            "memory_before_mb": before,
            "memory_after_mb": served.memory(),
        }


def measure_streams() -> dict[str, Any]:
    """Milliseconds from a flushed print to the line at a client, with one follower and with many."""
    found: dict[str, Any] = {}
    with service("--slots", "1") as served:
        for readers in (1, STREAMS):
            delays: list[float] = []
            id = served.submit(STAMPS)
            threads = [threading.Thread(target=_follow, args=(served, id, delays)) for _ in range(readers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if len(delays) != readers * PRINTS:
                raise RuntimeError(f"{readers} readers got {len(delays)} lines, not {readers * PRINTS}")
            found[f"print_to_client_ms_{readers}"] = percentiles(delays)
            found[f"memory_after_{readers}_mb"] = served.memory()
    return found


def _follow(served: Service, id: str, delays: list[float]) -> None:
    for at, event in served.events(id):
        if event["type"] == "stream":
            delays += [at * 1000 - int(line) / 1e6 for line in event["text"].split()]


def measure_blob(size: int) -> dict[str, Any]:
    """Seconds to send one large blob, and the most memory that the web worker had."""
    import hashlib

    piece = os.urandom(1 << 20)
    summed = hashlib.sha256()
    for _ in range(size >> 20):
        summed.update(piece)
    with service() as served:
        before = served.memory()
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=600)
        headers = {"Authorization": f"Bearer {served._token}", "Content-Length": str(size)}
        path = f"/api/v1/blobs/{summed.hexdigest()}"
        connection.request("PUT", path, (piece for _ in range(size >> 20)), headers)
        answer = connection.getresponse()
        if answer.status != 201:
            raise RuntimeError(f"the blob was refused: {answer.read()!r}")
        seconds = time.monotonic() - begun
        connection.close()
        peak = max(_high_water(pid) for pid, line in served._below(served.process.pid) if "gunicorn" in line)
        return {
            "blob_mb": size >> 20,
            "blob_s": round(seconds, 2),
            "blob_mb_per_s": round(size / 1e6 / seconds),
            "web_worker_before_mb": round(before["web worker"], 1),
            "web_worker_peak_mb": round(peak, 1),
        }


def _high_water(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| figure | value |", "| --- | --- |"]
    for name, value in result.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {round(item, 2)}" for key, item in value.items())
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
    result: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_before": round(os.getloadavg()[0], 2),
    }
    for name, measured in measures.items():
        if not arguments.only or name in arguments.only:
            print(f"{name} …", file=sys.stderr, flush=True)
            result |= measured()
    print(table(result))
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.output is not None:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
