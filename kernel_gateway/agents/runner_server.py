"""A fork server for runners: ``python -m kernel_gateway.agents.runner_server LISTENER``.

It has imported what a runner needs, so that a runner costs a fork instead of the start of an interpreter. A request's
message is the arguments of `runner_process`, with NUL bytes between them; its descriptors are the runner's stdin, its
log and its status pipe. Besides what `forkserver` says, ``exit PID CODE`` on stdout tells how a runner ended.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import sys
from pkgutil import iter_modules

from setproctitle import setproctitle

from .. import projections
from ..kernels import guard
from ..kernels.forkserver import ForkServer, arrange, tell
from ..sources import load_source
from . import runner_process

LATER = ("asyncio", "html.parser", "jupyter_client.provisioning", "markdown_it", "nbformat", "nh3", "tinycss2")
"""What runners import in the middle of a run, besides the projections."""

NOTEBOOK = (
    b'{"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "source": "1", "outputs": [], '
    b'"execution_count": null}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
)
"""Read once beforehand: the first notebook costs 30 ms more than others, in which nbformat compiles its schema."""


class RunnerServer(ForkServer):
    """Forks runners, and tells how they ended."""

    def on_child_ended(self) -> None:
        """Tell the dispatcher."""
        for pid, code in guard.reap().items():
            tell(f"exit {pid} {code}")


def become_runner(message: bytes, fds: list[int]) -> None:
    """In a forked process: be a runner to its end. Does not return."""
    stdin, log, status = fds
    arrange([stdin, log, log, status])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    arguments = [*message.decode().split("\0"), "3"]
    setproctitle(" ".join([sys.executable, "-m", runner_process.__name__, *arguments]))
    code = 1
    try:
        code = runner_process.main(arguments)
    except BaseException:  # noqa: BLE001 — as the interpreter does at the top
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def main(listener: int) -> int:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    guard.die_with_parent(signal.SIGKILL)  # one that is stopped does not see the end of its lifeline
    for name in (*LATER, *(f"{projections.__name__}.{module.name}" for module in iter_modules(projections.__path__))):
        importlib.import_module(name)
    load_source(NOTEBOOK, name="first", path=None, suffix=".ipynb")
    RunnerServer(socket.socket(fileno=listener), become_runner).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
