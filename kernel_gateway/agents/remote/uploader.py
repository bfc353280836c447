"""Sends a run's event log home while it grows, from the file alone: the runner knows nothing of it.

What the gateway has is the beginning of the log, so all there is to know is one number, and the gateway knows it too.
A connection that is cut, a gateway that restarts, a piece that came and whose answer did not: the next piece goes
to where the gateway says that it stands.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from ...errors import GatewayError
from ...events import EventType
from ...store.watching import FileWatch
from .home import Home, NotWantedError

log = logging.getLogger("kernel_gateway.agents")

PIECE = 4 << 20
"""Bytes of events sent at a time, more only for a single event that is longer."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds between two tries, growing in between."""

LOOK_SECONDS = 0.25


class Uploader(threading.Thread):
    """Follows one log. ``refused`` is set when the gateway wants no more of it, ``done`` when nothing more is sent."""

    def __init__(self, home: Home, log: Path, blob: Callable[[str], Path], artifacts: Path) -> None:
        """`blob` tells where the content of a digest lies, `artifacts` is the folder of the run's artifacts."""
        super().__init__(name="uploader", daemon=True)
        self.refused = threading.Event()
        self.done = threading.Event()
        self.problem = ""
        self._home = home
        self._log = log
        self._blob = blob
        self._artifacts = artifacts
        self._offset = log.stat().st_size
        self._sent: set[str] = set()
        self._ended = threading.Event()
        self._give_up = 0.0

    def finish(self, patience: float) -> bool:
        """The log is complete: send the rest, for so many seconds at most. Returns whether the gateway has it all."""
        self._give_up = time.monotonic() + patience
        self._ended.set()
        self.done.wait()
        return not self.refused.is_set() and not self.problem

    def run(self) -> None:
        """Send until the log is complete and sent, or not wanted."""
        watch = FileWatch(self._log)
        try:
            while True:
                ended = self._ended.is_set()  # asked before the file is read
                if piece := self._next():
                    self._send(piece)
                elif ended:
                    return
                else:
                    watch.wait(LOOK_SECONDS)
        except NotWantedError as error:
            self.problem = str(error)
            self.refused.set()
        except (OSError, TimeoutError) as error:
            self.problem = str(error)
        finally:
            watch.close()
            self.done.set()

    def _next(self) -> bytes:
        with self._log.open("rb") as file:
            file.seek(self._offset)
            piece = file.read(PIECE)
            end = piece.rfind(b"\n") + 1
            if not end and len(piece) == PIECE:
                piece += file.readline()
                end = len(piece) if piece.endswith(b"\n") else 0
        return piece[:end]

    def _send(self, piece: bytes) -> None:
        """Raises `NotWantedError`, and TimeoutError when the patience is over."""
        pause = FIRST_PAUSE
        while True:
            try:
                for digest, file in self._contents(piece):
                    self._home.send(digest, file)
                    self._sent.add(digest)
                self._offset = self._home.append(self._offset, piece)
                return
            except NotWantedError:
                raise
            except GatewayError as error:
                self._sent.clear()  # a gateway that was restored from a backup may lack what it had
                if self._ended.is_set() and time.monotonic() > self._give_up:
                    raise TimeoutError(str(error)) from error
                log.warning("events wait to be sent: %s", error)
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, LONGEST_PAUSE)

    def _contents(self, piece: bytes) -> Iterator[tuple[str, Path]]:
        """Digest and file of what the events of a piece name and the gateway may not have yet."""
        if b'"sha256"' not in piece:
            return
        for line in piece.splitlines():
            event: dict[str, Any] = orjson.loads(line)
            files = {blob["sha256"]: self._blob(blob["sha256"]) for blob in (event.get("blobs") or {}).values()}
            if event["type"] == EventType.ARTIFACT:
                files[event["sha256"]] = self._artifacts / event["path"]
            yield from ((digest, file) for digest, file in files.items() if digest not in self._sent)
