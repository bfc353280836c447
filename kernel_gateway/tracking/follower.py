"""One run's way to MLflow: reads its event log as it grows, and sends what is new. A thread of the tracker."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..events import Event
from . import names
from .mlflow_client import METRICS_PER_BATCH, Denied, MlflowClient, Refused, Unavailable
from .note import Note
from .readback import Readback
from .record import PREFIX, Point, Record
from .registration import register
from .uris import shown

INTERVAL = 1.0
"""Seconds between two batches."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Seconds until the next try after MLflow did not answer; doubled from the first to the longest."""

POINTS_HELD = 20_000
"""Metrics read from the log ahead of what was sent; the rest waits in the log."""

FILES = ("executed.ipynb", "run.json", "metrics.json", "junit.xml", "console.log")
FOLDERS = ("report", "artifacts")
"""What a run's folder gives to MLflow as artifacts, where it is there."""


@dataclass
class Order:
    """What to track. ``run``: our id; ``folder``: has ``events.jsonl``; ``experiment``, ``name``: as MLflow shows."""

    run: str
    folder: Path
    experiment: str
    name: str

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)


class Follower(threading.Thread):
    """Keeps one MLflow run up to date until its run has ended and all is sent, or `abandon` is called.

    `client` gives the connection, and raises `Unavailable` as long as there is none. ``connected`` is set once the
    MLflow run is there or the first try has failed; ``done`` when there is nothing more to do; ``settled`` then, or
    when a try to send the end has failed.
    """

    def __init__(self, order: Order, uri: str, client: Callable[[], MlflowClient]) -> None:
        super().__init__(name=f"follow {order.run}", daemon=True)
        self.order = order
        self.connected = threading.Event()
        self._files: list[Path] = []
        self.done = threading.Event()
        self.settled = threading.Event()
        self.readback = Readback()
        known = Note.read(order.folder)
        self.note = (
            known if known and known.run == order.run else Note(order.run, shown(uri), order.experiment, order.name)
        )
        self._client = client
        self._record = Record(after=self.note.sent)
        self._wake = threading.Event()
        self._ending = False
        self._abandoned = False
        self._lock = threading.Lock()
        self._remarks: list[str] = []
        self._tagged: dict[str, str] = {}
        self._trouble = False
        self._may_be_there = known is not None  # an earlier tracker may have made its MLflow run

    # -- for other threads ----------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, and nothing more will be sent."""
        return self._ending and self.done.is_set()

    @property
    def run_id(self) -> str | None:
        """The MLflow run, once it is there."""
        return self.note.run_id

    def announce(self, file: Path) -> None:
        """Write the MLflow run's id and its experiment's to a file, for a kernel, once they are known."""
        with self._lock:
            self._files.append(file)
        self._announce()

    def finish(self) -> None:
        """All results of the run are written: send the rest."""
        self._ending = True
        self._wake.set()

    def abandon(self) -> None:
        """Stop trying; the note and the log tell what is missing."""
        self._abandoned = True
        self._wake.set()

    def remarks(self) -> list[str]:
        """What a person should know, each once."""
        with self._lock:
            taken, self._remarks = self._remarks, []
            return taken

    # -- the thread ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Send until all is sent."""
        pause = FIRST_PAUSE
        log = _Log(self.order.folder / "events.jsonl")
        while not self._abandoned:
            ending = self._ending  # asked before the log is read: what stood in it by then is sent
            try:
                if self._step(log, ending):
                    break
                pause, wait = FIRST_PAUSE, INTERVAL
                self._recovered()
            except Refused as error:
                self._give_up(str(error))
                break
            except Unavailable as error:
                self._failed(error)
                if ending:
                    self.settled.set()
                pause, wait = min(2 * pause, LONGEST_PAUSE), pause
            except OSError as error:
                self._give_up(f"The run's folder can't be read or written: {error}")
                break
            except Exception as error:  # noqa: BLE001 — a defect must not leave others waiting for this thread
                self._give_up(f"Internal error: {type(error).__name__}: {error}")
                break
            finally:
                self.connected.set()
            self._wake.wait(wait)
            self._wake.clear()
        self.done.set()
        self.settled.set()

    def _step(self, log: _Log, ending: bool) -> bool:
        """Send what is new; whether all is sent for good, which it can be at the end only."""
        client = self._client()
        while True:
            more = self._read(log)
            self._connect(client)
            self._send(client)
            if not more:
                break
            if self._abandoned:
                return False
        if not ending:
            return False
        self._close(client)
        return True

    def _read(self, log: _Log) -> bool:
        """Take in events; whether there may be more of them already."""
        for event in log.read():
            self._record.feed(event)
            if len(self._record.points) >= POINTS_HELD:
                return True
        if self._record.sent or self._record.returned:
            self.readback.learn(self._record.sent, self._record.returned)
            self._record.sent, self._record.returned = [], []
        self._say(*self._record.remarks)
        self._record.remarks.clear()
        return False

    def _connect(self, client: MlflowClient) -> None:
        if self.note.run_id is not None:
            return
        experiment_id = client.experiment(names.experiment_name(self.order.experiment))
        # The answer to an earlier try may have been lost on its way.
        look = self._trouble or self._may_be_there
        found = client.find_run(experiment_id, self.order.run) if look else None
        tags = {f"{PREFIX}run": self.order.run} | self._record.tags
        run_id = found or client.create_run(experiment_id, self.order.name, tags, self._record.started_at)
        self._tagged = tags if found is None else {}
        self.note.run_id, self.note.experiment_id = run_id, experiment_id
        self.note.write(self.order.folder)
        self._announce()
        self.connected.set()

    def _send(self, client: MlflowClient) -> None:
        run_id, record = self._run_id(), self._record
        while record.points:
            batch = record.points[:METRICS_PER_BATCH]
            self.readback.sent(batch)  # before they can be read back
            client.log_points(run_id, batch)
            del record.points[: len(batch)]
            if self._abandoned:
                return
        if self.note.sent != record.seq:
            self.note.sent = record.seq
            self.note.write(self.order.folder)
        if new := {key: value for key, value in record.tags.items() if self._tagged.get(key) != value}:
            client.log_tags(run_id, new)
            self._tagged |= new

    def _close(self, client: MlflowClient) -> None:
        """The end of the run: parameters, files, the model, the status.

        Parameters come now and not before the first cell, since MLflow lets nobody change one: a cell that logs a
        parameter of the same name with another value would fail.
        """
        run_id, record, folder = self._run_id(), self._record, self.order.folder
        client.log_parameters(run_id, record.parameters)
        if self.note.register:
            try:
                self._say(register(client, self.note, self.order.run).message)
            except Refused as error:
                self._say(f"MLflow refused to register the model: {error}")
            self.note.register = None
        for name in FILES:
            if (folder / name).is_file():
                client.log_file(run_id, folder / name)
        for name in FOLDERS:
            if (folder / name).is_dir() and any((folder / name).iterdir()):
                client.log_folder(run_id, folder / name, name)
        client.end_run(run_id, record.mlflow_status, record.ended_at)
        self.note.complete, self.note.problem = True, ""
        self.note.write(folder)

    def _run_id(self) -> str:
        assert self.note.run_id is not None
        return self.note.run_id

    def _announce(self) -> None:
        if self.note.run_id is None:
            return
        with self._lock:
            files, self._files = self._files, []
        for file in files:
            part = file.with_name(f"{file.name}.part")
            with contextlib.suppress(OSError):  # the kernel is gone
                part.write_text(json.dumps([self.note.run_id, self.note.experiment_id]), encoding="utf-8")
                part.replace(file)

    # -- trouble ---------------------------------------------------------------------------------------

    def _failed(self, error: Unavailable) -> None:
        if not self._trouble:
            what = "can't be used" if isinstance(error, Denied) else "can't be reached"
            self._say(f"MLflow at {self.note.uri} {what}; the run goes on, and what is to be sent is kept. ({error})")
        self._trouble = True
        self._keep(str(error))

    def _recovered(self) -> None:
        if self._trouble:
            self._say(f"MLflow at {self.note.uri} answers again; what was kept has been sent.")
            self._trouble, self.note.problem = False, ""

    def _give_up(self, reason: str) -> None:
        self._say(f"MLflow at {self.note.uri} refused the run, which goes on without it. ({reason})")
        self._keep(reason)

    def _keep(self, reason: str) -> None:
        self.note.problem = reason
        with contextlib.suppress(OSError):
            self.note.write(self.order.folder)

    def _say(self, *remarks: str) -> None:
        with self._lock:
            self._remarks += remarks

    # -- what cells logged -------------------------------------------------------------------------------

    def foreign_points(self, thorough: bool, deadline: float) -> list[Point]:
        """Metrics that the program logged to MLflow itself and that were not returned before; see `Readback.read`."""
        if self.note.run_id is None or self.note.experiment_id is None:
            return []
        return self.readback.read(self._client(), self.note.experiment_id, self.note.run_id, thorough, deadline)


class _Log:
    """The whole lines of a growing file of events. It is open only while it is read: while MLflow is down, hundreds of
    runs may wait in one tracker.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = 0

    def read(self) -> Iterator[Event]:
        """Events that came since; stops for good at any time, and the next call goes on from there."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self._seen)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._seen += len(line)
                try:
                    event: Any = orjson.loads(line)
                except ValueError:
                    continue  # cut when its writer was killed
                yield event
