"""The dispatcher: takes queued runs in their turn, has them started, and sees every one to its end.

A process of its own below the supervisor: ``python -m kernel_gateway.agents.dispatcher``. It may be killed at
any time: runners go on, and its successor adopts them. It is the only one that ends runs in the database.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from ..errors import EXIT_CODES, GatewayError, StorageError, UnreachableError
from ..events import EventType, Status
from ..kernels.descriptors import allow_many, readable
from ..kernels.guard import die_with_parent
from ..settings import Settings
from ..store.blobs import BlobStore
from ..store.database import open_database
from ..store.eventlog import last_event, read_events
from ..store.folder import RunFolder
from ..store.records import RetentionPolicy
from ..store.retention import collect_garbage
from ..store.runs import RunRecord, RunStore
from .agent import RunnerHandle, make_agent
from .layout import DataFolder, Place
from .logs import log_to_stderr
from .notes import was_begun
from .retries import try_again
from .runner_process import describe_loss
from .vault import VaultClient

log = logging.getLogger("kernel_gateway.dispatcher")

POLL_SECONDS = 0.5
"""How often the database is looked at without being told to."""

STARTING_POLL_SECONDS = 0.05
"""The same while a runner is starting, whose log tells when it runs."""

STATE_SECONDS = 2.0
"""How often, at least, the agent's state is written; its age tells readers whether the dispatcher lives."""

START_TRIES = 3
"""How often a run is started again whose runner ended before it had begun."""

KILL_SECONDS = 25.0
"""After a cancel, how long a runner may take before it is killed; it needs less than 20 s by itself."""


@dataclass
class _Watched:
    """A run at work. ``noted``: what the database was told of who runs it."""

    record: RunRecord
    runner: RunnerHandle
    noted: list[str] | None = None
    running: bool = False
    cancelled: float = 0.0


@dataclass
class _Unended:
    """A run without a runner whose end could not be written, e.g. on a full disk. Tried again after a while."""

    record: RunRecord
    status: Status
    reason: str
    again: float


