"""A run and its MLflow run: what the event log tells goes there, what cells log there themselves comes back.

MLflow takes a second to import and answers when it likes, so nothing here imports it but the tracker, a process of
its own (`process`); runners and web workers talk to that through `client`, and never wait for long.

- `names`, `record`: events become parameters, metrics and tags as MLflow takes them. Pure.
- `mlflow_client`: the one module that calls MLflow. `follower` keeps one MLflow run up to date from a log file.
- `note`: ``mlflow.json`` in a run's folder, which tells how far that got; together with the log it is the spool.
- `process`, `client`: the tracker and how it is talked to. `kernel_hook`, `kernel_setup`: how cells join in.
- `catalogue`: what is looked up there; `lineage`: where a model came from, and who used it; `promotion`: the rollback.
- `uris`, `server`: where MLflow is, and how a server of one's own is started.
"""

from __future__ import annotations

from importlib.util import find_spec

INSTALL_HINT = 'pip install "kernel-gateway[mlflow]"'
"""What a user without MLflow is told to do."""


def is_installed() -> bool:
    """Whether this environment has MLflow's client; answers in microseconds, without importing it."""
    return find_spec("mlflow") is not None


def server_is_installed() -> bool:
    """Whether this environment can run ``mlflow server``: what it needs beyond the client is there."""
    return is_installed() and all(find_spec(name) is not None for name in ("flask_cors", "aiohttp", "uvicorn"))
