"""An MLflow server of one's own on loopback: how it is started. Whoever starts it owns the process and its end.

Kernels in a sandbox can't see the data folder, so that they need a server where others open the database themselves.
Without the ``mlflow`` package (only ``mlflow-skinny``) it has the whole REST API, but no pages.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path


def server_command(folder: Path, port: int, *, host: str = "127.0.0.1", python: str = sys.executable) -> list[str]:
    """The command line of a server that keeps all it has below `folder`, which must exist.

    `python`: an interpreter that has MLflow, if it is not this one's environment. The server is one parent and one
    child process: start it in a session of its own and end the group.
    """
    folder = folder.absolute()
    return [
        *(python, "-P", "-m", "mlflow", "server"),
        *("--host", host, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
        # Kernels send artifacts by way of the server, as they share no folder with it.
        "--serve-artifacts",
    ]


def server_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server. Without its job queue it takes half the processes and memory."""
    kept = {name: value for name, value in environ.items() if not name.startswith(("MLFLOW_", "_MLFLOW_"))}
    return {**kept, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
