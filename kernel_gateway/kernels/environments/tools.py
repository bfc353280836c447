"""The tools that build environments, and how one of them is run: guarded, its output told line by line."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import EnvironmentBuildError
from .. import guard
from ..sandbox import Sandbox
from .cache import POLL_SECONDS, Check, Log

MOST_LINES = 5000
"""Lines of one command's output that are told; of more, only the end counts, if it fails."""

_TAIL_LINES = 100
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+(?=@)")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LONGEST_LINE = 10_000


def find_uv() -> str | None:
    """The uv that came with the gateway, else the one on the path."""
    own = Path(sys.executable).parent / "uv"
    return str(own) if os.access(own, os.X_OK) else shutil.which("uv")


def find_conda() -> str | None:
    """The first of micromamba, mamba and conda on the path."""
    return next((path for name in ("micromamba", "mamba", "conda") if (path := shutil.which(name))), None)


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where commands run: in ``cwd``, with ``environ``, in ``sandbox`` if there is one, with ``cache`` to write to.

    ``log`` gets their output; ``check`` is called every `POLL_SECONDS`, and what it raises kills the command and all
    that it started; ``keep`` is a descriptor that stays open until that is done, whoever is killed.
    """

    name: str
    cwd: Path
    environ: Mapping[str, str]
    cache: Path
    log: Log
    check: Check
    keep: int
    sandbox: Sandbox | None = None

    def call(self, argv: list[str], meaning: Mapping[int, str] | None = None) -> None:
        """Run a command. Raises `EnvironmentBuildError` with its last words if it fails.

        `meaning`: exit code → sentence, where the command's own words would not tell.
        """
        last: deque[str] = deque(maxlen=_TAIL_LINES)
        count = 0

        def tell(line: str) -> None:
            nonlocal count
            line = mask_credentials(_ANSI.sub("", line)).rstrip()[:_LONGEST_LINE]
            if not line:
                return
            last.append(line)
            count += 1
            if count <= MOST_LINES:
                self.log(line)
            elif count == MOST_LINES + 1:
                self.log("… more than that is left out here.")

        command = argv
        if self.sandbox is not None:
            # The memory of one process of a kernel is no measure for a resolver.
            command = replace(self.sandbox, network=True, memory=0).wrap(argv, self.cache, self.cwd)
        code = run_guarded(command, self.environ, self.cwd, tell, self.check, self.keep)
        if code != 0:
            if meaning and code in meaning:
                raise EnvironmentBuildError(meaning[code])
            words = "\n".join(last) or f"{Path(argv[0]).name} ended with exit code {code} and said nothing."
            raise EnvironmentBuildError(f"The environment of {self.name} can't be built:\n{words}")


def mask_credentials(text: str) -> str:
    """A text without the user names and passwords of the URLs in it."""
    return _CREDENTIALS.sub("****", text)


def run_guarded(
    argv: list[str], environ: Mapping[str, str], cwd: Path, tell: Log, check: Check, keep: int | None = None
) -> int:
    """Run a command below a guard, which kills it and all it started when we end or raise.

    `tell` gets each line of its output, `check` is called every `POLL_SECONDS`, `keep` is a descriptor that the guard
    has open as long as anything of it is there. Returns the exit code, negative for a signal. Raises
    `EnvironmentBuildError` if it can't be executed, and what `tell` and `check` raise.
    """
    control, ours = os.pipe()
    status, theirs = os.pipe()
    # The guard removes a kernel's connection folder at its end; here there is none.
    prefix = [sys.executable, "-I", "-S", guard.__file__, str(control), str(theirs), ""]
    try:
        process = subprocess.Popen(
            [*prefix, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            cwd=cwd,
            pass_fds=(control, theirs, *([keep] if keep is not None else [])),
            start_new_session=True,
        )
    except BaseException:
        os.close(ours)
        os.close(status)
        raise
    finally:
        os.close(control)
        os.close(theirs)
    assert process.stdout is not None
    with process, open(status, "rb") as report:
        try:
            _read_lines(process.stdout.fileno(), tell, check)
            words = report.read().decode(errors="replace")  # ends with the guard
        finally:
            os.close(ours)
            process.wait()
    if failed := re.search(r"^failed (.*)$", words, re.MULTILINE):
        raise EnvironmentBuildError(f"{argv[0]} can't be executed: {failed[1]}.")
    ended = re.search(r"^exit (-?\d+)", words, re.MULTILINE)
    return int(ended[1]) if ended else -9


def _read_lines(fd: int, tell: Log, check: Check) -> None:
    rest = b""
    while True:
        check()
        if not select.select([fd], [], [], POLL_SECONDS)[0]:
            continue
        chunk = os.read(fd, 65536)
        *lines, rest = re.split(rb"[\r\n]", rest + chunk)
        for line in lines:
            tell(line.decode(errors="replace"))
        if not chunk:
            tell(rest.decode(errors="replace"))
            return
        if len(rest) > 1 << 20:
            tell(rest.decode(errors="replace"))
            rest = b""
