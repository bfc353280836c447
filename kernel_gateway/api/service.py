"""What the views share: the stores, the data folder, and how to reach the rest of the service. One for each process."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path
from typing import Any

import orjson
from flask import current_app

from ..agents.layout import DataFolder
from ..agents.vault import VaultClient
from ..errors import NotFoundError
from ..kernels.specs import Kernelspecs
from ..settings import Settings
from ..store.blobs import BlobStore
from ..store.database import open_database
from ..store.logins import LoginStore
from ..store.runs import RunRecord, RunStore
from ..store.tokens import TokenStore
from .consoles import Consoles
from .live import LiveRuns

KEY = "kernel_gateway"
"""Name in ``app.extensions``."""

KERNELSPEC_SECONDS = 10.0
"""How long a look at the installed kernelspecs is trusted; a new kernel is known after that at the latest."""

ALIVE_SECONDS = 10.0
"""How old the dispatcher's word may be before it counts as gone."""

EVENTS = "events.jsonl"
REQUEST = "request.json"


class Gateway:
    """The service as a web worker sees it. Stateless but for caches: any worker may answer any request."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = DataFolder.of(settings)
        self.engine = open_database(settings.database or self.data.database)
        self.runs = RunStore(self.engine)
        self.tokens = TokenStore(self.engine)
        self.logins = LoginStore(self.engine)
        self.blobs = BlobStore(self.data.blobs)
        self.vault = VaultClient(self.data.vault_socket)
        self.consoles = Consoles(settings)
        self.live = LiveRuns(settings, self.blob)
        self._specs = Kernelspecs()
        self._specs_read = float("-inf")
        self._lock = threading.Lock()

    def kernelspecs(self) -> Kernelspecs:
        """The installed kernelspecs, not older than `KERNELSPEC_SECONDS`."""
        with self._lock:
            if time.monotonic() - self._specs_read > KERNELSPEC_SECONDS:
                specs = Kernelspecs()
                specs.all()  # read here, under the lock: it fills itself at first use
                self._specs, self._specs_read = specs, time.monotonic()
            return self._specs

    def run(self, id: str) -> RunRecord:
        """A run. Raises `NotFoundError`."""
        self.data.run(id)  # refuses what is no id
        try:
            return self.runs.get(id)
        except KeyError:
            raise NotFoundError(f"There is no run {id}. It may have been removed because of its age.") from None

    def folder(self, id: str) -> Path:
        """The folder of a run that exists. Raises `NotFoundError`."""
        self.run(id)
        return self.data.run(id)

    def log(self, id: str) -> Path:
        """The event log of a run that exists. Raises `NotFoundError`."""
        log = self.folder(id) / EVENTS
        if not log.is_file():
            raise NotFoundError(f"The event log of run {id} has been removed.")
        return log

    def blob(self, digest: str) -> bytes:
        """A blob's content, for projections. Raises KeyError."""
        return self.blobs.get(digest)

    def agent(self) -> dict[str, Any] | None:
        """What the dispatcher last said of its agent, with ``age`` in seconds; None before its first word."""
        try:
            state = orjson.loads(self.data.agent_state.read_bytes())
            state["age"] = max(0.0, time.time() - self.data.agent_state.stat().st_mtime)
        except (OSError, ValueError, TypeError):
            return None
        return state if isinstance(state, dict) else None

    def close(self) -> None:
        """Give back files and connections to the database."""
        self.consoles.close()
        self.live.close()
        self.engine.dispose()

    def wake(self) -> None:
        """Tell the dispatcher that there is something to do. It looks by itself too, if a little later."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto(b"w", str(self.data.wake_socket))


def gateway() -> Gateway:
    """The service of the application that answers the current request."""
    found: Gateway = current_app.extensions[KEY]
    return found
