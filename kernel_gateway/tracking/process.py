"""The tracker: ``python -m kernel_gateway.tracking.process``. Imports MLflow once and serves any number of runs.

Talked to in JSON lines, over a socket that it inherits (``--fd``: one run's command, with which it ends) or over a
Unix socket that it listens on (``--socket``: a service). A request has ``id``, ``do`` and the operation's fields;
the answer has the same ``id``, and ``error`` if it failed. `Tracker`'s methods are the operations. Requests are
answered when they are done, in any order.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from .catalogue import Catalogue
from .client import UNKNOWN
from .comparison import compare
from .follower import Follower, Order
from .lineage import trace
from .mlflow_client import MlflowClient, Refused, Unavailable, set_up
from .note import FILE, Note
from .record import Point
from .registration import register

POINTS_PER_ANSWER = 10_000
"""Metrics of cells that one answer carries; the rest comes with the next."""

THREADS = 64


class Tracker:
    """The operations. Each is called in a thread of its own with a request's fields; what it returns is the answer."""

    def __init__(self, uri: str, connect: Future[MlflowClient]) -> None:
        self._uri = uri
        self._connect = connect
        self._followers: dict[str, Follower] = {}
        self._waiting: dict[str, list[Point]] = {}
        self._lock = threading.Lock()

    def client(self) -> MlflowClient:
        """The connection, once MLflow is imported. Raises `Unavailable`."""
        try:
            return self._connect.result()
        except Exception as error:
            raise Unavailable(f"MLflow's client can't be used: {type(error).__name__}: {error}") from error

    def begin(self, run: str, folder: str, experiment: str, name: str) -> dict[str, Any]:
        """Follow a run's log; answers when its MLflow run is there, or can't be had for now."""
        follower = self._take_up(Order(run, Path(folder), experiment, name))
        follower.connected.wait()
        return self._state(follower)

    def _take_up(self, order: Order) -> Follower:
        """The one follower of a run."""
        with self._lock:
            for ended in [key for key, other in self._followers.items() if other.is_over]:
                del self._followers[ended]
            follower = self._followers.get(order.run)
            if follower is None:
                follower = Follower(order, self._uri, self.client)
                self._followers[order.run] = follower
                follower.start()
        return follower

    def announce(self, run: str, file: str) -> dict[str, Any]:
        """Write the MLflow run's id and its experiment's to a file, for a kernel, as soon as they are known."""
        self._follower(run).announce(Path(file))
        return {}

    def metrics(self, run: str, thorough: bool = False, seconds: float = 5.0) -> dict[str, Any]:
        """What cells logged to MLflow themselves since the last call. ``more``: ask again."""
        follower = self._follower(run)
        waiting = self._waiting.setdefault(run, [])
        waiting += follower.foreign_points(thorough and not waiting, time.monotonic() + seconds)
        points = waiting[:POINTS_PER_ANSWER]
        del waiting[:POINTS_PER_ANSWER]
        told = [[point.name, str(point.value), point.step] for point in points]
        return {**self._state(follower), "points": told, "more": bool(waiting)}

    def compare(self, reference: str, registers: str | None = None, alias: str | None = None) -> dict[str, Any]:
        """The metrics of another run or model; see `comparison.compare`."""
        found = compare(self.client(), reference, registers, alias)
        return {"title": found.title, "metrics": found.metrics}

    def register(self, run: str, name: str, alias: str | None) -> dict[str, Any]:
        """Register the model that a run logged; later, with the rest, if MLflow does not answer."""
        follower = self._follower(run)
        follower.note.register = {"name": name, "alias": alias}
        follower.note.write(follower.order.folder)
        follower.connected.wait()
        if follower.note.run_id is None:
            raise Unavailable(follower.note.problem)
        try:
            outcome = register(self.client(), follower.note, run)
        except Refused:
            follower.note.register = None  # with the rest it would be refused again, and the rest with it
            raise
        follower.note.register = None
        return {"message": outcome.message, "failed": outcome.failed}

    def lineage(self, reference: str, record: dict[str, Any] | None = None) -> dict[str, Any]:
        """Where a model or run came from, and what has used it; `record` is its ``run.json``, if at hand."""
        self.client()  # MLflow is imported by then
        return {"lineage": trace(Catalogue(self._uri), reference, record).to_dict()}

    def finish(self, run: str, seconds: float, folder: str | None = None) -> dict[str, Any]:
        """A run's results are all written: send the rest; answers when it is sent, a try failed or the time is over.

        The tracker goes on trying in the other cases. `folder`: the run's, for a tracker that was started since then.
        """
        if folder is not None and run not in self._followers:
            return self.send(folder, seconds)
        follower = self._follower(run)
        follower.finish()
        follower.settled.wait(seconds)
        if follower.done.is_set():
            with self._lock:
                self._followers.pop(run, None)
                self._waiting.pop(run, None)
        return {**self._state(follower), "complete": follower.note.complete, "problem": follower.note.problem}

    def send(self, folder: str, seconds: float) -> dict[str, Any]:
        """Send what is missing of a run that has ended, as its folder tells."""
        note = Note.read(Path(folder))
        if note is None:
            raise Refused(f"{folder} holds no {FILE}: no run there was to go to MLflow.")
        if note.complete:
            return {"complete": True, "problem": "", "run_id": note.run_id, "remarks": []}
        self.begin(note.run, folder, note.experiment, note.name)
        return {"run_id": self._follower(note.run).run_id, **self.finish(note.run, seconds)}

    def resume(self, runs: Path) -> None:
        """Take up all runs below a folder whose note says that not all was sent, for a service that starts again."""
        for file in sorted(runs.glob(f"*/{FILE}")):
            note = Note.read(file.parent)
            if note is not None and not note.complete and _has_ended(file.parent):
                self._take_up(Order(note.run, file.parent, note.experiment, note.name)).finish()

    def _follower(self, run: str) -> Follower:
        follower = self._followers.get(run)
        if follower is None:
            raise Refused(UNKNOWN)
        return follower

    def _state(self, follower: Follower) -> dict[str, Any]:
        note = follower.note
        attachment = {"run_id": note.run_id, "experiment_id": note.experiment_id, "experiment": note.experiment}
        return {
            "attachment": {**attachment, "uri": self._uri} if note.run_id else None,
            "remarks": follower.remarks(),
        }


