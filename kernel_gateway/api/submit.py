"""Taking a run in: everything is checked before anything is kept, and the row, which starts it, comes last."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from ..agents.fleet import check_nodes
from ..agents.retries import new_run_id
from ..agents.workspace import check_workspace, safe_path
from ..errors import GateError, ParameterError, ResourceError, SourceError, StorageError, UnreachableError, UsageError
from ..events import EventType
from ..gates import parse_gate
from ..kernels.environments.spec import check_name
from ..kernels.resources import check_cpus_and_memory
from ..runner.artifacts import check_glob
from ..runner.masking import Masker, MaskingSink
from ..runner.plan import Plan, make_plan
from ..runner.queued import queued_fields
from ..settings import RunOptions
from ..sources import Program, load_source
from ..store.baseline import Baseline
from ..store.eventlog import EventLog
from ..store.requests import kept_request
from ..store.runs import NewRun, RunRecord
from .earlier import with_earlier
from .problems import InvalidRequestError
from .schemas import RunRequest
from .service import EVENTS, REQUEST, Gateway


def submit(
    gateway: Gateway, request: RunRequest, *, token: str, key: str | None, rerun_of: str | None = None
) -> tuple[RunRecord, bool]:
    """Queue a run; the second value is False if `key` named one that is queued already, which is returned then.

    `rerun_of` is the run whose request this is once more; the new one's provenance tells it.

    Raises `InvalidRequestError` with all that is wrong, `ConflictError`, `TooManyError`, `StorageError`, and
    `UnreachableError` when there are secrets and nobody to keep them. Nothing is left behind then.
    """
    digest = _digest(request)
    # Before anything is checked: what a run needed may be gone by the time that its submission is repeated.
    if key is not None and (earlier := gateway.runs.submitted(token, key, digest)) is not None:
        return earlier, False
    options = _options(request)
    plan = _check(gateway, request, options)
    id, folder = _make_folder(gateway)
    created = False
    try:
        compared, history = with_earlier(gateway, request)
        provenance = _provenance(compared, token, rerun_of)
        _write_files(folder, compared, options, plan, {"run": id, **provenance, "history": history})
        if request.secrets:
            gateway.vault.put(id, request.secrets)
        record, created = gateway.runs.submit(
            NewRun(
                id=id,
                name=request.name,
                priority=request.priority,
                gpus=request.gpus,
                cpus=request.cpus or 0.0,
                memory=request.memory or 0,
                label=request.label,
                kernel=plan.default.name,
                token=token,
                build=request.build,
                retries=request.retries,
                request_digest=digest,
                idempotency_key=key,
            ),
            limit=gateway.settings.max_queued,
        )
    finally:
        if not created:
            shutil.rmtree(folder, ignore_errors=True)
            if request.secrets:
                with contextlib.suppress(UnreachableError):
                    gateway.vault.forget(id)
    if created:
        gateway.wake()
    return record, created


def _options(request: RunRequest) -> RunOptions:
    return RunOptions(
        name=request.name,
        kernel=request.kernel,
        parameters=request.parameters,
        timeout=request.timeout,
        cell_timeout=request.cell_timeout,
        gpus=request.gpus,
        cpus=request.cpus,
        memory=request.memory,
        max_memory=request.max_memory,
        max_gpu_hours=request.max_gpu_hours,
        label=request.label,
        env_file=request.env.path if request.env else None,
        artifacts=tuple(request.artifacts),
        gates=tuple(request.require),
        gate_fails=request.gate_fails,
        mlflow=None,
        baseline=request.compare_with,
        register=request.register_model,
        promote=request.promote,
        secrets=request.secrets,
        allow_errors=request.allow_errors,
    )


# -- checks ------------------------------------------------------------------------------------------


class _Findings:
    """Collects what is wrong, so that a client learns all of it at once."""

    def __init__(self) -> None:
        self.problems: list[UsageError] = []

    @contextlib.contextmanager
    def of(self, field: str) -> Iterator[None]:
        """Note the `UsageError` of a check; errors that name no field are about `field`."""
        try:
            yield
        except UsageError as error:
            error.field = error.field or field
            self.problems.append(error)
        except RecursionError:
            self.problems.append(UsageError(f"`{field}` is nested too deeply.", field=field))


def _check(gateway: Gateway, request: RunRequest, options: RunOptions) -> Plan:
    """The run's plan. Raises `InvalidRequestError` with everything that keeps the request from being run."""
    findings = _Findings()
    plan: Plan | None = None
    for index, glob in enumerate(request.artifacts):
        if problem := check_glob(glob):
            findings.problems.append(UsageError(problem, field=f"artifacts.{index}"))
    for index, gate in enumerate(request.require):
        try:
            parse_gate(gate)
        except (GateError, RecursionError) as error:
            findings.problems.append(GateError(str(error), field=f"require.{index}"))
    with findings.of("workspace"):
        check_workspace([file.model_dump() for file in request.workspace])
    _check_blobs(gateway, request, findings)
    with findings.of("baseline"):
        _check_baseline(request.baseline)
    with findings.of("gpus"):
        _check_resources(gateway, request)
    with findings.of("register_model"):
        _check_mlflow(gateway, request)
    with findings.of("source"):
        content = _source(gateway, request)
        path = request.source.path
        if path is not None:
            _check_path(path, "source.path")
        program = load_source(
            content,
            name=request.name,
            path=path,
            suffix=PurePosixPath(path).suffix if path is not None else "",
            kernel=request.kernel,
        )
        with findings.of("parameters"):
            _check_parameters(request)
            plan = _plan(gateway, options, program)
    if findings.problems or plan is None:
        raise InvalidRequestError(findings.problems)
    return plan


