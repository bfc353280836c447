"""Runs one notebook: with our command, with nbclient, with papermill. All three see the same environment."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

LIMIT = 120.0
"""Seconds after which a command counts as hanging."""

PEER_LIMIT = 60
"""Seconds for one cell of a peer's run, tried once more then: nbclient was seen to hang on a notebook of its own."""

TERMINAL = {"COLUMNS": "80", "LINES": "24"}
"""So that tracebacks are equally wide everywhere."""


@dataclass(frozen=True)
class Done:
    """What our command left behind."""

    exit_code: int
    output: str
    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        """``run.json``; empty if there is none."""
        path = self.folder / "run.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @property
    def notebook(self) -> Path:
        """``executed.ipynb``."""
        return self.folder / "executed.ipynb"


class Command:
    """Our command at work on one notebook; `wait` gives the result."""

    def __init__(
        self, source: str, arguments: list[str], *, folder: Path, environ: Mapping[str, str], stdin: Path | None = None
    ) -> None:
        self._folder = folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._output = folder.with_suffix(".out").open("w+b")
        with (stdin or Path(os.devnull)).open("rb") as given:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kernel_gateway", "run", source, "--output-dir", str(folder), *arguments],
                stdin=given,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                cwd=stdin.parent if stdin else None,
                env={**os.environ, **TERMINAL, **environ},
            )

    def interrupt(self) -> None:
        """Send SIGINT as soon as the first cell runs."""
        log = self._folder / "events.jsonl"
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline and self._process.poll() is None:
            if log.is_file() and b'"cell_started"' in log.read_bytes():
                time.sleep(0.5)
                self._process.send_signal(signal.SIGINT)
                return
            time.sleep(0.05)

    def wait(self) -> Done:
        """The result; a command that does not end is killed, which its exit code then tells."""
        try:
            self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._output as output:
            output.seek(0)
            return Done(self._process.returncode, output.read().decode(errors="replace"), self._folder)


def nbclient_run(path: Path, options: Mapping[str, Any]) -> tuple[Any, str]:
    """The notebook as nbclient leaves it, and the name of the error that it raised, if any."""
    from nbclient import NotebookClient

    os.environ.update(TERMINAL)
    for _ in range(2):
        notebook = _read(path)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        resources = {"metadata": {"path": str(path.parent)}}
        client = NotebookClient(notebook, resources=resources, **{"timeout": PEER_LIMIT, **options})
        try:
            with _quiet():
                client.execute()
        except Exception as error:  # noqa: BLE001 - whatever it is, its name is what we look at
            name = type(error).__name__
        else:
            name = ""
        if name != "CellTimeoutError" or "timeout" in options:
            break
    return client.nb, name


def papermill_run(path: Path, parameters: Mapping[str, Any], output: Path) -> tuple[Any, str]:
    """The notebook as papermill leaves it, and the name of the error that it raised, if any."""
    import papermill

    os.environ.update(TERMINAL)
    options: dict[str, Any] = {"progress_bar": False, "cwd": str(path.parent), "execution_timeout": PEER_LIMIT}
    if not _read(path).metadata.get("kernelspec"):
        options["kernel_name"] = "python3"
    error = ""
    try:
        with _quiet():
            papermill.execute_notebook(str(path), str(output), copy.deepcopy(dict(parameters)), **options)
    except Exception as raised:  # noqa: BLE001
        error = type(raised).__name__
    return (_read(output) if output.is_file() else None), error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the peers' kernels write to our stderr out of the way."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)
