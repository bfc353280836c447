"""What can be set: the options of one run, and the limits of the program itself.

`RunOptions` is one run as a user asked for it (section 4 of the command line). `Settings` are limits that
seldom change; each is also the environment variable ``KERNEL_GATEWAY_<NAME>``. Nothing here reads files
or the environment: the command line hands the mapping in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import UsageError

PREFIX = "KERNEL_GATEWAY_"
"""Prefix of the environment variables that carry settings."""

RUN_SETTINGS = (
    *("start_timeout", "answer_timeout", "interrupt_grace", "shutdown_grace"),
    *("mlflow", "mlflow_patience", "mlflow_send_seconds"),
    *("console_limit", "notebook_limit", "progress_interval"),
    *("sandbox", "sandbox_network", "max_memory_mb", "max_run_seconds", "max_output_mb"),
    *("ray_cache_gb", "report_seconds"),
)
"""Settings that a runner on another machine gets from the gateway; it knows the others of its machine by itself."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """One run as asked for. Seconds and counts; None means no limit or the default."""

    name: str
    kernel: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    cell_timeout: float | None = None
    gpus: int = 0
    cpus: float | None = None
    memory: int | None = None
    max_memory: int | None = None
    max_gpu_hours: float | None = None
    label: str | None = None
    env_file: str | None = None
    artifacts: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    gate_fails: bool = False
    secrets: Mapping[str, str] = field(default_factory=dict)
    allow_errors: bool = False
    mlflow: str | None = None
    baseline: str | None = None
    register: str | None = None
    promote: str | None = None

    @property
    def memory_limit(self) -> int | None:
        """Bytes of host memory over which the run is stopped: what it was granted counts unless it names a limit."""
        return self.max_memory if self.max_memory is not None else self.memory

    @property
    def asks_for_resources(self) -> bool:
        """Whether the run asks for a part of its machine, or sets itself a limit of it."""
        asked = (self.cpus, self.memory, self.max_memory, self.max_gpu_hours)
        return self.gpus > 0 or any(value is not None for value in asked)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and reached from nowhere else."""
    return host in ("localhost", "::1") or host.startswith("127.")


