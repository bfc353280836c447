"""The body of a submit: a source and its options as the gateway takes them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from ..errors import UsageError
from ..settings import RunOptions
from .uploads import Blob
from .workspace import WorkspaceFile, find_files, hash_file, hash_files

INLINE_SOURCE = 256 * 1024
"""Longest source, in bytes, that stands in the request itself; a longer one is sent as a blob, once."""

FIELDS_OF_BLOBS = frozenset({"source", "workspace", "env"})
"""Fields of the body that name blobs."""

FOREIGN_ENV = "environment-file"
"""Folder in the workspace for an ``--env`` file that lies outside of it."""


class RunFields(TypedDict, total=False):
    """What `GatewayClient.submit` takes besides source and workspace; the command line's options of the same name.

    ``retries``: how often a run whose runner was lost is started again. ``priority``: higher goes first, -100 to 100.
    ``env``: an environment file, e.g. a requirements.txt, as `--env` takes it. ``require``: gates.
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
    cpus: float | None
    memory: int | str | None
    max_memory: int | str | None
    max_gpu_hours: float | None
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
    content: bytes, path: str | None, files: Sequence[WorkspaceFile], env: EnvFiles | None, fields: RunFields
) -> Request:
    """``path`` and the files' names are relative to the workspace's root; ``path`` is None for a snippet."""
    if env is not None:
        there = {file.path for file in files}
        files = [*files, *(file for file in env.others if file.path not in there)]
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
        body["env"] = {"path": env.file.path + env.extras, "sha256": env.file.sha256}
        blobs.append(Blob.of(env.file))
    return Request(body, blobs)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


class EnvFiles(NamedTuple):
    """An environment file, ``[EXTRA]`` behind its name if there is one, and the files that it refers to."""

    file: WorkspaceFile
    extras: str
    others: Sequence[WorkspaceFile]


def env_entry(env: str | os.PathLike[str] | None, root: Path) -> EnvFiles | None:
    """The ``--env`` file and what it refers to, with their names in the workspace.

    Raises `UsageError` when it can't be read or refers to a file outside of the workspace, which is never sent, and
    `EnvironmentBuildError` when it makes no sense.
    """
    if env is None:
        return None
    from ..kernels.environments.spec import check_name, read_spec, split_extras

    check_name(os.fspath(env))
    plain, _ = split_extras(os.fspath(env))
    path = Path(os.path.abspath(plain))
    inside = path.resolve().is_relative_to(root)
    top = root if inside else path.parent.resolve()
    prefix = "" if inside else f"{FOREIGN_ENV}/"
    real = path.resolve() if inside else top / path.name
    entry = hash_file(prefix + real.relative_to(top).as_posix(), path)
    if entry is None:
        raise UsageError(f"There is no environment file {env}.", field="env")
    spec = read_spec(real.with_name(real.name + os.fspath(env)[len(plain) :]))
    others = {}
    for file in spec.files:
        if not file.resolve().is_relative_to(top):
            raise UsageError(
                f"--env: {plain} refers to {file}, which is not below {top} and so not sent. Copy it there, or run the "
                "command in a folder above both and name the files by --input.",
                field="env",
            )
        for each in _files_of(file):
            others[prefix + Path(os.path.abspath(each)).relative_to(top).as_posix()] = each
    others.pop(entry.path, None)
    return EnvFiles(entry, os.fspath(env)[len(plain) :], hash_files(others))


def _files_of(path: Path) -> Iterator[Path]:
    """A file, or those of a local package: what git tracks there, else all that looks like its source."""
    if not path.is_dir():
        yield path
        return
    from ..kernels.environments.requirement_files import sources

    tracked = find_files(path.resolve()).files
    yield from tracked.values() or (file for file in sources(path) if not file.is_symlink())


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
        cpus=options.cpus,
        memory=options.memory,
        max_memory=options.max_memory,
        max_gpu_hours=options.max_gpu_hours,
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
