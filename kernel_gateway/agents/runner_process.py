"""One run in a process of its own: ``python -m kernel_gateway.agents.runner_process DATA RUN``.

`LocalAgent` starts it. It finds the request and the first event in the run's folder, gets secrets and GPUs
by stdin, and leaves the event log and the results; whoever waits for it reads them there. Nothing that
happens to the rest of the service concerns it. SIGTERM cancels the run.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from ..errors import GatewayError, StorageError
from ..kernels import guard
from ..kernels.sandbox import Sandbox
from ..kernels.sandbox import wanted as sandbox_wanted
from ..kernels.specs import Kernelspecs
from ..runner.ending import Cancellation
from ..runner.run import Runner, Workplace
from ..settings import PREFIX, RunOptions, Settings
from ..sources import load_source
from ..sources.program import Program
from ..store.baseline import Baseline
from ..store.blobs import BlobStore
from ..store.eventlog import read_events
from ..store.folder import RunFolder
from .layout import DataFolder
from .local import RUNNER_NOTE, find_runner, leave_note
from .workspace import materialise, safe_path


class ServiceRun:
    """A run of the service, from its folder to its results."""

    def __init__(self, data: DataFolder, run: str, secrets: dict[str, str], gpus: list[str]) -> None:
        self._data = data
        self._id = run
        self._path = data.run(run)
        self._secrets = secrets
        self._gpus = gpus
        self._blobs = BlobStore(data.blobs)
        self._request: dict[str, Any] = orjson.loads((self._path / "request.json").read_bytes())
        self._settings = Settings.from_environ(os.environ)

    def execute(self, cancel: Cancellation) -> int:
        """Run to the end and write the results; returns the exit code."""
        first = next(read_events(self._path / "events.jsonl"))
        folder = RunFolder(self._path, self._settings, shared=self._blobs)
        try:
            work = self._path / "work"
            program, problem = self._program()
            problem = problem or self._make_workspace(work)
            runner = Runner(
                self._options(),
                Workplace(
                    cwd=self._cwd(work),
                    environ=self._environ(),
                    artifacts=folder.artifacts,
                    results=folder.path / "results-of-no-run",
                    agent=platform.node(),
                    sandbox=self._sandbox(work),
                ),
                sink=folder.log,
                blobs=self._blobs,
                cancel=cancel,
                settings=self._settings,
                specs=Kernelspecs(),
            )
            try:
                # With an environment file the kernel runs in an interpreter that is yet to come.
                if problem is None and not self._request.get("env"):
                    runner.prelaunch(self._request.get("kernel") or program.kernel or program.language or "python3")
                outcome = runner.run(program, first["provenance"], self._baseline(), problem, queued=True)
            finally:
                runner.close()
            guard.sweep(0.0)
            folder.log.close()
            folder.write_results()
            shutil.rmtree(work, ignore_errors=True)  # what the run was to keep was copied out of it
        finally:
            folder.release()
        return outcome.exit_code

    def _program(self) -> tuple[Program, GatewayError | None]:
        """The program, read again from the request: in the log's first event secrets are masked."""
        path = self._request["source"].get("path")
        name = self._request["name"]
        try:
            suffix = PurePosixPath(path).suffix if path else ""
            kernel = self._request.get("kernel")
            return load_source(self._source(), name=name, path=path, suffix=suffix, kernel=kernel), None
        except (GatewayError, OSError, KeyError) as error:
            problem = error if isinstance(error, GatewayError) else StorageError(f"The source can't be read: {error}.")
            return Program(name=name, path=path, format="unreadable", digest="", cells=[]), problem

    def _source(self) -> bytes:
        """The source's bytes. Raises KeyError if its blob is gone."""
        source = self._request["source"]
        content: str | None = source.get("content")
        return content.encode() if content is not None else self._blobs.get(source["sha256"])

    def _options(self) -> RunOptions:
        request = self._request
        limit = self._settings.max_run_seconds or None
        timeout = request.get("timeout")
        env = request.get("env")
        return RunOptions(
            name=request["name"],
            kernel=request.get("kernel"),
            parameters=request.get("parameters") or {},
            timeout=min(filter(None, (timeout, limit)), default=None),
            cell_timeout=request.get("cell_timeout"),
            gpus=request.get("gpus") or 0,
            label=request.get("label"),
            env_file=str(self._path / "work" / safe_path(env["path"])) if env else None,
            artifacts=tuple(request.get("artifacts") or ()),
            gates=tuple(request.get("require") or ()),
            secrets=self._secrets,
            allow_errors=bool(request.get("allow_errors")),
        )

    def _make_workspace(self, work: Path) -> GatewayError | None:
        files = list(self._request.get("workspace") or ())
        source = self._request["source"]
        try:
            if self._request.get("env"):
                files.append(self._request["env"])
            materialise(work, files, self._blobs)
            if source.get("path"):
                target = work / safe_path(source["path"])
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    target.write_bytes(self._source())
        except (GatewayError, OSError, KeyError) as error:
            return error if isinstance(error, GatewayError) else StorageError(f"The workspace can't be made: {error}.")
        return None

    def _cwd(self, work: Path) -> Path:
        """The source's folder in the workspace, as when the source is run in place."""
        path = self._request["source"].get("path")
        folder = (work / safe_path(path)).parent if path else work
        return folder if folder.is_dir() else work

    def _environ(self) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environ["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus)
        return {**environ, **self._secrets, PREFIX + "RUN_ID": self._id}

    def _sandbox(self, work: Path) -> Sandbox | None:
        if not sandbox_wanted(self._settings.sandbox):
            return None
        return Sandbox(
            self._data.root, (work,), network=self._settings.sandbox_network, memory=self._settings.max_memory_mb << 20
        )

    def _baseline(self) -> Any:
        baseline = self._request.get("baseline")
        return Baseline.from_dict(baseline).metrics if baseline else None


def main(data: str, run: str) -> int:
    """Entry point of the process."""
    guard.become_subreaper()
    cancel = Cancellation()

    def request(number: int, frame: object) -> None:
        cancel.request(f"Cancelled by {signal.Signals(number).name}.")

    signal.signal(signal.SIGTERM, request)
    signal.signal(signal.SIGINT, request)
    folder = DataFolder(Path(data)).run(run)
    handed = _read_input(folder)
    if handed is None:
        return 0
    # Whoever started it may be gone by now, and another runner in its place only if nothing was handed over.
    leave_note(folder, os.getpid(), "ready")
    return ServiceRun(DataFolder(Path(data)), run, handed["secrets"], handed["gpus"]).execute(cancel)


def _read_input(folder: Path) -> dict[str, Any] | None:
    """What the dispatcher hands over; None if it was killed before it could, and the run is as if never begun."""
    try:
        handed: dict[str, Any] = orjson.loads(sys.stdin.buffer.read())
    except ValueError:
        if find_runner(folder) == os.getpid():
            (folder / RUNNER_NOTE).unlink(missing_ok=True)
        return None
    return handed


def describe_loss(code: int | None) -> str:
    """Why a run is lost, by its runner's exit code; None when it was another process' child."""
    if code is None:
        return "The runner vanished."
    if code < 0:
        return f"The runner was killed by {signal.Signals(-code).name}."
    return f"The runner ended with exit code {code} before the run did."


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
