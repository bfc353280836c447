"""One run on another machine, from its order to its last event at home: the same runner as on the gateway's own.

It works in a data folder of this machine's, laid out as the service's: the request and the log's first event are put
there, the files of the workspace are fetched to its blobs, and a guard starts the runner, which finds all that.
Whoever calls this may be killed at any time: the guard then ends the runner and its kernels.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ...errors import GatewayError, StorageError, UnreachableError
from ...kernels import guard
from ...kernels.descriptors import readable
from ...settings import PREFIX
from ...store.blobs import BlobStore
from ..layout import DataFolder
from ..notes import was_begun
from .home import Home, NotWantedError
from .uploader import Uploader

log = logging.getLogger("kernel_gateway.agents")

BEGIN_PATIENCE = 60.0
"""Seconds for which the gateway is tried before a run that has not begun is given back."""

KEPT_SECONDS = 3600.0
"""How long a cached file is kept at least that a run has used."""

RUNNER = (sys.executable, "-m", "kernel_gateway.agents.runner_process", "run")

LOOK_SECONDS = 0.1
LOCK = ".lock-of-node"


@dataclass(frozen=True)
class Order:
    """Where to fetch a run from. ``gateway`` is the id of the gateway, whose runs of this machine share a cache."""

    run: str
    url: str
    password: str
    gateway: str


class RemoteRun:
    """One run. `execute` is called once; `cancel` and `kill` from any other thread."""

    def __init__(self, order: Order, gpus: Iterable[str], root: Path | None = None) -> None:
        """`gpus` as CUDA_VISIBLE_DEVICES names them. Raises `StorageError` for a folder that is not ours alone."""
        self._order = order
        self._gpus = list(gpus)
        self._data = DataFolder(root or node_folder(order.gateway))
        self._home = Home(order.url, order.run, order.password)
        self._blobs = BlobStore(self._data.blobs)
        self._folder = self._data.run(order.run)
        self._cancelled = threading.Event()
        self._killed = threading.Event()

    def cancel(self) -> None:
        """Have the run ended as cancelled, as soon as its runner heeds that."""
        self._cancelled.set()

    def kill(self) -> None:
        """End the runner at once."""
        self._killed.set()

    def execute(self) -> str:
        """Execute the run and send all of it home. Returns why there is no more of it, empty if all is there."""
        lock = -1
        try:
            packet = self._begin()
            lock = self._make_folder(packet)
            self._fetch(packet["request"])
            return self._work(packet)
        except (GatewayError, OSError) as error:
            return str(error)
        finally:
            if lock >= 0:  # else the folder, if there is one, belongs to another actor of the run
                shutil.rmtree(self._folder, ignore_errors=True)
                os.close(lock)
            self._home.close()

    def _begin(self) -> dict[str, Any]:
        """Raises `UnreachableError` when the gateway does not answer for `BEGIN_PATIENCE` seconds."""
        deadline = time.monotonic() + BEGIN_PATIENCE
        while True:
            try:
                return self._home.begin()
            except UnreachableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _make_folder(self, packet: Mapping[str, Any]) -> int:
        """The run's folder as a runner expects it. Returns the lock that tells that it is in use."""
        self._data.make()
        sweep(self._data)
        while True:
            self._folder.mkdir(mode=0o700)
            lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (self._folder / LOCK).exists():
                break
            os.close(lock)  # another run tidied up between the two calls, and took the folder for a dead one's
        (self._folder / "request.json").write_bytes(orjson.dumps(packet["request"]))
        (self._folder / "events.jsonl").write_bytes(packet["log"].encode())
        return lock

    def _fetch(self, request: Mapping[str, Any]) -> None:
        """Have all files of the run in the cache. What the gateway has lost the runner will miss, and say so."""
        for entry in (*(request.get("workspace") or ()), request.get("env") or {}, request["source"]):
            digest = entry.get("sha256")
            if not digest:
                continue
            path = self._blobs.path(digest)
            try:
                os.utime(path)
            except FileNotFoundError:
                self._fetch_one(digest, path)

    def _fetch_one(self, digest: str, path: Path) -> None:
        deadline = time.monotonic() + BEGIN_PATIENCE
        while True:
            try:
                return self._home.fetch(digest, path)
            except NotWantedError as error:
                log.warning("%s", error)
                return None
            except UnreachableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    # -- the runner ----------------------------------------------------------------------------------

    def _work(self, packet: Mapping[str, Any]) -> str:
        uploader = Uploader(self._home, self._folder / "events.jsonl", self._blobs.path, self._folder / "artifacts")
        uploader.start()
        how = self._run(packet, uploader)
        whole = uploader.finish(float(packet["settings"]["report_seconds"]))
        limit_cache(self._data.blobs, int(float(packet["settings"]["ray_cache_gb"]) * 2**30))
        return how if whole else how or uploader.problem

    def _run(self, packet: Mapping[str, Any], uploader: Uploader) -> str:
        """Run the runner to its end; why it ended badly, or nothing."""
        handed = {"run": self._order.run, "secrets": packet["secrets"], "gpus": self._gpus}
        process, control, status = self._start(environ_of(os.environ, packet["settings"]))
        told = False
        try:
            assert process.stdin is not None
            with contextlib.suppress(OSError), process.stdin:
                process.stdin.write(orjson.dumps({**handed, "fork_servers": {}, "home": False}))
            while not readable([status], LOOK_SECONDS) or not (said := _read_end(status)):
                if self._killed.is_set() or uploader.done.is_set():
                    break  # nobody would hear of what it does from here on
                if self._cancelled.is_set() and not told and was_begun(self._folder):
                    os.write(control, b"t")
                    told = True
            else:
                return describe_end(said, self._folder / "runner.log")
            return uploader.problem or "The runner was killed."
        finally:
            os.close(control)  # the guard kills what is left
            process.wait()
            os.close(status)

    def _start(self, environ: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int, int]:
        theirs_control, control = os.pipe()
        status, theirs_status = os.pipe()
        with (self._folder / "runner.log").open("ab") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", guard.__file__, str(theirs_control), str(theirs_status), ""),
                    *(*RUNNER, str(self._data.root), self._order.run, "1"),
                ],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=dict(environ),
                cwd="/",
                pass_fds=(theirs_control, theirs_status),
                start_new_session=True,
            )
        os.close(theirs_control)
        os.close(theirs_status)
        return process, control, status


