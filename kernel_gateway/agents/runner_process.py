"""One run in a process of its own: ``python -m kernel_gateway.agents.runner_process run DATA RUN STATUS``.

`LocalAgent` starts it, or has it forked. It finds the request and the first event in the run's folder, gets secrets and
GPUs by stdin, and leaves the event log and the results; whoever waits for it reads them there. Nothing that
happens to the rest of the service concerns it. SIGTERM cancels the run.

``warm DATA PLACE KERNEL ENV SERVERS STATUS`` makes a kernel ready first, in a place of its own, and then waits for
the run, which stdin names. ENV is the kernel's environment file or empty, SERVERS a JSON object of interpreter → socket
of its fork server. STATUS is a descriptor: ``ready``, or ``failed`` and why, is written to it.

``results DATA RUN STATUS`` executes nothing: it computes the results of a run that a runner elsewhere has executed.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import orjson

from ..errors import GatewayError, KernelError, ResourceError, StorageError
from ..kernels import guard
from ..kernels.descriptors import readable
from ..kernels.environments.spec import split_extras
from ..kernels.gpu_locks import GpuLocks, holders
from ..kernels.resources import gpu_environment, thread_environment
from ..kernels.sandbox import Sandbox
from ..kernels.sandbox import wanted as sandbox_wanted
from ..kernels.specs import Kernelspec, Kernelspecs, with_interpreter
from ..runner.ending import Cancellation
from ..runner.entering import RUN_VARIABLE
from ..runner.run import Runner, Workplace
from ..runner.warm import WarmKernel
from ..settings import PREFIX, RunOptions, Settings
from ..sources import load_source
from ..sources.program import Program
from ..store.baseline import Baseline
from ..store.blobs import BlobStore
from ..store.eventlog import read_events
from ..store.folder import RunFolder
from ..store.requests import given_request
from .layout import DataFolder, Place
from .notes import leave_note
from .workspace import materialise, safe_path

if TYPE_CHECKING:
    from ..kernels.environments.build import Environment
    from ..tracking.client import Tracking


LOCK_SECONDS = 10.0
"""How long a run waits for a GPU that the dispatcher found free, but that somebody else has by now."""


def place_environ(place: Place) -> dict[str, str]:
    """What a kernel in a place finds in its environment, whichever run it is for."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**environ, "TMPDIR": str(place.temporary), "CUDA_VISIBLE_DEVICES": ""}


def place_sandbox(place: Place, data: DataFolder, settings: Settings) -> Sandbox | None:
    """The sandbox of a kernel in a place, if there is to be one."""
    if not sandbox_wanted(settings.sandbox):
        return None
    return Sandbox(
        data.root,
        (place.work, place.temporary),
        network=settings.sandbox_network,
        memory=settings.max_memory_mb << 20,
    )


