"""MLflow beside the service: which one its runs go to, the tracker, and a server where users have none of their own."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from .. import tracking
from ..agents.layout import DataFolder
from ..errors import UsageError
from ..settings import Settings
from ..tracking.client import tracker_command
from ..tracking.server import server_command, server_environ
from ..tracking.uris import LOCAL, OFF, tracking_uri
from .processes import Child, GuardedChild

ANSWER_SECONDS = 10.0
"""Seconds that MLflow has for one answer; the tracker alone waits for it."""


@dataclass
class Server(GuardedChild):
    """The MLflow server. ``port``: where it listens."""

    port: int = 0

    def await_answer(self, deadline: float, stopping: Callable[[], bool]) -> None:
        """Wait until it listens: the first run's cells would not find it."""
        while time.monotonic() < deadline and not stopping():
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            self.ensure()
            time.sleep(0.1)


def settle(settings: Settings, data: DataFolder) -> tuple[Settings, list[Child]]:
    """The settings with the URI that runs are sent to, empty for none, and the processes that this takes.

    Without a setting, runs go to a server of the service's own if there is MLflow in its environment, and nowhere if
    there is none. Raises `UsageError` for what can't work.
    """
    wish = settings.mlflow
    if wish == OFF or (not wish and not tracking.server_is_installed()):
        return replace(settings, mlflow=""), []
    if not tracking.is_installed():
        raise UsageError(f"--mlflow needs MLflow's client: {tracking.INSTALL_HINT}", field="mlflow")
    children: list[Child] = []
    if wish in ("", LOCAL):
        if not tracking.server_is_installed():
            raise UsageError(
                f"--mlflow {LOCAL} needs an MLflow server in this environment: "
                'pip install "kernel-gateway[mlflow-server]"',
                field="mlflow",
            )
        folder = data.root / "mlflow"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            port = _port(data)
        except OSError as error:
            raise UsageError(
                f"--mlflow {LOCAL}: {folder} can't be used: {error.strerror}. Make it writable, or name an MLflow.",
                field="mlflow",
            ) from error
        uri = f"http://127.0.0.1:{port}"
        command = server_command(folder, port)
        children.append(Server("MLflow server", command, server_environ(os.environ), port=port))
    else:
        uri = tracking_uri(wish, os.environ)
    environ = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    command = tracker_command(data.tracker_socket, data.runs, ANSWER_SECONDS)
    children.append(GuardedChild("tracker", command, environ))
    return replace(settings, mlflow=uri), children


def _port(data: DataFolder) -> int:
    """A free port, the one of last time if it is free: links to runs lead there. Raises OSError and `UsageError`."""
    note = data.root / "mlflow" / "port"
    try:
        earlier = int(note.read_text())
    except (OSError, ValueError):
        earlier = 0
    for port in dict.fromkeys((earlier, 0)):
        with socket.socket() as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                attempt.bind(("127.0.0.1", port))
            except (OSError, OverflowError):  # taken, or no port at all
                continue
            found: int = attempt.getsockname()[1]
            note.write_text(str(found))
            return found
    raise UsageError("No port is free for the MLflow server.", field="mlflow")