def _read_end(status: int) -> str:
    """What a guard says of its command's end; empty while it has said something else."""
    said = os.read(status, 4096).decode(errors="replace")
    if not said:
        return f"exit {-signal.SIGKILL}"  # the guard was killed, and the runner with it
    return next((line for line in said.splitlines() if line.startswith(("exit", "failed"))), "")


def describe_end(said: str, output: Path) -> str:
    """Why a runner ended before its run did, by its guard's words; empty after a normal end. Shows its last words."""
    from ..runner_process import describe_loss

    word, _, rest = said.partition(" ")
    if word == "failed":
        return f"The runner can't be started: {rest}."
    code = int(rest.split()[0])
    if code >= 0 and _has_ended(output.parent / "events.jsonl"):
        return ""
    with contextlib.suppress(OSError):
        sys.stderr.write(output.read_text(errors="replace")[-4000:])
    return describe_loss(code)


def _has_ended(events: Path) -> bool:
    from ...events import EventType
    from ...store.eventlog import last_event

    with contextlib.suppress(OSError, ValueError):
        last = last_event(events)
        return last is not None and last["type"] == EventType.RUN_FINISHED
    return False


def environ_of(environ: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, str]:
    """A runner's environment: this machine's, without what its engine's own worker needs, with the gateway's limits.

    A setting that this machine has itself counts more.
    """
    own = {name: value for name, value in environ.items() if not name.startswith("RAY_") or name == "RAY_ADDRESS"}
    return {**{PREFIX + name.upper(): str(value) for name, value in settings.items()}, **own}


# -- the machine's folder ------------------------------------------------------------------------------


def node_folder(gateway: str) -> Path:
    """This user's folder for the runs of a gateway; KERNEL_GATEWAY_DATA moves it. Raises `StorageError`."""
    named = os.environ.get(PREFIX + "DATA")
    folder = Path(named or f"{tempfile.gettempdir()}/kernel-gateway-nodes-{os.getuid()}").absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat() if named else folder.lstat()  # a link that we were given is as good as a folder
    except OSError as error:
        raise StorageError(f"{folder} can't be made on this node: {error.strerror}.") from error
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise StorageError(f"{folder} on this node belongs to somebody else, or others may write to it.")
    return folder / gateway


def sweep(data: DataFolder) -> None:
    """Remove the folders of runs whose worker was killed."""
    for folder in data.runs.iterdir():
        with contextlib.suppress(OSError):
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def limit_cache(blobs: Path, limit: int) -> None:
    """Remove the files that were used longest ago until the cache has `limit` bytes, or only recent ones are left."""
    found = []
    for file in blobs.glob("??/*"):
        with contextlib.suppress(OSError):
            status = file.stat()
            found.append((status.st_mtime, status.st_size, file))
    total = sum(size for _, size, _ in found)
    for used, size, file in sorted(found):
        if total <= limit or time.time() - used < KEPT_SECONDS:
            return
        file.unlink(missing_ok=True)
        total -= size
