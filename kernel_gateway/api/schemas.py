"""What goes over the wire: requests, checked as they come in, and answers. The OpenAPI description is made of these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from ..errors import UsageError
from ..events import Status
from ..settings import parse_size
from ..store.runs import RunRecord

PREFIX = "/api/v1"

DEPTH_LIMIT = 100
"""Most levels of a request's JSON; deeper values could not be written to an event log."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the content, hexadecimal.")]


def memory_size(value: Any) -> Any:
    """Bytes of a size that is written as text. Raises ValueError for what is none."""
    if not isinstance(value, str):
        return value
    try:
        return parse_size(value, "memory")
    except UsageError as error:
        raise ValueError(str(error)) from None


# PostgreSQL takes no NUL, and no header or log line wants the others.
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=200)]
Word = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=200)]
FilePath = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", min_length=1, max_length=4096)]
Seconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Cpus = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Memory = Annotated[
    int,
    Field(gt=0, le=2**62),
    BeforeValidator(memory_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 2**62},
                {"type": "string", "pattern": r"^[1-9][0-9]{0,5}([KMGT]i?)?$"},
            ],
            "description": "Bytes, or text such as `8G`.",
        },
        mode="validation",
    ),
]
Size = Annotated[int, Field(ge=0, le=2**53)]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
VariableValue = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=100_000)]


class Body(BaseModel):
    """A JSON body: exact types, no field that is not known."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """A query: a misspelt name is told rather than passed over."""

    model_config = ConfigDict(extra="forbid")


# -- requests ----------------------------------------------------------------------------------------


class Source(Body):
    """What to run: text, or a blob that was sent before."""

    path: FilePath | None = Field(
        default=None, description="Its name in the workspace; the suffix tells the format. Without one it is a snippet."
    )
    content: str | None = Field(default=None, description="The source itself.")
    sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Source:
        if (self.content is None) == (self.sha256 is None):
            raise ValueError("give either `content`, the source's text, or `sha256`, a blob that holds it")
        return self


class FileRef(Body):
    """A file of the run's working folder, whose content was sent as a blob."""

    path: FilePath = Field(description="Path below the working folder, with `/`, without `..`.")
    sha256: Sha256


class WorkspaceFile(FileRef):
    """A file of the workspace."""

    size: Size = Field(description="Bytes.")
    executable: bool = False


class RunRequest(Body):
    """A run as asked for: the options of `kernel-gateway run`."""

    name: Word = Field(default="run", description="Name of the run, e.g. the source's stem.")
    source: Source
    kernel: Word | None = Field(default=None, description="Kernelspec; default: the source's own.")
    parameters: dict[str, Any] = Field(default={}, description="Parameters, name to JSON value.")
    timeout: Seconds | None = Field(default=None, description="Limit of the whole run, in seconds.")
    cell_timeout: Seconds | None = Field(default=None, description="Limit of one cell, in seconds.")
    gpus: int = Field(default=0, ge=0, le=1024, description="GPUs that the agent must have.")
    cpus: Cpus | None = Field(default=None, description="CPUs that the agent must have free; libraries use as many.")
    memory: Memory | None = Field(default=None, description="Memory that the agent must have free; also a limit.")
    max_memory: Memory | None = Field(default=None, description="Memory over which the run is stopped.")
    max_gpu_hours: Cpus | None = Field(default=None, description="GPUs times hours after which the run is stopped.")
    label: Word | None = Field(default=None, description="Label that the agent must have.")
    env: FileRef | None = Field(
        default=None,
        description="Environment file: requirements.txt, pyproject.toml (`pyproject.toml[EXTRA]` for optional "
        "dependencies), environment.yml, renv.lock or Project.toml. What it refers to belongs in the workspace.",
    )
    artifacts: list[str] = Field(default=[], max_length=1000, description="Globs of files to keep.")
    require: list[str] = Field(default=[], max_length=1000, description="Gates, e.g. `accuracy >= 0.9`.")
    gate_fails: bool = Field(default=False, description="A missed gate makes the run failed instead of unstable.")
    compare_with: str | None = Field(
        default=None,
        max_length=1000,
        description="What gates compare with: `runs:/ID`, `models:/NAME@ALIAS` or the id of an MLflow run.",
    )
    register_model: str | None = Field(
        default=None, min_length=1, max_length=250, description="Name to register the logged MLflow model under."
    )
    promote: str | None = Field(
        default=None, min_length=1, max_length=250, description="Alias that the model gets if all gates are met."
    )
    secrets: dict[VariableName, VariableValue] = Field(
        default={}, description="Environment variables that are masked everywhere and never stored."
    )
    allow_errors: bool = Field(default=False, description="Go on after a failing cell.")
    workspace: list[WorkspaceFile] = Field(default=[], max_length=200_000)
    priority: int = Field(default=0, ge=-100, le=100, description="Higher ones first.")
    retries: int = Field(default=0, ge=0, le=10, description="How often a lost run is tried again.")
    build: dict[str, Any] | None = Field(default=None, description="The Jenkins build that asks: job, number, url, …")
    git: dict[str, Any] | None = Field(
        default=None, description="Git state of the source: commit, branch, remote, dirty."
    )
    baseline: dict[str, Any] | None = Field(default=None, description="What gates compare with: run, metrics.")


class MissingRequest(Body):
    """Digests of blobs that a client is about to need."""

    sha256: list[Sha256] = Field(max_length=200_000)


