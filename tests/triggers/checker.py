"""A check in a process of its own that stops at a point to be killed there: `python -m tests.triggers.checker`.

Arguments: folder, URL of Jenkins, the point at which to stop. It prints the point's name and waits for ever.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from kernel_gateway.jenkins.connection import connect
from kernel_gateway.jenkins.triggers import starting
from kernel_gateway.jenkins.triggers.builds import Builds
from kernel_gateway.jenkins.triggers.check import Surroundings, check
from kernel_gateway.jenkins.triggers.file import read_file
from kernel_gateway.jenkins.triggers.state import State, opened

BEFORE_INTENT, AFTER_INTENT = "before the intent is written", "after the intent is written"
BEFORE_START, AFTER_START = "before the start is written", "after the start is written"
BEFORE_BUILD, AFTER_BUILD = "before Jenkins is asked", "after Jenkins has answered"
POINTS = (BEFORE_INTENT, AFTER_INTENT, BEFORE_BUILD, AFTER_BUILD, BEFORE_START, AFTER_START)


def reach(point: str, wanted: str) -> None:
    """Stop here for ever, if it is the point that was asked for."""
    if point == wanted:
        print(point, flush=True)
        while True:
            signal.pause()


def main() -> None:
    """Check once."""
    folder, url, point = sys.argv[1:]
    starting.SETTLE_SECONDS = 0.1
    remember, start = State.remember, Builds.start

    def stopping_remember(self: State, name: str, memory: Any) -> None:
        intends = memory.intent is not None
        starts = len(memory.starts) > len(self[name].starts)
        if intends:
            reach(BEFORE_INTENT, point)
        if starts:
            reach(BEFORE_START, point)
        remember(self, name, memory)
        if intends:
            reach(AFTER_INTENT, point)
        if starts:
            reach(AFTER_START, point)

    def stopping_start(self: Builds, *arguments: Any) -> str:
        reach(BEFORE_BUILD, point)
        build = start(self, *arguments)
        reach(AFTER_BUILD, point)
        return build

    State.remember = stopping_remember  # type: ignore[method-assign]
    Builds.start = stopping_start  # type: ignore[method-assign, assignment]
    surroundings = Surroundings(os.environ, lambda: Builds(connect(url)), lambda: None, lambda name: None)
    with opened(Path(folder) / "state.json") as state:
        (outcome,) = check(read_file(Path(folder) / "triggers.yaml"), state, surroundings)
    if outcome.failure:
        sys.exit(str(outcome.failure))


if __name__ == "__main__":
    main()