class Dispatcher:
    """Runs `step` until `stop`. Nothing a database or a run does raises out of `step`."""

    def __init__(self, settings: Settings, data: DataFolder, store: RunStore) -> None:
        self._settings = settings
        self._data = data
        self._store = store
        self._agent = make_agent(settings, data)
        self._vault = VaultClient(data.vault_socket)
        self._blobs = BlobStore(data.blobs)
        self._watched: dict[str, _Watched] = {}
        self._unended: dict[str, _Unended] = {}
        self._tries: dict[str, int] = {}
        self._stopping = False
        self._draining = False
        self._state_written = 0.0
        self._state: dict[str, Any] = {}
        self._adopted = False
        self._wake = self._open_wake_socket(data.wake_socket)
        self._signalled, waker = os.pipe()
        os.set_blocking(waker, False)
        os.set_blocking(self._signalled, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)

    def _open_wake_socket(self, path: Path) -> socket.socket:
        path.unlink(missing_ok=True)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        opened.bind(str(path))
        opened.setblocking(False)
        return opened

    def stop(self) -> None:
        """Take no more runs; `run` returns. Runners go on."""
        self._stopping = True

    def drain(self) -> None:
        """Take no more runs, but go on looking after those that run."""
        self._draining = True

    def run(self) -> None:
        """Dispatch until stopped."""
        while not self._stopping:
            try:
                self.step()
            except DBAPIError as error:
                log.warning("the database does not answer: %s", error.orig)
                time.sleep(POLL_SECONDS)
            except OSError as error:
                log.error("runs can't be looked after now: %s", error)
                time.sleep(POLL_SECONDS)
            self._write_state()
            self._wait()
        self._agent.close()

    def keep_house(self) -> None:
        """Remove what retention allows, again and again, beside the dispatching. For a thread; never returns."""
        policy = RetentionPolicy.from_settings(self._settings)
        while True:
            time.sleep(self._settings.retention_interval)
            try:
                collect_garbage(self._store, self._data.root, policy, log)
            except (DBAPIError, OSError) as error:
                log.warning("old runs could not be removed: %s", error)

    def step(self) -> None:
        """One round: ended runners, cancels, then new runs as long as they fit. Raises DBAPIError."""
        if not self._adopted:  # before the agent does anything: it may end what nobody has adopted
            self._adopt()
            self._adopted = True
        self._agent.step()
        for watched in list(self._watched.values()):
            self._look_after(watched)
        for unended in list(self._unended.values()):
            if time.monotonic() > unended.again:
                self._end_without_runner(unended.record, unended.status, unended.reason)
        for record in self._store.cancel_requested():
            self._cancel(record)
        while not (self._stopping or self._draining) and self._agent.has_slot:
            record_or_none = self._store.take_next(self._agent.fits)
            if record_or_none is None:
                break
            self._start(record_or_none)

    # -- starting ------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Take over the runs that an earlier dispatcher left, whether their runners live or not."""
        for record in self._store.active():
            if record.id in self._watched:
                continue  # of an earlier try, in which the database went away
            runner = self._agent.adopt(record)
            if runner is None:
                self._conclude(record, None)
                continue
            self._watched[record.id] = _Watched(record, runner)
            log.info("run %s goes on with its runner", record.id)

    def _put_back(self, record: RunRecord, begun: bool) -> bool:
        """Queue a run again that was taken but of which no runner ever began; false if one may have.

        A runner that dies right away each time must not be started for ever.
        """
        tries = self._tries[record.id] = self._tries.get(record.id, 0) + 1
        if tries > START_TRIES or begun or not self._store.put_back(record.id):
            del self._tries[record.id]
            return False
        log.info("run %s is queued again: it was not begun", record.id)
        return True

    def _start(self, record: RunRecord) -> None:
        try:
            secrets = self._secrets(record)
            runner = self._agent.start(record, secrets)
        except (OSError, GatewayError) as error:
            self._end_without_runner(record, Status.FAILED, f"The run could not be started: {error}")
            return
        self._watched[record.id] = _Watched(record, runner)
        log.info("run %s was given a runner", record.id)

    def _secrets(self, record: RunRecord) -> dict[str, str]:
        try:
            first = next(read_events(self._data.run(record.id) / "events.jsonl"))
            names = first["provenance"].get("secrets")
        except (StopIteration, ValueError, KeyError) as error:
            raise StorageError("Its event log has no beginning any more.") from error
        if not names:
            return {}
        secrets = self._vault.get(record.id)
        if secrets is None:
            raise UnreachableError("Its secrets were lost when the service restarted. Submit it again.")
        return secrets

    # -- looking after -------------------------------------------------------------------------------

    def _look_after(self, watched: _Watched) -> None:
        record, runner = watched.record, watched.runner
        if runner.ended:
            self._conclude(record, runner)
            runner.close()
            del self._watched[record.id]
            self._agent.release(record.id)
            return
        if watched.noted != runner.gpus:
            pid, ticks = runner.process or (0, 0)
            self._store.set_runner(record.id, pid, ticks, runner.gpus)
            watched.noted = list(runner.gpus)
        if not watched.running and self._has_started(record):
            self._store.set_running(record.id)
            watched.running = True
        runner.look_after()
        if watched.cancelled and time.monotonic() - watched.cancelled > KILL_SECONDS:
            runner.kill()

    def _has_started(self, record: RunRecord) -> bool:
        with contextlib.suppress(OSError):
            for event in read_events(self._data.run(record.id) / "events.jsonl", after=1):
                return bool(event)
        return False

    def _cancel(self, record: RunRecord) -> None:
        watched = self._watched.get(record.id)
        if watched is not None:
            watched.record = record  # which tells that a cancel was asked for
            if not watched.cancelled and watched.runner.cancel():
                watched.cancelled = time.monotonic()
        elif record.status == Status.QUEUED and record.id not in self._unended:
            self._end_without_runner(record, Status.CANCELLED, "Cancelled before it started.")

    # -- ending --------------------------------------------------------------------------------------

    def _conclude(self, record: RunRecord, runner: RunnerHandle | None) -> None:
        """Enter in the database how a run ended whose runner is gone, or queue it again if it was never begun."""
        last = self._last_event(record)
        if last is not None and last["type"] == EventType.RUN_FINISHED:
            self._enter_end(record, last)
        elif not self._put_back(record, runner.begun if runner is not None else was_begun(self._data.run(record.id))):
            loss = runner.loss() if runner is not None else describe_loss(None)
            if record.cancel_requested:
                self._end_without_runner(record, Status.CANCELLED, f"Cancelled; its runner did not end it. {loss}")
            else:
                self._end_without_runner(record, Status.LOST, loss)

    def _last_event(self, record: RunRecord) -> dict[str, Any] | None:
        with contextlib.suppress(OSError, ValueError):
            return last_event(self._data.run(record.id) / "events.jsonl")
        return None

    def _end_without_runner(self, record: RunRecord, status: Status, reason: str) -> None:
        """Enter how a run ended, by its log; a log without an end gets `status` and `reason`, and results."""
        last = self._last_event(record)
        if last is None or last["type"] != EventType.RUN_FINISHED:
            try:
                last = self._write_end(record, status, reason)
            except (GatewayError, OSError) as error:
                if self._data.run(record.id).exists():
                    if record.id not in self._unended:
                        log.error("run %s can't be ended now: %s", record.id, error)
                    again = time.monotonic() + STATE_SECONDS
                    self._unended[record.id] = _Unended(record, status, reason, again)
                    return
                last = {"status": status.value, "reason": reason, "exit_code": EXIT_CODES[status], "seconds": 0.0}
        self._enter_end(record, last)

    def _enter_end(self, record: RunRecord, last: dict[str, Any]) -> None:
        """Enter how a run ended, by the last event of its log."""
        self._store.finish(record.id, last["status"], last["reason"], last["exit_code"], last["seconds"])
        self._tries.pop(record.id, None)
        self._unended.pop(record.id, None)
        self._forget_secrets(record)
        log.info("run %s ended: %s", record.id, f"{last['status']} ({last['reason']})".removesuffix(" ()"))

    def _write_end(self, record: RunRecord, status: Status, reason: str) -> dict[str, Any]:
        """Write the last event of a run that no runner will write, and its results. Raises OSError, GatewayError."""
        if not self._data.run(record.id).exists():
            raise StorageError("Its folder is gone.")
        folder = RunFolder(self._data.run(record.id), self._settings, shared=self._blobs)
        try:
            retry = None
            if status == Status.LOST and not record.cancel_requested and record.attempt <= record.retries:
                retry = try_again(self._store, self._data, record, self._vault)
            end = {"status": status.value, "reason": reason, "seconds": 0.0, "exit_code": EXIT_CODES[status]}
            folder.log.append(EventType.RUN_FINISHED, **end, retried_as=retry, versions={}, packages={})
            folder.log.close()
            try:
                folder.write_results()
                Place(folder.path).clear()
                self._agent.sweep()
            except (GatewayError, OSError) as error:
                log.error("the results of run %s can't be written: %s", record.id, error)
        finally:
            folder.release()
        return end

    def _forget_secrets(self, record: RunRecord) -> None:
        with contextlib.suppress(UnreachableError):
            self._vault.forget(record.id)

    # -- waiting -------------------------------------------------------------------------------------

    def _wait(self) -> None:
        runners = [watched.runner for watched in self._watched.values()]
        fds = [self._wake.fileno(), self._signalled, *self._agent.fds, *chain(*(runner.fds for runner in runners))]
        starting = any(not watched.running and not watched.runner.tells for watched in self._watched.values())
        readable(fds, min(STARTING_POLL_SECONDS if starting else POLL_SECONDS, self._agent.pause()))
        with contextlib.suppress(BlockingIOError):
            while self._wake.recv(64):  # one look answers all who asked for it
                pass
        with contextlib.suppress(BlockingIOError):
            os.read(self._signalled, 64)

    def _write_state(self) -> None:
        state = {"name": socket.gethostname(), "pid": os.getpid(), **self._agent.state()}
        # What changed is told at once: a service that drains waits for what it reads there.
        recent = time.monotonic() - self._state_written < STATE_SECONDS
        if recent and state == self._state and not self._stopping:
            return
        self._state_written, self._state = time.monotonic(), state
        part = self._data.agent_state.with_suffix(".part")
        try:
            part.write_text(json.dumps(state))
            part.replace(self._data.agent_state)
        except OSError as error:
            log.error("the agent's state can't be written: %s", error)
            # Its age is what tells that the dispatcher lives, and that takes no space.
            with contextlib.suppress(OSError):
                os.utime(self._data.agent_state)


def main() -> int:
    """Entry point of the process; settings come by the environment."""
    # Runners go on without the service; the rest of it must not, or the next one finds its place taken.
    die_with_parent(signal.SIGTERM)
    allow_many()
    log_to_stderr()
    settings = Settings.from_environ(os.environ)
    data = DataFolder.of(settings)
    dispatcher = Dispatcher(settings, data, RunStore(open_database(settings.database or data.database)))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stop())
    signal.signal(signal.SIGUSR1, lambda *_: dispatcher.drain())
    threading.Thread(target=dispatcher.keep_house, name="retention", daemon=True).start()
    dispatcher.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