class Connection:
    """One caller. Requests are worked on side by side; answers are written whole."""

    def __init__(self, stream: socket.socket, tracker: Tracker, pool: ThreadPoolExecutor) -> None:
        self._stream = stream
        self._tracker = tracker
        self._pool = pool
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Take requests until the caller goes."""
        with contextlib.suppress(OSError), self._stream.makefile("rb") as lines:
            for line in lines:
                self._pool.submit(self._answer, line)

    def _answer(self, line: bytes) -> None:
        try:
            request = orjson.loads(line)
            number, do = request.pop("id"), request.pop("do")
        except (ValueError, KeyError, AttributeError, TypeError):
            return
        try:
            if do not in ("begin", "announce", "metrics", "compare", "register", "lineage", "finish", "send"):
                raise Refused(f"There is no operation {do!r}.")
            answer = getattr(self._tracker, do)(**request)
        except (Unavailable, Refused) as error:
            answer = {"error": str(error), "refused": isinstance(error, Refused)}
        except Exception as error:  # noqa: BLE001 — a defect must be told, and not cost other runs their tracker
            answer = {"error": f"Internal error: {type(error).__name__}: {error}", "refused": False}
        with contextlib.suppress(OSError), self._lock:
            self._stream.sendall(orjson.dumps({"id": number, **answer}, option=orjson.OPT_APPEND_NEWLINE))


def _has_ended(folder: Path) -> bool:
    try:
        with (folder / "events.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 20)))
            last = file.read().splitlines()[-1]
        return bool(orjson.loads(last)["type"] == "run_finished")
    except (OSError, ValueError, KeyError, IndexError):
        return False


def _listen(path: Path, tracker: Tracker, pool: ThreadPoolExecutor) -> None:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(64)
    while True:
        try:
            stream, _ = listener.accept()
        except OSError:  # no more files for now
            time.sleep(0.1)
            continue
        threading.Thread(target=Connection(stream, tracker, pool).serve, daemon=True).start()


def main() -> None:
    """Entry point. The tracking URI comes by the environment, since a database's may hold a password."""
    parser = argparse.ArgumentParser(prog="python -m kernel_gateway.tracking.process")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--fd", type=int, help="a connected socket; the tracker ends with it")
    place.add_argument("--socket", type=Path, help="where to listen")
    parser.add_argument("--runs", type=Path, help="folder of runs' folders, to take up those that were not sent whole")
    parser.add_argument("--timeout", type=int, default=10, help="seconds for one answer of MLflow")
    arguments = parser.parse_args()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which ends this
    uri = os.environ["MLFLOW_TRACKING_URI"]
    connect: Future[MlflowClient] = Future()
    tracker = Tracker(uri, connect)
    pool = ThreadPoolExecutor(THREADS)

    def work() -> None:
        if arguments.fd is not None:
            stream = socket.socket(fileno=arguments.fd)
            Connection(stream, tracker, pool).serve()
        else:
            _listen(arguments.socket, tracker, pool)
        os._exit(0)

    threading.Thread(target=work, daemon=True).start()
    try:
        connect.set_result(set_up(uri, arguments.timeout))
    except Exception as error:  # noqa: BLE001 — told to whoever asks
        connect.set_exception(error)
    if arguments.runs is not None:
        tracker.resume(arguments.runs)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
    sys.exit(0)
