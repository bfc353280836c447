"""Kernels that are kept warm: idle pairs of a runner and its kernel, ready for the next run."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets as random
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from ..errors import GatewayError, UsageError
from ..kernels import forkserver
from ..kernels.environments.spec import check_name, read_spec
from ..kernels.specs import Kernelspecs
from ..settings import PREFIX, Settings
from .fork_servers import ForkServer
from .layout import DataFolder
from .notes import find_runner
from .runners import RunnerProcess, Runners

log = logging.getLogger("kernel_gateway.agents")

REFILL_SECONDS = 0.15
"""How long after a run has taken a kernel the next one is begun, so that it does not get into that run's way."""

DEMAND_SECONDS = 10.0
"""Runs of this long ago count as demand."""

SURPLUS_SECONDS = 60.0
"""How long a kernel over the number asked for stays without demand."""

LONGEST_PAUSE = 300.0

END_SECONDS = 1.0
"""How long a runner may take to be gone that has closed all it had open."""

_TARGET = re.compile(r"(?P<kernel>[^=@]+)(@(?P<env>[^=]+))?=(?P<count>\d+)")


@dataclass(frozen=True)
class Target:
    """What is kept warm: a kernelspec, in the environment of a file if one is named, and how many."""

    kernel: str
    env: str
    count: int


def parse_warm(text: str) -> list[Target]:
    """The setting ``warm``: ``python3=2,ir=1,python3@requirements.txt=1``. Raises `UsageError`."""
    targets = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = _TARGET.fullmatch(part)
        if match is None:
            raise UsageError(
                f"--warm: {part!r} must be KERNELSPEC=NUMBER or KERNELSPEC@ENVIRONMENT_FILE=NUMBER, e.g. python3=2.",
                field="warm",
            )
        env = str(Path(match["env"]).absolute()) if match["env"] else ""
        targets.append(Target(match["kernel"].strip(), env, int(match["count"])))
    return targets


def check_warm(settings: Settings) -> None:
    """Raise `UsageError` for a setting ``warm`` or ``preload`` that can't work on this machine."""
    specs = Kernelspecs()
    for target in parse_warm(settings.warm):
        specs.resolve(target.kernel)
        if target.env and not Path(target.env).is_file():
            raise UsageError(f"--warm: there is no file {target.env}.", field="warm")
        if target.env:
            check_name(target.env)
    for name in filter(None, map(str.strip, settings.preload.split(","))):
        if not all(part.isidentifier() for part in name.split(".")):
            raise UsageError(f"--preload: {name!r} is no name of a Python module.", field="preload")


@dataclass
class _Pair:
    """A runner with its kernel, idle or still starting. ``said``: what came by its status pipe, ``silent``: no more."""

    runner: RunnerProcess
    place: str
    born: float
    ready: bool = False
    said: bytes = b""
    silent: bool = False


@dataclass
class _Shelf:
    """The pairs of one target. ``digest`` is that of its environment file, '' without one; ``files``: it and all that
    it refers to, as of ``stamp``.
    """

    target: Target
    digest: str = ""
    stamp: tuple[tuple[int, int], ...] = ()
    files: tuple[Path, ...] = ()
    pairs: list[_Pair] = field(default_factory=list)
    taken: deque[float] = field(default_factory=deque)
    pause: float = 1.0
    not_before: float = 0.0
    problem: str = ""

    def wanted(self, now: float, slots: int) -> int:
        """How many there should be: the number asked for, more as long as runs come faster, never more than slots."""
        while self.taken and now - self.taken[0] > DEMAND_SECONDS:
            self.taken.popleft()
        return max(self.target.count, min(len(self.taken), slots)) if self.target.count else 0


