"""Secrets between submission and start: in one process' memory, never on a disk.

The supervisor of the service holds the vault, so that secrets outlive web workers and the dispatcher. A
restart of the whole service loses them; runs that were still queued with secrets then end with that reason.
Spoken over a Unix socket that only the service's user can open, with `multiprocessing.connection`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any

import orjson

from ..errors import UnreachableError

_ANSWER_SECONDS = 5.0
_LONGEST = 1 << 26

_PAUSE_SECONDS = 0.1


class Vault:
    """Holds secrets by run id. ``serve`` runs in a thread of the supervisor until `close`."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._secrets: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        # The folder is private to the service's user; who can open the socket may use it.
        self._listener = Listener(str(path), family="AF_UNIX", backlog=64)
        self._thread = threading.Thread(target=self._serve, name="vault", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                if self._closed.wait(_PAUSE_SECONDS):
                    return
                continue  # a client that was gone already, or no descriptor left for the moment
            # Whatever a client sends or leaves out is its own trouble.
            with connection, contextlib.suppress(OSError, EOFError, ValueError, TypeError):
                if connection.poll(_ANSWER_SECONDS):
                    answer = self._answer(orjson.loads(connection.recv_bytes(_LONGEST)))
                    connection.send_bytes(orjson.dumps(answer))

    def _answer(self, request: Any) -> dict[str, str] | None:
        verb, run, secrets = request
        with self._lock:
            if verb == "put":
                self._secrets[run] = dict(secrets)
                return {}
            if verb == "get":
                return self._secrets.get(run)
            self._secrets.pop(run, None)
            return {}

    def close(self) -> None:
        """Stop answering and forget everything."""
        self._closed.set()
        with contextlib.suppress(FileNotFoundError):  # somebody has removed the data folder
            self._listener.close()
        self._secrets.clear()


class VaultClient:
    """The vault as web workers and the dispatcher see it. Raises `UnreachableError` when it does not answer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, run: str, secrets: Mapping[str, str]) -> None:
        """Keep a run's secrets."""
        self._ask("put", run, dict(secrets))

    def get(self, run: str) -> dict[str, str] | None:
        """A run's secrets; None if the vault has none, e.g. after a restart of the service."""
        return self._ask("get", run, None)

    def forget(self, run: str) -> None:
        """Drop a run's secrets; it has ended."""
        self._ask("forget", run, None)

    def _ask(self, verb: str, run: str, secrets: dict[str, str] | None) -> dict[str, str] | None:
        try:
            with Client(str(self._path), family="AF_UNIX") as connection:
                connection.send_bytes(orjson.dumps((verb, run, secrets)))
                if not connection.poll(_ANSWER_SECONDS):
                    raise UnreachableError("The service's vault for secrets does not answer.")
                answer: dict[str, str] | None = orjson.loads(connection.recv_bytes(_LONGEST))
                return answer
        except (OSError, EOFError) as error:
            raise UnreachableError("The service's vault for secrets can't be reached.") from error