class ServiceRun:
    """A run of the service, from its folder to its results. ``handed`` is what came by stdin."""

    def __init__(self, data: DataFolder, handed: Mapping[str, Any], place: Place, warm: WarmKernel | None) -> None:
        self._data = data
        self._id: str = handed["run"]
        self._path = data.run(self._id)
        self._secrets: dict[str, str] = handed["secrets"]
        self._gpus: list[str] = handed["gpus"]
        self._locks = GpuLocks()
        self._at_home: bool = handed.get("home", True)
        self._fork_servers = _paths(handed["fork_servers"])
        self._place = place
        self._warm = warm
        self._blobs = BlobStore(data.blobs)
        self._request = given_request(orjson.loads((self._path / "request.json").read_bytes()))
        self._settings = Settings.from_environ(os.environ)

    def execute(self, cancel: Cancellation) -> int:
        """Run to the end and write the results; returns the exit code."""
        first = next(read_events(self._path / "events.jsonl"))
        folder = RunFolder(self._path, self._settings, shared=self._blobs)
        tracking = self._tracking(first["provenance"])
        try:
            program, problem = self._program()
            problem = problem or self._make_workspace() or self._lock_gpus(cancel)
            runner = Runner(
                self._options(),
                Workplace(
                    cwd=self._cwd(),
                    environ=self._environ(),
                    artifacts=folder.artifacts,
                    results=folder.path / "results-of-no-run",
                    agent=platform.node(),
                    sandbox=place_sandbox(self._place, self._data, self._settings),
                    fork_servers=self._fork_servers,
                    tracking=tracking,
                    gpus=self._gpus,
                ),
                sink=folder.log,
                blobs=self._blobs,
                cancel=cancel,
                settings=self._settings,
                specs=Kernelspecs(),
                warm=self._warm,
            )
            try:
                # With packages of its own the kernel runs in an interpreter that is yet to come.
                own = program.environment if not self._request.get("kernel") else None
                if problem is None and not self._request.get("env") and own is None:
                    runner.prelaunch(self._request.get("kernel") or program.kernel or program.language or "python3")
                outcome = runner.run(program, first["provenance"], self._baseline(), problem, queued=True)
            finally:
                runner.close()
            tracker = tracking.client.pid if tracking is not None else None
            guard.sweep(0.0, frozenset() if tracker is None else frozenset({tracker}))
            folder.log.close()
            if self._at_home or tracking is not None:  # MLflow gets them from here
                folder.write_results()
            self._place.clear()  # what the run was to keep was copied out of it
        finally:
            folder.release()
            if tracking is not None:
                patience = 0.0 if self._at_home else self._settings.mlflow_send_seconds
                tracking.client.finish(self._id, patience, self._path)
                tracking.client.close()
        return outcome.exit_code

    def _tracking(self, provenance: Mapping[str, Any]) -> Tracking | None:
        """What sends the run to MLflow, if the service has one: the service's tracker, or elsewhere one of its own."""
        from ..tracking import is_installed

        uri = self._settings.mlflow
        if not uri or not (self._at_home or is_installed()):
            return None
        from ..tracking.client import TrackerClient, Tracking, experiment_of

        name = self._request["name"]
        experiment = experiment_of(os.environ, provenance.get("build"), name)
        client = TrackerClient(self._data.tracker_socket) if self._at_home else TrackerClient.start(uri, os.environ)
        return Tracking(client, uri, self._id, self._path, experiment, name, self._settings.mlflow_patience)

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
            cpus=request.get("cpus"),
            memory=request.get("memory"),
            max_memory=request.get("max_memory"),
            max_gpu_hours=request.get("max_gpu_hours"),
            label=request.get("label"),
            env_file=str(self._place.work / safe_path(env["path"])) if env else None,
            artifacts=tuple(request.get("artifacts") or ()),
            gates=tuple(request.get("require") or ()),
            gate_fails=bool(request.get("gate_fails")),
            secrets=self._secrets,
            allow_errors=bool(request.get("allow_errors")),
            baseline=request.get("compare_with"),
            register=request.get("register_model"),
            promote=request.get("promote"),
        )

    def _make_workspace(self) -> GatewayError | None:
        work = self._place.work
        files = list(self._request.get("workspace") or ())
        source = self._request["source"]
        try:
            self._place.make()
            if self._request.get("env"):
                env = self._request["env"]
                files.append({**env, "path": split_extras(env["path"])[0]})
            materialise(work, files, self._blobs)
            if source.get("path"):
                target = work / safe_path(source["path"])
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    target.write_bytes(self._source())
        except (GatewayError, OSError, KeyError) as error:
            return error if isinstance(error, GatewayError) else StorageError(f"The workspace can't be made: {error}.")
        return None

    def _cwd(self) -> Path:
        """The source's folder in the workspace, as when the source is run in place."""
        path = self._request["source"].get("path")
        folder = (self._place.work / safe_path(path)).parent if path else self._place.work
        return folder if folder.is_dir() else self._place.work

    def _environ(self) -> dict[str, str]:
        environ = place_environ(self._place)
        environ |= {**gpu_environment(self._gpus), **thread_environment(self._request.get("cpus"), environ)}
        return {**environ, **self._secrets, RUN_VARIABLE: self._id}

    def _lock_gpus(self, cancel: Cancellation) -> GatewayError | None:
        """Hold the run's GPUs against others of this user, who may have got in between; until this process ends."""
        deadline = time.monotonic() + LOCK_SECONDS
        try:
            while not self._locks.take(len(self._gpus), self._gpus) and self._gpus and not cancel.count:
                if time.monotonic() > deadline:
                    words = ", ".join(holders(self._gpus))
                    return ResourceError(
                        f"The run's GPUs were taken by others: {words}. Submit it again.", field="gpus"
                    )
                time.sleep(0.1)
        except ResourceError as error:
            return error
        return None

    def _baseline(self) -> Any:
        baseline = self._request.get("baseline")
        return Baseline.from_dict(baseline).metrics if baseline else None