def _check_parameters(request: RunRequest) -> None:
    """Parameters are kept on disk with the request, so no secret may stand in them."""
    if request.secrets and Masker(request.secrets).mask_value(request.parameters) != request.parameters:
        raise UsageError(
            "A parameter holds the value of a secret. The program finds it in its environment: pass the name of the "
            "variable instead.",
            field="parameters",
        )


def _plan(gateway: Gateway, options: RunOptions, program: Program) -> Plan | None:
    try:
        return make_plan(program, options, gateway.kernelspecs())
    except ParameterError as error:
        if error.field in options.parameters and error.field != "parameters":
            error.field = f"parameters.{error.field}"
        raise
    except GateError as error:
        if error.field == "source":
            raise
        return None  # told already, with its place in the list


def _check_blobs(gateway: Gateway, request: RunRequest, findings: _Findings) -> None:
    """Blobs that the run needs must be here; being looked at keeps them from the garbage collection for a while."""
    missing = [file.path for file in request.workspace if not touch(gateway.blobs.path(file.sha256))]
    if missing:
        findings.problems.append(
            UsageError(
                f"The content of {missing[0]!r}{f' and {len(missing) - 1} other files' if missing[1:] else ''} is not "
                "on the gateway. Ask POST /api/v1/blobs/missing what to send, and PUT it to /api/v1/blobs/{sha256}.",
                field="workspace",
            )
        )
    if request.env is not None:
        with findings.of("env"):
            _check_path(request.env.path, "env.path")
            check_name(request.env.path)
            if not touch(gateway.blobs.path(request.env.sha256)):
                raise UsageError(
                    f"The content of {request.env.path!r} is not on the gateway. Send it as a blob first.", field="env"
                )


def _check_path(path: str, field: str) -> None:
    """Raise `UsageError` about `field` for a file name that leads out of the working folder."""
    try:
        safe_path(path)
    except UsageError as error:
        error.field = field
        raise


def touch(path: Path) -> bool:
    """Whether a blob is there; if so, it counts as new."""
    try:
        os.utime(path)
    except OSError:
        return False
    return True


def _source(gateway: Gateway, request: RunRequest) -> bytes:
    source = request.source
    if source.content is not None:
        return source.content.encode()
    digest = source.sha256 or ""
    path = gateway.blobs.path(digest)
    if not touch(path):
        raise SourceError(
            f"There is no blob {digest}. Send it first: PUT /api/v1/blobs/{digest}.", field="source.sha256"
        )
    if path.stat().st_size > gateway.settings.max_body_mb << 20:
        raise SourceError(
            f"The source is larger than {gateway.settings.max_body_mb} MiB (setting max_body_mb).",
            field="source.sha256",
        )
    return gateway.blobs.get(digest)


