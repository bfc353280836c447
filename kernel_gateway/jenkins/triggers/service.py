"""Checks again and again, for a gateway service: a process of its own, which its supervisor starts anew when it ends.

Each check is a process too: a library that hangs or eats memory ends with it, and the service has nothing of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

CHECK_SECONDS = 1800.0
"""How long one check may take before it is killed."""


def run(command: list[str], interval: float, check_seconds: float = CHECK_SECONDS) -> None:
    """Run a check's command every `interval` seconds, at once for the first time, until SIGTERM. One at a time."""
    child: subprocess.Popen[str] | None = None

    def stop(number: int, frame: FrameType | None) -> None:
        if child is not None and child.poll() is None:
            child.kill()  # what it was about to do stands in its state
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor, which ends this
    while True:
        begun = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            output, _ = child.communicate(timeout=check_seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            output, _ = child.communicate()
            say(f"a check of the triggers took more than {check_seconds:g} s and was ended")
        for sentence in told(output):
            say(sentence)
        if child.returncode not in (0, 3):
            say(f"the check of the triggers ended with {child.returncode}")
        time.sleep(max(0.0, interval - (time.monotonic() - begun)))


def told(output: str) -> list[str]:
    """What of a check's JSON lines belongs in the service's log: what was done; most checks do nothing."""
    sentences = []
    for line in output.splitlines():
        try:
            outcome = json.loads(line)
            if outcome["started"] or outcome["resumed"]:
                why = outcome["resumed"] or outcome["reason"]
                sentences.append(f"trigger {outcome['trigger']}: {outcome['verdict']} ({why})")
        except (ValueError, KeyError, TypeError):
            continue  # cut when its writer was ended
    return sentences


def say(sentence: str) -> None:
    """A line in the service's log."""
    print(f"kernel-gateway: {sentence}", file=sys.stderr, flush=True)


def command_of(file: Path, state: Path) -> list[str]:
    """The command of one check."""
    return [
        sys.executable,
        "-P",
        "-m",
        "kernel_gateway",
        "triggers",
        "check",
        str(file),
        "--state",
        str(state),
        "--json",
    ]


def main() -> None:
    """``python -m kernel_gateway.jenkins.triggers.service FILE STATE SECONDS``."""
    file, state, seconds = sys.argv[1:]
    run(command_of(Path(file), Path(state)), float(seconds))


if __name__ == "__main__":
    main()