def parse_size(text: str, field: str) -> int:
    """Bytes of a memory size: ``8G`` and ``8GiB`` are 8·2³⁰ as in Docker and Slurm, ``8GB`` 8·10⁹, ``8e9`` as it is.

    Raises `UsageError`, naming `field`, for anything else and for nothing at all.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?B?)|B)?", text.strip(), re.IGNORECASE)
    try:
        size = float(match[1] if match else text)
    except ValueError:
        size = 0.0
    if match is not None and match[2]:
        base = 1000 if match[3].upper() == "B" else 1024
        size *= base ** ("KMGT".index(match[2].upper()) + 1)
    if not 1 <= size < 2**63:
        raise UsageError(
            f"{text!r} is no size of memory. Write bytes, or a number with K, M, G or T, e.g. 8G.", field=field
        )
    return int(size)


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(text)


_CONVERTERS: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str, "bool": _boolean}


def _setting(default: Any, help: str, least: float = 0.0, most: float = math.inf) -> Any:
    return field(default=default, metadata={"help": help, "least": least, "most": most})


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # methods of so many fields would cost 1 ms a start
class Settings:
    """Limits and defaults, of a run and of the service. `from_environ` reads them; `docs/settings.md` lists them."""

    start_timeout: float = _setting(60.0, "Seconds a kernel may take from its start to its first answer.")
    answer_timeout: float = _setting(
        30.0,
        "Seconds a running kernel may take to begin with a cell, or to answer heartbeats, before it counts as dead.",
    )
    interrupt_grace: float = _setting(
        5.0, "Seconds a cell has to end after an interrupt (timeout, cancel) before its kernel is killed."
    )
    shutdown_grace: float = _setting(
        3.0, "Seconds a kernel has to end by itself (its exit handlers run) before it is killed."
    )
    console_limit: int = _setting(
        1024 * 1024, "Characters of one cell's text that the console shows in full; more is elided with a remark."
    )
    notebook_limit: int = _setting(
        8 * 1024 * 1024,
        "Characters of one cell's text that the executed notebook and the report keep; more is elided with a remark.",
    )
    progress_interval: float = _setting(
        5.0, "Seconds between two console lines of a progress bar that redraws itself with carriage returns."
    )
    labels: str = _setting("", "Comma-separated labels of this machine, for `--label`.")
    env_cache: str = _setting("", "Folder of the environments built for `--env`; default: the user's cache folder.")
    env_cache_days: float = _setting(30.0, "Days that an environment is kept which no run uses; 0 for ever.")
    env_cache_gb: float = _setting(
        0.0, "Size of all environments, in GiB, over which the least recently used go; 0 for no limit."
    )
    mlflow: str = _setting("", "MLflow tracking URI of runs, `local` or `off`, as `--mlflow` takes it; default: none.")
    mlflow_patience: float = _setting(3.0, "Seconds that a cell which needs MLflow waits for it.")
    mlflow_send_seconds: float = _setting(
        30.0, "Seconds that `kernel-gateway run` waits at its end for the rest to reach MLflow."
    )

    # The service (`kernel-gateway serve`)
    host: str = _setting("127.0.0.1", "Address the service listens on; any but loopback takes a token.")
    port: int = _setting(8888, "Port the service listens on; 0 for a free one.", most=65535)
    data: str = _setting("", "Data folder of the service; default: the user's data folder.")
    database: str = _setting("", "Database URL, e.g. `postgresql+psycopg://…`; default: SQLite in the data folder.")
    slots: int = _setting(2, "Runs at once on this machine.", least=1)
    gpus: str = _setting("auto", "Comma-separated GPUs of this machine; `auto`: what NVML finds; `none`.")
    cpus: float = _setting(
        0.0, "CPUs of this machine that runs may ask for; 0: what the machine, or its control group, has."
    )
    memory: str = _setting(
        "", "Memory of this machine that runs may ask for, e.g. `48G`; default: what it, or its control group, has."
    )
    warm: str = _setting(
        "", "Idle kernels kept ready, e.g. `python3=2,ir=1`; `python3@requirements.txt=1` for one of an environment."
    )
    preload: str = _setting(
        "", "Comma-separated Python modules that kernels find imported already, e.g. `numpy,pandas,sklearn`."
    )
    warm_memory_mb: int = _setting(1024, "Memory that must be free for one more idle kernel, in MiB.")
    web_workers: int = _setting(1, "Web worker processes.", least=1)
    web_threads: int = _setting(
        64, "Threads of a web worker; each followed run takes one while it is followed.", least=1
    )
    max_body_mb: int = _setting(256, "Largest request body without blobs, in MiB.", least=1)
    max_blob_mb: int = _setting(8192, "Largest blob, in MiB.", least=1)
    max_queued: int = _setting(1000, "Runs that one token may have queued; 0 for any number.")
    sandbox: str = _setting("auto", "Kernels in a bubblewrap sandbox: `auto` (where it works), `on` or `off`.")
    sandbox_network: bool = _setting(True, "Whether kernels in the sandbox have the network.")
    max_memory_mb: int = _setting(0, "Memory that a process of a kernel in the sandbox may hold, in MiB; 0 for all.")
    max_run_seconds: float = _setting(0.0, "Limit of any run, in seconds; 0 for none.")
    max_output_mb: int = _setting(0, "Output of one run that ends it, in MiB; 0 for none.")
    retention_days: float = _setting(30.0, "Days that a finished run is kept; 0 for ever.")
    retention_runs: int = _setting(0, "Finished runs that are kept; 0 for all.")
    retention_gb: float = _setting(0.0, "Size of all runs, in GiB, over which the oldest go; 0 for no limit.")
    retention_interval: float = _setting(600.0, "Seconds between two looks for runs and blobs that may go.", least=0.1)
    agent: str = _setting(
        "local", "Where runs are executed: `local`, or a Ray cluster, `ray://HOST:10001` or `ray://auto`."
    )
    node_url: str = _setting("", "Address at which a cluster's nodes reach this gateway; default: where it listens.")
    ray_cpus: float = _setting(1.0, "CPUs that a run takes on a node of a Ray cluster unless it asks for some.")
    ray_pending: int = _setting(
        0, "Runs that may wait in Ray for nodes which its autoscaler is to start; with 0 such runs are refused."
    )
    ray_cache_gb: float = _setting(20.0, "Files of workspaces that a node of a Ray cluster keeps, in GiB.")
    report_seconds: float = _setting(
        3600.0, "Seconds that a runner on another machine goes on trying to report a run that has ended."
    )
    triggers: str = _setting("", "File of triggers that the service checks, as `--triggers` takes it; default: none.")
    trigger_interval: float = _setting(300.0, "Seconds between two checks of the triggers.")
    drain_timeout: float = _setting(
        0.0, "Seconds that a stopping service waits for its runs; they go on without it after that."
    )
    tls_cert: str = _setting("", "TLS certificate file; with `tls_key` the service speaks HTTPS.")
    tls_key: str = _setting("", "TLS key file.")

    def __post_init__(self) -> None:
        """Raise `UsageError` for a number that makes no sense."""
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, str | bool):
                continue
            least, most = setting.metadata["least"], setting.metadata["most"]
            if not (math.isfinite(value) and least <= value <= most):
                bound = f" and at most {most:g}" if most < math.inf else ""
                raise UsageError(
                    f"The setting {setting.name} is {value:g}; it must be at least {least:g}{bound}.",
                    field=setting.name,
                )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Settings from ``KERNEL_GATEWAY_*`` variables. Raises `UsageError` for a value that can't be."""
        values: dict[str, Any] = {}
        for setting in fields(cls):
            text = environ.get(PREFIX + setting.name.upper())
            if text is None or text == "":
                continue
            convert = _CONVERTERS[str(setting.type)]
            try:
                values[setting.name] = convert(text)
            except ValueError:
                kind = {"int": "a whole number", "float": "a number", "bool": "true or false"}[str(setting.type)]
                raise UsageError(
                    f"{PREFIX}{setting.name.upper()} is {text!r}; it must be {kind}.", field=setting.name
                ) from None
        return cls(**values)