def _check_baseline(baseline: dict[str, Any] | None) -> None:
    if baseline is None:
        return
    try:
        Baseline.from_dict(baseline)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise UsageError(
            "The baseline must be {run: id, metrics: {name: {last: number, count: number, …}}}.", field="baseline"
        ) from None


def _check_resources(gateway: Gateway, request: RunRequest) -> None:
    """Refuse what no agent has. While the dispatcher has not said what there is, runs are queued all the same."""
    agent = gateway.agent()
    if agent is None:
        return
    if "nodes" in agent:
        check_nodes(agent, request.gpus, request.cpus, request.memory, request.label)
        return
    labels, gpus = agent.get("labels") or [], agent.get("gpus") or {}
    if request.label is not None and request.label not in labels:
        raise ResourceError(
            f"No agent has the label {request.label!r}. There is: {', '.join(labels) or 'no label at all'}.",
            field="label",
        )
    if request.gpus > len(gpus):
        raise ResourceError(
            f"The run asks for {request.gpus} GPU{'s' if request.gpus > 1 else ''}, but no agent has more than "
            f"{len(gpus)}.",
            field="gpus",
        )
    cpus, memory = (agent.get(name) or {} for name in ("cpus", "memory"))
    if cpus and memory:
        check_cpus_and_memory(request.cpus, request.memory, cpus["total"], memory["total"])


def _check_mlflow(gateway: Gateway, request: RunRequest) -> None:
    """Refuse what needs MLflow where there is none, and what makes no sense in it."""
    from ..tracking import names
    from ..tracking.comparison import is_well_formed

    for field in ("compare_with", "register_model", "promote"):
        if getattr(request, field) is not None and not gateway.settings.mlflow:
            raise ResourceError(
                f"This gateway has no MLflow, which {field} needs: see its setting mlflow.",
                field=field,
            )
    if request.promote is not None and request.register_model is None:
        raise UsageError("An alias belongs to a registered model: name one (register_model).", field="promote")
    for field, value, problem in (
        ("register_model", request.register_model, names.model_problem),
        ("promote", request.promote, names.alias_problem),
    ):
        if value is not None and (why := problem(value)):
            raise UsageError(f"{value!r}: {why}.", field=field)
    if request.compare_with is not None and not is_well_formed(request.compare_with):
        raise UsageError(
            "Write models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID or the id of an MLflow run.", field="compare_with"
        )


# -- keeping -----------------------------------------------------------------------------------------


def _make_folder(gateway: Gateway) -> tuple[str, Path]:
    while True:
        id = new_run_id()
        folder = gateway.data.run(id)
        try:
            folder.mkdir(mode=0o700, parents=True)
            return id, folder
        except FileExistsError:
            continue  # the other run of this second with the same random number
        except OSError as error:
            raise StorageError(f"The run's folder can't be made: {error.strerror}.") from error


def _provenance(request: RunRequest, token: str, rerun_of: str | None) -> dict[str, Any]:
    """What the log's first event tells of where the run came from."""
    provenance: dict[str, Any] = {
        "git": request.git,
        "build": request.build,
        "baseline": request.baseline,
        "command": "run",
        "token": token,
    }
    if request.workspace:
        provenance["inputs"] = [file.model_dump() for file in request.workspace]
    if request.env is not None:
        provenance["env"] = request.env.model_dump()
    if rerun_of is not None:
        provenance["rerun_of"] = rerun_of
    return provenance


def _write_files(
    folder: Path, request: RunRequest, options: RunOptions, plan: Plan, provenance: dict[str, Any]
) -> None:
    """The request, without its secrets, and the event log with its first event. Raises `StorageError`."""
    try:
        (folder / REQUEST).write_bytes(orjson.dumps(kept_request(request.model_dump(exclude={"secrets"}))))
    except OSError as error:
        raise StorageError(f"The request can't be kept: {error.strerror}.") from error
    log = EventLog(folder / EVENTS)
    try:
        sink = MaskingSink.around(log, Masker(options.secrets))
        sink.append(EventType.RUN_QUEUED, **queued_fields(plan.program, options, provenance))
    finally:
        log.close()


def _digest(request: RunRequest) -> str:
    """What tells one request from another; of secrets the names alone, since a digest of a short one can be guessed."""
    content = {**kept_request(request.model_dump(exclude={"secrets"})), "secrets": sorted(request.secrets)}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
