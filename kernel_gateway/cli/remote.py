"""A run on a gateway that looks like a run on this machine: same output, results and exit codes."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..client import GatewayClient, Patience, Run, find_files, hash_files, workspace_root
from ..client.request import Request, env_entry, fields_of, make_request
from ..client.transport import Stopped
from ..client.uploads import Tell
from ..errors import EXIT_CODES, ConflictError, GatewayError, UnreachableError
from ..events import EventType, Status
from ..runner.ending import Cancellation
from ..settings import RunOptions, Settings
from ..store.folder import load_projections
from .mirror import Mirror
from .progress import Progress, size_text
from .source_run import SourceRun
from .step import Step, idempotency_key

if TYPE_CHECKING:
    from ..events import EventSink
    from ..runner.masking import Masker
    from ..store.baseline import Baseline

CANCEL_SECONDS = 15.0
"""How long a cancelled run is followed to its end; Jenkins kills this command after 20."""

LAST_SECONDS = 3.5
"""What is left of those 20 seconds for a reader of the output who has stopped reading."""

CANCEL_TRY = 3.0
"""Seconds that the gateway has to take the request to cancel, before it is made again."""

SETTLE_SECONDS = 3.0
"""How long a failed run in a build may take to count as ended at the gateway."""

SWITCH_SECONDS = 0.0005
"""How long a thread that computes keeps one from going on to which something came from the gateway."""

MOST_REMARKS = 10


class RemoteRun(SourceRun):
    """One `kernel-gateway run --gateway`."""

    def __init__(
        self,
        content: bytes,
        path: Path | None,
        options: RunOptions,
        settings: Settings,
        output_dir: Path,
        cancel: Cancellation,
        *,
        url: str,
        token: str | None,
        inputs: Sequence[str] = (),
        retries: int = 0,
        step: Step | None = None,
        patience: Patience | None = None,
    ) -> None:
        """``inputs``: globs of the workspace's files, from the current folder on; ``retries``: how often a lost run
        is started again; ``step``: which step of its build this is.
        """
        super().__init__(content, path, options, settings, output_dir, cancel)
        self._inputs = inputs
        self._retries = retries
        self._step = step
        self._patience = patience or Patience()
        self._sending, self._abandoned = threading.Event(), threading.Event()
        self._uploader = GatewayClient(url, token, patience=self._patience, remark=_remark, stop=self._sending)
        self._client = GatewayClient(url, token, patience=self._patience, remark=_remark, stop=self._abandoned)
        self._masker = _masker(options.secrets)
        self._run: Run | None = None
        self._came_from: dict[str, Any] = {}
        self._error: BaseException | None = None
        self._asked: dict[str, int] = {}
        self._may_be_earlier = False
        self._started = time.monotonic()

    def run(self) -> int:
        """Send the source and its files, follow the run to its end, and leave its results."""
        sys.setswitchinterval(SWITCH_SECONDS)
        self._root = workspace_root(self._path, Path.cwd(), self._inputs)
        found = find_files(self._root, self._inputs, cwd=Path.cwd())
        # Code that comes without a file seldom needs any.
        remarks = found.remarks if self._path is not None or found.files else []
        for remark in remarks[:MOST_REMARKS]:
            _remark(remark)
        if len(remarks) > MOST_REMARKS:
            _remark(f"{len(remarks) - MOST_REMARKS} more such remarks are left out.")
        self._files = found.files
        self._baseline = self._named_baseline() or self._previous_results()
        self._mirror = Mirror(self._output_dir, self._settings, self._client, self._masker)
        try:
            self._follow_until_done()
            exit_code = self._conclude()
            since = self._cancelled_for()
            self._mirror.finish(self._cancel, max(1.0, CANCEL_SECONDS + LAST_SECONDS - since))
        finally:
            self._mirror.release()
            self._uploader.close()
            self._client.close()
        return exit_code

    # -- the thread that does the work -----------------------------------------------------------------

    def _work(self, submitted: int) -> None:
        """``submitted``: a pipe, written to when the run is on the gateway, and closed at the end."""
        try:
            self._submit(self._prepare())
            with contextlib.suppress(OSError):  # nobody waits any more
                os.write(submitted, b"s")
            self._follow()
            self._mirror.fetch_rest()
            self._settle()
        except BaseException as error:  # noqa: BLE001 — handed to the thread that waits, whatever it is
            self._error = error
        finally:
            os.close(submitted)

    def _named_baseline(self) -> Baseline | None:
        """The baseline that the user names, if it is a file here; the gateway looks up what is in MLflow."""
        if not self._options.baseline:
            return None
        from .tracker import named_baseline

        return named_baseline(self._options)

    def _prepare(self) -> Request:
        """The request, with everything that it needs on the gateway."""
        source = None
        if self._path is not None:
            folder = Path(os.path.abspath(self._path)).parent.resolve()
            source = (folder / self._path.name).relative_to(self._root).as_posix()
        sizes = sum(path.stat().st_size for path in self._files.values() if path.exists())
        progress = Progress(f"reading {_count(len(self._files), 'file')}", sizes)
        files = hash_files({name: path for name, path in self._files.items() if name != source}, self._watch(progress))
        progress.close()
        env = env_entry(self._options.env_file, self._root)
        fields = fields_of(self._options)
        fields["name"] = _plain_name(self._options.name)
        fields["retries"] = self._retries
        self._came_from = self._origin(self._root)
        fields["git"], fields["build"] = self._came_from["git"], self._came_from["build"]
        fields["baseline"] = self._baseline.to_dict() if self._baseline else None
        request = make_request(self._content, source, files, env, fields)
        self._upload(request)
        return request

    def _watch(self, progress: Progress) -> Tell:
        def tell(count: int) -> None:
            if self._sending.is_set():
                raise Stopped
            progress.tell(count)

        return tell

    def _upload(self, request: Request) -> None:
        progress: Progress | None = None

        def begin(count: int, size: int) -> Tell:
            nonlocal progress
            progress = Progress(f"sending {_count(count, 'file')}", size)
            return progress.tell

        started = time.monotonic()
        count, size = self._uploader.upload(request.blobs, begin=begin)
        if progress is not None:
            progress.close()
        if count:
            took = time.monotonic() - started
            _remark(f"sent {_count(count, 'file')} ({size_text(size)}) of {len(request.blobs)} in {took:.1f} s")

    def _submit(self, request: Request) -> None:
        if self._sending.is_set():
            raise Stopped
        if self._step is not None and (begun := self._step.begun()):
            self._run = self._client.run(begun)
            _remark(f"run {begun}, begun before, at {self._client.url}/runs/{begun}")
            return
        key, may_be_earlier = idempotency_key(os.environ, request, self._step)
        self._may_be_earlier = may_be_earlier
        attempt = 1
        while True:
            try:
                run, is_ours = self._client.post_run(request, key if attempt == 1 else f"{key}-{attempt}")
            except ConflictError as error:
                if not may_be_earlier:
                    raise
                if error.run is None:
                    key, may_be_earlier, attempt = os.urandom(16).hex(), False, 1
                    continue
                # What this step began, when it had other files or another baseline than it has here.
                run, is_ours = self._client.run(error.run), False
            if is_ours or not may_be_earlier:
                break
            run = self._latest(run)
            # A run of this build that has ended is an earlier try, as by Jenkins' `retry`: this is the next one. A step
            # that counts its tries knows better: the run ended while its agent was lost.
            if not run.is_finished or (self._step is not None and self._step.attempt is not None):
                break
            attempt += 1
        if self._step is not None:
            self._step.keep(run.id)
        self._run = run
        what = f"run {run.id}" if is_ours else f"run {run.id}, begun before,"
        _remark(f"{what} at {self._client.url}/runs/{run.id}")

    def _latest(self, run: Run) -> Run:
        """The run itself, or the one that the gateway started in its place after it was lost."""
        while run.retried_as:
            run = self._client.run(run.retried_as)
        return run

    def _follow(self) -> None:
        """Copy the run's events, and those of the run that takes its place when it is lost."""
        while self._run is not None:
            run = self._run
            for batch in self._client.lines(run.id):
                self._mirror.write(run.id, batch)
            finished = self._mirror.finished
            following = finished.get("retried_as") if finished else self._client.run(run.id).retried_as
            if not following:
                return
            reason = finished.get("reason", "") if finished else ""
            _remark(f"run {run.id} was lost: {reason} It is tried again as run {following}.")
            self._mirror.restart(self._cancel)
            self._run = Run(id=following)

    def _settle(self) -> None:
        """Before a failure is told, let the gateway know the run's end: Jenkins' `retry` submits at once again."""
        finished = self._mirror.finished
        if self._may_be_earlier and self._run and finished and finished.get("exit_code") and not self._cancel.count:
            with contextlib.suppress(GatewayError):
                self._client.settled(self._run.id, SETTLE_SECONDS)

    # -- the thread that waits -------------------------------------------------------------------------

    def _follow_until_done(self) -> None:
        """Wait for the work's end. After a signal, have the gateway cancel the run; give up after a while."""
        reader, writer = os.pipe()
        threading.Thread(target=self._work, args=(writer,), name="remote", daemon=True).start()
        self._cancelled_at: float | None = None
        poller = select.poll()
        for fd in (reader, self._cancel.fd):
            poller.register(fd, select.POLLIN)
        try:
            while True:
                ready = poller.poll(200 if self._cancel.count else None)
                if any(fd == reader for fd, _ in ready):
                    if not os.read(reader, 1):
                        return
                    # While the gateway is at work there is time for what would hold up the end.
                    load_projections(self._settings)
                if not self._cancel.count:
                    continue
                self._cancel.acknowledge()
                self._sending.set()
                if self._cancelled_for() > CANCEL_SECONDS:
                    self._abandoned.set()
                    return
                self._ask_to_cancel()
        finally:
            os.close(reader)

    def _cancelled_for(self) -> float:
        """Seconds since the first signal, as far as it was noticed; 0 without one."""
        if self._cancel.count and self._cancelled_at is None:
            self._cancelled_at = time.monotonic()
        return 0.0 if self._cancelled_at is None else time.monotonic() - self._cancelled_at

    def _ask_to_cancel(self) -> None:
        """Once for each signal, at most twice: the second kills what the first only interrupts."""
        run = self._run
        if run is None or self._asked.get(run.id, 0) >= min(self._cancel.count, 2):
            return
        try:
            self._client.cancel(run.id, patience=0.0, timeout=CANCEL_TRY)
        except UnreachableError:
            return
        except GatewayError as error:
            _remark(f"The run can't be cancelled: {error}")
        self._asked[run.id] = self._asked.get(run.id, 0) + 1

    # -- the end ---------------------------------------------------------------------------------------

    def _conclude(self) -> int:
        """The exit code. Where the gateway does not tell the run's end, it is told here, for the results' sake."""
        error = self._error
        finished = self._mirror.finished
        if finished is not None:
            code = finished.get("exit_code")
            code = EXIT_CODES[Status(finished["status"])] if code is None else int(code)
            failure = self._mirror.failure or (error if isinstance(error, GatewayError) else None)
            if failure is not None and code == 0:
                _remark(f"The run succeeded, but its results are not all here: {failure}")
                return failure.exit_code
            return code
        if error is not None and not isinstance(error, GatewayError | Stopped):
            raise error
        if self._cancel.count:
            still = f" The gateway did not say so, however: run {self._run.id} may go on there." if self._run else ""
            return self._end(Status.CANCELLED, self._cancel.reason + still, EXIT_CODES[Status.CANCELLED])
        if self._run is None:
            assert isinstance(error, GatewayError)
            click.echo(f"kernel-gateway: {error}", err=True)
            return self._end(Status.FAILED, str(error), error.exit_code)
        code = error.exit_code if isinstance(error, GatewayError) else UnreachableError.exit_code
        reason = f"{error or 'The log of the run has no end.'} Run {self._run.id} may go on there."
        click.echo(f"kernel-gateway: {reason}", err=True)
        return self._end(Status.LOST, reason, code)

    def _end(self, status: Status, reason: str, exit_code: int) -> int:
        sink: EventSink = _Sink(self._mirror)
        if self._masker is not None:
            from ..runner.masking import MaskingSink

            sink = MaskingSink.around(sink, self._masker)
        if self._mirror.is_empty:
            from ..runner.queued import queued_fields

            program = self._without_cells("unread")
            sink.append(EventType.RUN_QUEUED, **queued_fields(program, self._options, self._provenance()))
        seconds = round(time.monotonic() - self._started, 3)
        sink.append(
            EventType.RUN_FINISHED,
            status=status.value,
            reason=reason,
            seconds=seconds,
            packages={},
            exit_code=exit_code,
        )
        return exit_code

    def _provenance(self) -> dict[str, Any]:
        baseline = self._baseline
        return {
            "run": self._run.id if self._run else "none",
            **(self._came_from or self._origin(self._root)),
            "baseline": baseline.to_dict() if baseline else None,
            "command": "run",
        }


def _masker(secrets: Mapping[str, str]) -> Masker | None:
    if not secrets:
        return None
    from ..runner.masking import Masker

    return Masker(secrets)


class _Sink:
    """The mirror as an event sink."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def append(self, type: EventType, /, **fields: Any) -> None:
        """Add an event."""
        self._mirror.add(type, **fields)

    def flush(self) -> None:
        """Nothing is held back."""


def _remark(sentence: str) -> None:
    try:
        click.echo(f"kernel-gateway: {sentence}", err=True)
    except OSError:
        pass  # nobody reads it


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _plain_name(name: str) -> str:
    """A run's name as a gateway takes it: a file's may be longer or hold line feeds."""
    return "".join(character if character.isprintable() else "_" for character in name)[:200] or "run"