class Pool:
    """Warm pairs and the fork servers that they come from. The dispatcher's loop calls `step`."""

    def __init__(self, settings: Settings, data: DataFolder, runners: Runners) -> None:
        self._settings = settings
        self._data = data
        self._runners = runners
        self._specs = Kernelspecs()
        self._shelves = [self._shelf(target) for target in parse_warm(settings.warm)]
        self._servers = self._start_servers()
        self.sweep()

    def _shelf(self, target: Target) -> _Shelf:
        with contextlib.suppress(UsageError):  # removed meanwhile: no reason for the dispatcher not to start
            target = replace(target, kernel=self._specs.resolve(target.kernel).name)
        return _Shelf(target)

    def _start_servers(self) -> dict[str, ForkServer]:
        """A fork server for each interpreter that has something to import beforehand."""
        servers: dict[str, ForkServer] = {}
        if not self._settings.preload:
            return servers
        environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environ["CUDA_VISIBLE_DEVICES"] = ""  # no module may take a GPU, or read which there are, before a run has some
        names = ["python3", *(shelf.target.kernel for shelf in self._shelves if not shelf.target.env)]
        for name in dict.fromkeys(names):
            with contextlib.suppress(UsageError):
                spec = self._specs.resolve(name)
                argv = spec.spec.argv
                if spec.python is None or argv[1:3] != forkserver.COMMAND or argv[0] in servers:
                    continue
                command = [argv[0], forkserver.__file__]
                path = self._data.fork_socket(hashlib.sha256(argv[0].encode()).hexdigest()[:8])
                own = {**environ, **spec.quirks.environment}
                servers[argv[0]] = ForkServer(spec.name, command, [self._settings.preload], path, own)
        return servers

    @property
    def fork_servers(self) -> dict[str, str]:
        """Interpreter → socket of the fork servers that are ready."""
        return {python: str(server.path) for python, server in self._servers.items() if server.ready}

    @property
    def fds(self) -> list[int]:
        """What to wait for before `step` is worth a call."""
        servers = [self._runners.server, *self._servers.values()]
        return [
            *(fd for server in servers for fd in server.fds),
            *(pair.runner.status for shelf in self._shelves for pair in shelf.pairs),
        ]

    def pause(self) -> float:
        """Seconds until `step` has something to do by itself."""
        waiting = [shelf.not_before for shelf in self._shelves if shelf.not_before > time.monotonic()]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else 60.0

    # -- keeping -------------------------------------------------------------------------------------

    def step(self) -> None:
        """Hear what pairs and servers say, replace what is broken, and start what is missing, one at a time."""
        for server in (self._runners.server, *self._servers.values()):
            server.poll()
        now = time.monotonic()
        for shelf in self._shelves:
            for pair in list(shelf.pairs):
                self._hear(shelf, pair, now)
            self._stock(shelf, now)

    def _hear(self, shelf: _Shelf, pair: _Pair, now: float) -> None:
        ended = False
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(pair.runner.status, 4096):
                pair.said += chunk
            ended = True
        if not pair.ready and pair.said.startswith(b"ready\n"):
            pair.ready = True
            shelf.pause, shelf.problem = 1.0, ""
        if not ended:
            return
        shelf.pairs.remove(pair)
        pair.silent = True
        self._discard(pair)
        failed = re.search(rb"^failed (.*)$", pair.said, re.MULTILINE)
        shelf.problem = failed[1].decode(errors="replace") if failed else "its runner ended"
        log.warning("a warm kernel %s is lost: %s", shelf.target.kernel, shelf.problem)
        shelf.not_before = now + shelf.pause
        shelf.pause = min(shelf.pause * 2, LONGEST_PAUSE)

    def _follow_file(self, shelf: _Shelf) -> None:
        """Throw away what was made by an environment file that has changed since. Raises OSError, `GatewayError`."""
        if not shelf.target.env:
            return
        stamp = _stamp(shelf.files or (Path(shelf.target.env),))
        if stamp == shelf.stamp:
            return
        # Also those that it includes, and a lock: runs bring theirs along.
        shelf.files = (Path(shelf.target.env), *read_spec(Path(shelf.target.env)).files)
        shelf.stamp = _stamp(shelf.files)
        shelf.digest = hashlib.sha256(Path(shelf.target.env).read_bytes()).hexdigest()
        for pair in shelf.pairs:
            self._discard(pair)
        shelf.pairs.clear()

    def _stock(self, shelf: _Shelf, now: float) -> None:
        wanted = shelf.wanted(now, self._settings.slots)
        if len(shelf.pairs) > wanted:
            oldest = next((pair for pair in shelf.pairs if pair.ready and now - pair.born > SURPLUS_SECONDS), None)
            if oldest is not None:
                shelf.pairs.remove(oldest)
                self._discard(oldest)
        starting = any(not pair.ready for pair in shelf.pairs)
        if now < shelf.not_before:
            return
        try:
            self._follow_file(shelf)
            if len(shelf.pairs) < wanted and not starting and self._may_start(shelf):
                shelf.pairs.append(self._start(shelf.target))
        except (OSError, GatewayError) as error:
            shelf.problem, shelf.not_before = str(error), now + shelf.pause
            shelf.pause = min(shelf.pause * 2, LONGEST_PAUSE)
            log.error("kernel %s can't be kept warm: %s", shelf.target.kernel, error)

    def _may_start(self, shelf: _Shelf) -> bool:
        """Whether there is memory for one more, and nothing that it comes from is still getting ready itself."""
        server = self._servers.get(self._specs.resolve(shelf.target.kernel).spec.argv[0])
        if server is not None and not shelf.target.env and server.starting:
            return False
        return available_memory() >= self._settings.warm_memory_mb << 20

    def _start(self, target: Target) -> _Pair:
        place = random.token_hex(6)
        servers = orjson.dumps(self.fork_servers).decode()
        arguments = ["warm", str(self._data.root), place, target.kernel, target.env, servers]
        return _Pair(self._runners.start(arguments, self._data.root / "run" / "warm.log"), place, time.monotonic())

    # -- taking --------------------------------------------------------------------------------------

    def take(self, kernel: str | None, folder: Path) -> RunnerProcess | None:
        """A runner with a kernel that is ready for the run of this kernel and folder, if there is one."""
        now = time.monotonic()
        shelf = self._find(kernel, folder)
        if shelf is None:
            return None
        shelf.taken.append(now)
        shelf.not_before = max(shelf.not_before, now + REFILL_SECONDS)
        for pair in [pair for pair in shelf.pairs if pair.ready]:
            shelf.pairs.remove(pair)
            if not pair.runner.ended:
                return pair.runner
            self._discard(pair)
        return None

    def _find(self, kernel: str | None, folder: Path) -> _Shelf | None:
        shelves = [shelf for shelf in self._shelves if shelf.target.kernel == kernel]
        if not shelves:
            return None
        digest = ""
        if any(shelf.digest for shelf in shelves):
            with contextlib.suppress(OSError, ValueError):
                digest = (orjson.loads((folder / "request.json").read_bytes()).get("env") or {}).get("sha256") or ""
        fitting = (shelf for shelf in shelves if shelf.digest == digest and bool(shelf.target.env) == bool(digest))
        return next(fitting, None)

    def state(self) -> list[dict[str, Any]]:
        """What `GET /agents` shows of the pool."""
        now = time.monotonic()
        return [
            {
                "kernel": shelf.target.kernel,
                "env": Path(shelf.target.env).name or None,
                "idle": sum(pair.ready for pair in shelf.pairs),
                "starting": sum(not pair.ready for pair in shelf.pairs),
                "target": shelf.wanted(now, self._settings.slots),
                "problem": shelf.problem,
            }
            for shelf in self._shelves
        ]

    # -- ending --------------------------------------------------------------------------------------

    def _discard(self, pair: _Pair) -> None:
        """End a pair that no run will have. Its runner ends when its stdin does, and its kernel with it."""
        pair.runner.hand(b"")
        # A runner that closed its status pipe is about to be gone; another removes its place itself.
        if pair.runner.ends_within(END_SECONDS if pair.silent else 0.0):
            shutil.rmtree(self._data.warm / pair.place, ignore_errors=True)
        pair.runner.close()

    def sweep(self) -> None:
        """Remove what killed runners left of their places."""
        ours = {pair.place for shelf in self._shelves for pair in shelf.pairs}  # one may not have left its note yet
        for place in self._data.warm.iterdir() if self._data.warm.is_dir() else ():
            if place.name not in ours and find_runner(place) is None:
                shutil.rmtree(place, ignore_errors=True)

    def close(self) -> None:
        """End all that is idle; runs that took a kernel go on."""
        for shelf in self._shelves:
            for pair in shelf.pairs:
                self._discard(pair)
            shelf.pairs.clear()
        for server in self._servers.values():
            server.close()


def _stamp(files: Iterable[Path]) -> tuple[tuple[int, int], ...]:
    """What changes with files; one that is gone counts as changed. Raises OSError if the first of them is."""
    first, *others = files
    found = [os.stat(first)]
    for file in others:
        with contextlib.suppress(OSError):
            found.append(os.stat(file))
    return tuple((each.st_mtime_ns, each.st_size) for each in found)


def available_memory() -> int:
    """Bytes that new processes may take without swapping; plenty where that can't be told."""
    try:
        lines: Iterable[str] = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return sys.maxsize
    found = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return int(found.split()[1]) << 10 if found else sys.maxsize