class WarmRunner:
    """Keeps a kernel warm in its place until a run comes for it, by `hand_over`, or nobody is left to bring one."""

    def __init__(self, data: DataFolder, place: Place, kernel: str, env: str, servers: Mapping[str, Path]) -> None:
        self._data = data
        self._place = place
        self._kernel = kernel
        self._env = env
        self._servers = servers
        self._environment: Environment | None = None
        self._settings = Settings.from_environ(os.environ)

    def start(self) -> WarmKernel:
        """Make the kernel ready. Raises `GatewayError` or OSError."""
        self._place.make()
        leave_note(self._place.folder, os.getpid())
        spec = self._spec()
        environ, sandbox = place_environ(self._place), place_sandbox(self._place, self._data, self._settings)
        if self._environment is not None:
            environ, sandbox = self._environment.environ(environ), self._environment.within(sandbox)
        warm = WarmKernel(
            spec,
            cwd=self._place.work,
            environ=environ,
            settings=self._settings,
            sandbox=sandbox,
            fork_servers=self._servers,
            wake_fd=0,
        )
        try:
            warm.start()
        except BaseException:
            warm.close()
            raise
        return warm

    def _spec(self) -> Kernelspec:
        spec = Kernelspecs().resolve(self._kernel)
        if not self._env:
            return spec
        from ..kernels.environments.build import Cache, build_environment

        sandbox = place_sandbox(self._place, self._data, self._settings)
        environ = place_environ(self._place)
        self._environment = build_environment(
            Path(self._env), Cache.of(self._settings), print, environ=environ, sandbox=sandbox
        )
        python = self._environment.python
        return spec if python is None else with_interpreter(spec, python)

    @staticmethod
    def wait(warm: WarmKernel) -> bytes:
        """Look after the kernel until stdin says which run it is for. Raises `KernelError` if it breaks."""
        while not readable([0], 0.0):
            warm.idle()
        return sys.stdin.buffer.read()


def main(arguments: list[str]) -> int:
    """Entry point of the process: ``run`` or ``warm`` with what belongs to it."""
    guard.become_subreaper()
    what, root, *rest, status = arguments
    data = DataFolder(Path(root))
    if what == "results":
        from .results import write_results

        return write_results(data, *rest)
    return run(data, *rest) if what == "run" else keep_warm(data, int(status), *rest)


def run(data: DataFolder, run: str) -> int:
    """Run what was asked for."""
    return _execute(data, sys.stdin.buffer.read(), Place(data.run(run)), None)


def keep_warm(data: DataFolder, status: int, place: str, kernel: str, env: str, servers: str) -> int:
    """Make a kernel ready, say so, wait for its run and execute it."""
    # Until it has a run nobody has a reason to signal it but to end it; its guard ends the kernel then.
    runner = WarmRunner(data, data.warm_place(place), kernel, env, _paths(orjson.loads(servers)))
    try:
        warm = runner.start()
        os.write(status, b"ready\n")
        try:
            handed = runner.wait(warm)
        except BaseException:
            warm.close()
            raise
        if handed:
            warm.hand_over()
            return _execute(data, handed, data.warm_place(place), warm)
        warm.close()
    except (GatewayError, OSError) as error:
        words = getattr(error, "stderr", "")
        os.write(status, f"failed {error} {words}".replace("\n", " ").encode() + b"\n")
        return 0 if isinstance(error, KernelError) else 1
    finally:
        shutil.rmtree(data.warm / place, ignore_errors=True)
    return 0


def _paths(servers: Mapping[str, str]) -> dict[str, Path]:
    return {python: Path(path) for python, path in servers.items()}


def _execute(data: DataFolder, content: bytes, place: Place, warm: WarmKernel | None) -> int:
    try:
        handed: dict[str, Any] = orjson.loads(content)
    except ValueError:
        return 0  # the dispatcher was killed before it could hand anything over; the run is as if never begun
    cancel = Cancellation()

    def request(number: int, frame: object) -> None:
        cancel.request(f"Cancelled by {signal.Signals(number).name}.")

    signal.signal(signal.SIGTERM, request)
    signal.signal(signal.SIGINT, request)
    # From here on a cancel is heeded, and nobody may think that the run was never begun.
    leave_note(data.run(handed["run"]), os.getpid(), "ready")
    return ServiceRun(data, handed, place, warm).execute(cancel)


def describe_loss(code: int | None) -> str:
    """Why a run is lost, by its runner's exit code; None when it was another process' child."""
    if code is None:
        return "The runner vanished."
    if code < 0:
        return f"The runner was killed by {signal.Signals(-code).name}."
    return f"The runner ended with exit code {code} before the run did."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
