"""Where MLflow is: the tracking URI as a user gives it, and what of it may be shown."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import UsageError

LOCAL = "local"
"""The word for an MLflow of one's own: a SQLite database and a folder below the user's data folder."""

OFF = "off"
"""The word for no MLflow, where a setting would name one."""

DATABASES = ("sqlite", "mysql", "postgresql", "mssql")


def local_folder(environ: Mapping[str, str]) -> Path:
    """The folder behind `LOCAL`."""
    data = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "kernel-gateway" / "mlflow"


def tracking_uri(text: str, environ: Mapping[str, str]) -> str:
    """The tracking URI that `--mlflow` means; the folder of `LOCAL` is made. Raises `UsageError`."""
    if text == LOCAL:
        folder = local_folder(environ)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--mlflow local: {folder} can't be made: {error.strerror}.", field="mlflow") from error
        return f"sqlite:///{folder}/mlflow.db"
    try:
        parts = urlsplit(text)
        password = parts.password
    except ValueError as error:
        raise UsageError(f"--mlflow: {text!r} is no URI: {error}.", field="mlflow") from error
    if parts.scheme in ("http", "https"):
        if not parts.hostname:
            raise UsageError(f"--mlflow: {text!r} names no host.", field="mlflow")
        if password is not None:
            raise UsageError(
                "--mlflow: a password does not belong in the URI, where process lists and logs show it. Set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, and name the latter with --secret.",
                field="mlflow",
            )
        return text.rstrip("/")
    if parts.scheme.split("+")[0] == "sqlite" and not parts.netloc:
        # Relative to where the user is; the tracker and the kernels may be elsewhere.
        return f"{parts.scheme}:///{Path(parts.path.removeprefix('/')).absolute()}"
    if parts.scheme.split("+")[0] in DATABASES or parts.scheme.startswith("databricks") or text == "databricks":
        return text
    raise UsageError(
        f"--mlflow: {text!r} is no tracking URI. Give http://HOST:PORT, sqlite:///PATH or local; "
        "MLflow keeps no runs in plain folders any more.",
        field="mlflow",
    )


def shown(uri: str) -> str:
    """A tracking URI without user name and password, for logs and files."""
    return re.sub(r"//[^/@]*@", "//", uri)


def database_file(uri: str) -> Path | None:
    """The file of a SQLite database, or None for any other URI."""
    scheme, _, path = uri.partition(":///")
    return Path(path).absolute() if scheme.split("+")[0] == "sqlite" and path else None


@contextlib.contextmanager
def making(uri: str) -> Iterator[None]:
    """While a SQLite database may be made or brought up to date: of several processes that do so at once, MLflow
    leaves a broken one.
    """
    file = database_file(uri)
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{file}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_being_made(uri: str) -> bool:
    """Whether there is no SQLite database yet, or a tracker is at work on it."""
    file = database_file(uri)
    if file is None:
        return False
    try:
        with open(f"{file}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return not file.exists()


def artifact_folder(uri: str, experiment: str) -> str | None:
    """Where an experiment of a SQLite database keeps its artifacts: beside the database. None for any other URI.

    MLflow would take a folder below its process' working folder, which is another one for every caller.
    """
    file = database_file(uri)
    if file is None:
        return None
    digest = hashlib.sha256(experiment.encode()).hexdigest()[:12]
    return (file.parent / "artifacts" / digest).as_uri()
