"""The body of a submit: a source and its options as the gateway takes them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from ..errors import UsageError
from ..settings import RunOptions
from .uploads import Blob
from .workspace import WorkspaceFile, hash_file

INLINE_SOURCE = 256 * 1024
"""Longest source, in bytes, that stands in the request itself; a longer one is sent as a blob, once."""

FIELDS_OF_BLOBS = frozenset({"source", "workspace", "env"})
"""Fields of the body that name blobs."""

FOREIGN_ENV = "environment-file"
"""Folder in the workspace for an ``--env`` file that lies outside of it."""


class RunFields(TypedDict, total=False):
    """What `GatewayClient.submit` takes besides source and workspace; the command line's options of the same name.

    ``retries``: how often a run whose runner was lost is started again. ``priority``: higher goes first, -100 to 100.
    ``env``: a requirements.txt, pyproject.toml or environment.yml. ``require``: gates.
    ``gate_fails``: a missed gate makes the run failed, not unstable. ``compare_with``: what gates compare with, in the
    gateway's MLflow; ``register_model``, ``promote``: name and alias for the model that the program logs there.
    ``secrets``: name → value.
    """

    name: str
    kernel: str | None
    parameters: Mapping[str, Any]
    timeout: float | None
    cell_timeout: float | None
    gpus: int
    label: str | None
    env: str | os.PathLike[str] | None
    artifacts: Sequence[str]
    require: Sequence[str]
    gate_fails: bool
    compare_with: str | None
    register_model: str | None
    promote: str | None
    secrets: Mapping[str, str]
    allow_errors: bool
    priority: int
    retries: int
    git: Mapping[str, Any] | None
    build: Mapping[str, Any] | None
    baseline: Mapping[str, Any] | None


class Request(NamedTuple):
    """A body, and the blobs that must be on the gateway before it is sent."""

    body: dict[str, Any]
    blobs: Sequence[Blob] = ()


def make_request(
    content: bytes, path: str | None, files: Sequence[WorkspaceFile], env: WorkspaceFile | None, fields: RunFields
) -> Request:
    """``path`` and the files' names are relative to the workspace's root; ``path`` is None for a snippet."""
    blobs = [Blob.of(file) for file in files]
    source: dict[str, Any] = {} if path is None else {"path": path}
    try:
        text = content.decode() if len(content) <= INLINE_SOURCE else None
    except UnicodeDecodeError:
        text = None
    if text is not None:
        source["content"] = text
    else:
        import hashlib

        source["sha256"] = hashlib.sha256(content).hexdigest()
        blobs.append(Blob(source["sha256"], len(content), content))
    body: dict[str, Any] = {
        name: _plain(value)
        for name, value in fields.items()
        if name != "env" and value is not None and value not in ({}, (), [])
    }
    body["source"] = source
    body["workspace"] = [file.to_dict() for file in files if file.path != path]
    if env is not None:
        body["env"] = {"path": env.path, "sha256": env.sha256}
        blobs.append(Blob.of(env))
    return Request(body, blobs)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def env_entry(env: str | os.PathLike[str] | None, root: Path) -> WorkspaceFile | None:
    """The ``--env`` file with its name in the workspace. Raises `UsageError` when it can't be read."""
    if env is None:
        return None
    path = Path(os.path.abspath(env))
    resolved = path.resolve()
    inside = resolved.is_relative_to(root)
    name = resolved.relative_to(root).as_posix() if inside else f"{FOREIGN_ENV}/{path.name}"
    entry = hash_file(name, path)
    if entry is None:
        raise UsageError(f"There is no environment file {env}.", field="env")
    return entry


def in_mlflow(baseline: str | None) -> bool:
    """Whether a baseline is a gateway's to look up, rather than results of this machine."""
    if not baseline:
        return False
    from ..tracking.comparison import is_mlflow

    return is_mlflow(baseline)


def fields_of(options: RunOptions) -> RunFields:
    """The options of the command line as fields of a request."""
    return RunFields(
        name=options.name,
        kernel=options.kernel,
        parameters=options.parameters,
        timeout=options.timeout,
        cell_timeout=options.cell_timeout,
        gpus=options.gpus,
        label=options.label,
        artifacts=options.artifacts,
        require=options.gates,
        gate_fails=options.gate_fails,
        compare_with=options.baseline if in_mlflow(options.baseline) else None,
        register_model=options.register,
        promote=options.promote,
        secrets=options.secrets,
        allow_errors=options.allow_errors,
    )
