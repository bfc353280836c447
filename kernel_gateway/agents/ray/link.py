"""The dispatcher's end of a `connector`: started, listened to, and started again when it ends or says nothing."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson

log = logging.getLogger("kernel_gateway.agents")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds from the end of a connector to the next one, growing while none connects."""

SILENCE_SECONDS = 20.0
"""How long a connector may say nothing that is connected; it speaks every 2 seconds."""

CONNECT_SECONDS = 60.0
"""How long it may take to connect."""


class Link:
    """One connection to a cluster, at most. ``problem`` says why there is none; `hear` is called every round."""

    def __init__(self, address: str, gateway: str) -> None:
        self.address = address
        self.connected = False
        self.problem = f"The Ray cluster at {address} has not answered yet."
        self._command = [sys.executable, "-m", "kernel_gateway.agents.ray.connector", ray_address(address), gateway]
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._pause = FIRST_PAUSE
        self._again = 0.0
        self._heard = 0.0

    @property
    def fds(self) -> list[int]:
        """What to wait for before `hear` is worth a call."""
        return [self._process.stdout.fileno()] if self._process is not None and self._process.stdout else []

    def pause(self) -> float:
        """Seconds until `hear` has something to do by itself."""
        return max(0.0, self._again - time.monotonic()) if self._process is None else 1.0

    def hear(self) -> Iterator[dict[str, Any]]:
        """What the connector has said since. ``say`` is ``connected`` when all runs must be attached anew."""
        if self._process is None:
            if time.monotonic() >= self._again:
                self._start()
            return
        ended = self._read()
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._heard = time.monotonic()
            said: dict[str, Any] = orjson.loads(line)
            if said["say"] == "connected":
                self.connected, self.problem, self._pause = True, "", FIRST_PAUSE
                log.info("connected with the Ray cluster at %s", self.address)
            elif said["say"] == "problem":
                self._complain(said["words"])
                continue
            yield said
        silent = time.monotonic() - self._heard
        if not ended and silent > (SILENCE_SECONDS if self.connected else CONNECT_SECONDS):
            self._complain(f"it gave no sign of life for {silent:.0f} seconds")
            self._process.kill()
        if ended:
            self._note_end()

    def _read(self) -> bool:
        """Take in what is there; whether that was the last."""
        assert self._process is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._process.stdout.fileno(), 1 << 16):
                self._rest += chunk
            return True
        return False

    def _complain(self, words: str) -> None:
        problem = f"The Ray cluster at {self.address} can't be used: {words.rstrip('.')}."
        if problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem

    def tell(self, do: str, **fields: Any) -> None:
        """Give a command. One that is lost, since the connector ends, is given again by whoever attaches.

        So is one for a connector that has not connected: it reads nothing yet, and a full pipe would hold us up.
        """
        if self.connected and self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(orjson.dumps({"do": do, **fields}, option=orjson.OPT_APPEND_NEWLINE))
                self._process.stdin.flush()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": os.environ.get("RAY_USAGE_STATS_ENABLED", "0")},
            start_new_session=True,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._rest, self._heard = b"", time.monotonic()

    def _note_end(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        if self.connected:
            self._complain("the connection is lost")
        self.connected = False
        self._again = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        process.kill()
        threading.Thread(target=process.wait, name="reaper", daemon=True).start()

    def close(self) -> None:
        """End the connector; actors go on."""
        if self._process is not None:
            self._note_end()
        self._again = float("inf")


def ray_address(agent: str) -> str:
    """What Ray calls the address of a setting: ``auto`` of ``ray://auto``, for a driver in the cluster itself."""
    return agent.removeprefix("ray://") if agent == "ray://auto" else agent