class IdempotencyHeader(BaseModel):
    """Makes a repeated submission return the run of the first."""

    key: str | None = Field(
        default=None,
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="A key of your choice. The same key with the same body gives the same run.",
    )


class RunPath(BaseModel):
    """A run."""

    id: str = Field(description="Id of the run.", json_schema_extra={"pattern": r"^[0-9]{8}-[0-9]{6}-[0-9a-f]{8}$"})


class RunFilePath(RunPath):
    """A file of a run."""

    path: str = Field(description="Path of the file, with `/`.")


class BlobPath(BaseModel):
    """A blob."""

    sha256: Sha256


class ListQuery(Query):
    """Which runs to list."""

    name: Line | None = Field(default=None, description="Only runs of this name.")
    status: Status | None = Field(default=None, description="Only runs with this status.")
    build: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=500)] | None = Field(
        default=None, description="Only runs of this build: its tag, else its job and number, e.g. `train #12`."
    )
    limit: int = Field(default=50, ge=1, le=500, description="Runs on a page.")
    cursor: Annotated[str, Field(pattern=r"^[\x20-\x7e]*$", max_length=500)] | None = Field(
        default=None, description="`next` of the page before."
    )


class EventsQuery(Query):
    """Where to go on, and whether to wait."""

    after: int | None = Field(default=None, ge=0, le=2**53, description="Only events with a greater `seq`.")
    wait: int = Field(
        default=1, ge=0, le=1, description="0: what is there, as JSON lines. 1: as they come, until the end."
    )


class EventsHeader(BaseModel):
    """What a reader of Server-Sent Events sends when it connects again."""

    last: int | None = Field(
        default=None, alias="Last-Event-ID", ge=0, le=2**53, description="As `after`, which counts more."
    )


class ConsoleQuery(Query):
    """Where to go on reading."""

    start: int = Field(
        default=0, ge=0, le=2**53, description="Byte to begin with: the `X-Text-Size` of the answer before."
    )


# -- answers -----------------------------------------------------------------------------------------


class RunLinks(BaseModel):
    """Where a run's parts are found."""

    self: str
    events: str
    console: str
    notebook: str
    junit: str
    metrics: str
    record: str
    report: str
    artifacts: str
    cancel: str


class RunView(BaseModel):
    """A run as the gateway knows it."""

    id: str
    name: str
    status: Status
    reason: str = Field(description="One sentence for people; empty after success and before the end.")
    exit_code: int | None = Field(description="What `kernel-gateway run` exits with; null before the end.")
    created: str = Field(description="RFC 3339, UTC, as are the other times.")
    started: str | None
    finished: str | None
    seconds: float | None
    priority: int
    gpus: int
    cpus: float = Field(description="CPUs that it asked for; 0 for no wish.")
    memory: int = Field(description="Bytes that it asked for; 0 for no wish.")
    label: str | None
    kernel: str | None
    token: str = Field(description="Name of the token that it was submitted with.")
    build: dict[str, Any] | None
    attempt: int = Field(description="1, and one more for each retry.")
    retry_of: str | None = Field(description="The lost run that this one tries again.")
    retried_as: str | None = Field(description="The run that tries this one again.")
    cancel_requested: bool
    links: RunLinks

    @classmethod
    def of(cls, record: RunRecord) -> RunView:
        """The view of a stored run."""
        base = f"{PREFIX}/runs/{record.id}"
        names = [name for name in RunLinks.model_fields if name != "self"]
        links = {name: f"{base}/{name}" for name in names} | {"self": base, "report": f"{base}/report/"}
        return cls(
            id=record.id,
            name=record.name,
            status=Status(record.status),
            reason=record.reason or "",
            exit_code=record.exit_code,
            created=utc(record.created) or "",
            started=utc(record.started),
            finished=utc(record.finished),
            seconds=record.seconds,
            priority=record.priority,
            gpus=record.gpus,
            cpus=record.cpus,
            memory=record.memory,
            label=record.label,
            kernel=record.kernel,
            token=record.token,
            build=record.build,
            attempt=record.attempt,
            retry_of=record.retry_of,
            retried_as=record.retried_as,
            cancel_requested=record.cancel_requested,
            links=RunLinks(**links),
        )


class RunList(BaseModel):
    """One page of runs, newest first."""

    runs: list[RunView]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


class ArtifactView(BaseModel):
    """A file that a run produced."""

    path: str
    sha256: str
    size: int
    media_type: str
    link: str


class ArtifactList(BaseModel):
    """A run's artifacts so far."""

    artifacts: list[ArtifactView]


class MissingView(BaseModel):
    """Which of the blobs asked for the gateway lacks."""

    missing: list[str]


class BlobView(BaseModel):
    """A blob that the gateway now has."""

    sha256: str
    size: int


class KernelspecView(BaseModel):
    """An installed kernel."""

    name: str
    display_name: str
    language: str


class KernelspecList(BaseModel):
    """The kernels that runs may use."""

    kernelspecs: list[KernelspecView]


class HealthView(BaseModel):
    """That the service is up."""

    status: str
    version: str
    problem: str = Field("", description="Why runs wait although the service is ready, e.g. for a cluster.")


def utc(moment: datetime | None) -> str | None:
    """A time as events write it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment is not None else None


def too_deep(value: Any, limit: int = DEPTH_LIMIT) -> bool:
    """Whether a JSON value has more levels than `limit`. Walks without recursion."""
    level = [value]
    for _ in range(limit):
        level = [
            item
            for container in level
            if isinstance(container, dict | list)
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True
