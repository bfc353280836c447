"""Talking to the tracker, from a runner or a command. Nothing here waits longer than it is told, or raises for a
tracker that is slow, broken or gone: a run never depends on it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from .note import Note
from .uris import shown

UNKNOWN = "The tracker does not know this run."
GONE = "The process that talks to MLflow has ended."


@dataclass(frozen=True)
class Attachment:
    """The MLflow run of a run of ours. ``uri`` is the tracking URI that kernels use."""

    run_id: str
    experiment_id: str
    experiment: str
    uri: str

    def environ(self) -> dict[str, str]:
        """What makes MLflow's own client, in any language, log to that run."""
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_EXPERIMENT_NAME": self.experiment,
            "MLFLOW_EXPERIMENT_ID": self.experiment_id,
            "MLFLOW_RUN_ID": self.run_id,
        }

    @property
    def place(self) -> str:
        """Where a person finds the run: its page, or its experiment and id where there is no server."""
        if self.uri.startswith("http"):
            return f"{shown(self.uri)}/#/experiments/{self.experiment_id}/runs/{self.run_id}"
        return f"run {self.run_id} of experiment {self.experiment!r} in {shown(self.uri)}"


class TrackerClient:
    """A connection to a tracker. Used from one thread.

    With a path it connects when it is first needed; `start` makes one with a tracker of its own.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._stream: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._buffer = bytearray()
        self._answers: dict[int, dict[str, Any]] = {}

    @classmethod
    def start(cls, uri: str, environ: Mapping[str, str], timeout: float = 10.0) -> Self:
        """Start a tracker that ends when the client is closed or its process dies. Returns at once.

        `timeout`: seconds for one answer of MLflow. Raises OSError when no process can be started.
        """
        client = cls()
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "kernel_gateway.tracking.process", "--fd", str(theirs.fileno())]
        with theirs:
            client._process = subprocess.Popen(
                [*command, "--timeout", str(max(1, round(timeout)))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**environ, "MLFLOW_TRACKING_URI": uri},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # a Ctrl-C is for the command
            )
        ours.setblocking(False)
        client._stream = ours
        return client

    @property
    def pid(self) -> int | None:
        """The process that `start` started."""
        return self._process.pid if self._process is not None else None

    # -- what callers of a service need ------------------------------------------------------------------

    def begin(
        self, run_id: str, run_folder: Path, name: str, timeout: float, experiment: str | None = None
    ) -> Attachment | None:
        """Have a run tracked; its MLflow run, or None if that isn't there within `timeout` seconds.

        The tracker goes on trying in the second case. `experiment` is the run's name if not given.
        """
        number = self.ask("begin", run=run_id, folder=str(run_folder), experiment=experiment or name, name=name)
        return attachment_of(self.answer(number, timeout) or {})

    def finish(self, run_id: str, timeout: float = 0.0, run_folder: Path | None = None) -> bool:
        """All results of a run are written: have the rest sent. Whether that was done within `timeout` seconds.

        With `run_folder` it works also for a tracker that was started anew since `begin`.
        """
        folder = str(run_folder) if run_folder is not None else None
        number = self.ask("finish", run=run_id, seconds=timeout, folder=folder)
        answer = self.answer(number, timeout + 0.5 if timeout else 0.0)
        return bool(answer and answer.get("complete"))

    # -- requests ----------------------------------------------------------------------------------------

    def ask(self, do: str, **fields: Any) -> int:
        """Send a request without waiting; returns its number for `answer`."""
        self._number += 1
        line = orjson.dumps({"id": self._number, "do": do, **fields}, option=orjson.OPT_APPEND_NEWLINE)
        try:
            if self._stream is None:
                self._stream = self._connect()
            self._write(self._stream, line)
        except OSError:
            self._drop()
            self._answers[self._number] = {"error": GONE}
        return self._number

    def answer(self, number: int, timeout: float = 0.0) -> dict[str, Any] | None:
        """The answer to a request, once; None if it isn't there within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while number not in self._answers:
            left = deadline - time.monotonic()
            if not self._read(max(0.0, left)) and left <= 0:
                return None
            if self._stream is None and number not in self._answers:
                return {"error": GONE}
        return self._answers.pop(number)

    def _connect(self) -> socket.socket:
        if self._path is None:
            raise ConnectionError(GONE)
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            stream.settimeout(1.0)
            stream.connect(str(self._path))
        except OSError:
            stream.close()
            raise
        stream.setblocking(False)
        return stream

    def _write(self, stream: socket.socket, line: bytes) -> None:
        deadline = time.monotonic() + 1.0
        while line:
            try:
                line = line[stream.send(line) :]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                select.select([], [stream], [], 0.1)

    def _read(self, timeout: float) -> bool:
        """Take in answers; whether anything came."""
        if self._stream is None:
            return False
        if not select.select([self._stream], [], [], timeout)[0]:
            return False
        try:
            data = self._stream.recv(1 << 20)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._drop()
            return False
        self._buffer += data
        if b"\n" in data:
            *lines, rest = bytes(self._buffer).split(b"\n")
            self._buffer = bytearray(rest)
            for line in lines:
                answer = orjson.loads(line)
                self._answers[answer.pop("id")] = answer
        return True

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._buffer.clear()

    def close(self) -> None:
        """Close the connection, and end a tracker of our own; what it has not sent stays where it is."""
        self._drop()
        if self._process is not None:
            try:
                self._process.wait(0.5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def attachment_of(answer: Mapping[str, Any]) -> Attachment | None:
    """The attachment that an answer carries, if any."""
    found = answer.get("attachment")
    return Attachment(**found) if found else None


def tracker_command(socket_path: Path, runs: Path, timeout: float = 10.0) -> list[str]:
    """The command line of a service's tracker; its environment needs MLFLOW_TRACKING_URI.

    `socket_path`: where it listens (its folder must be the service's own); `runs`: folder of the runs' folders, of
    which those are taken up that were not sent whole.
    """
    options = ["--socket", str(socket_path), "--runs", str(runs), "--timeout", str(max(1, round(timeout)))]
    return [sys.executable, "-P", "-m", "kernel_gateway.tracking.process", *options]


def experiment_of(environ: Mapping[str, str], build: Mapping[str, Any] | None, name: str) -> str:
    """The experiment of a run: what MLFLOW_EXPERIMENT_NAME says, else the Jenkins job, else the run's name."""
    return environ.get("MLFLOW_EXPERIMENT_NAME") or str((build or {}).get("job") or "") or name


@dataclass
class Tracking:
    """What a runner needs to have its run tracked. ``uri`` is the tracking URI that kernels use; ``patience``: seconds
    that a cell which needs MLflow waits for it; ``wait``: have the first cell wait, whether it needs MLflow or not.
    """

    client: TrackerClient
    uri: str
    run: str
    folder: Path
    experiment: str
    name: str
    patience: float = 3.0
    wait: bool = False
    begun: int = 0

    def environ(self) -> dict[str, str]:
        """What kernels are started with, before the MLflow run is there."""
        return {"MLFLOW_TRACKING_URI": self.uri, "MLFLOW_EXPERIMENT_NAME": self.experiment}

    def begin(self) -> None:
        """Have the tracker follow the run, without waiting for its answer; call it when the run's folder is there.

        From here on the folder tells that the run is to go to MLflow, whatever becomes of the tracker.
        """
        known = Note.read(self.folder)
        if known is None or known.run != self.run:
            with contextlib.suppress(OSError):
                Note(self.run, shown(self.uri), self.experiment, self.name).write(self.folder)
        fields = {"folder": str(self.folder), "experiment": self.experiment, "name": self.name}
        self.begun = self.client.ask("begin", run=self.run, **fields)
