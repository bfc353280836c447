"""The others, each in an environment of its own that `benchmarks/run` makes."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ..commands import CommandFailed, start, stop, tail
from .base import HERE, Contestant, images_of, shown, texts_of

ENVIRONMENTS = HERE / ".venv"
REPORT = "report.json"
READY_SECONDS = 60.0


class Peer(Contestant):
    """A contestant whose programs lie in the environment `environment`."""

    environment = "papermill"

    def obstacle(self) -> str | None:
        if self.program("python").exists():
            return None
        return f"There is no environment {self.environment}: `benchmarks/run` makes it."

    def program(self, name: str) -> Path:
        """A program of its environment."""
        return ENVIRONMENTS / self.environment / "bin" / name


class Papermill(Peer):
    """Saves the notebook after every cell; its progress bar is off, its output is shown."""

    name = "papermill"
    title = "`papermill IN OUT --log-output --no-progress-bar`"

    def command(self, notebook: Path) -> list[str]:
        return [str(self.program("papermill")), notebook.name, "done.ipynb", "--log-output", "--no-progress-bar"]

    def texts(self, notebook: Path) -> Iterator[str]:
        return texts_of(notebook.with_name("done.ipynb"))

    def images(self, notebook: Path) -> int:
        return images_of(notebook.with_name("done.ipynb"))


class Nbclient(Peer):
    """nbclient's own command; it shows nothing before the end."""

    name = "nbclient"
    title = "`jupyter-execute IN --output OUT`"
    live = False

    def command(self, notebook: Path) -> list[str]:
        return [str(self.program("jupyter-execute")), notebook.name, "--output", "done.ipynb"]

    def texts(self, notebook: Path) -> Iterator[str]:
        return texts_of(notebook.with_name("done.ipynb"))

    def images(self, notebook: Path) -> int:
        return images_of(notebook.with_name("done.ipynb"))


class Script(Peer):
    """No kernel at all."""

    name = "script"
    title = "`python -u FILE.py`, the same code without a kernel"

    def command(self, notebook: Path) -> list[str]:
        return [str(self.program("python")), "-u", notebook.with_suffix(".py").name]

    def texts(self, notebook: Path) -> Iterator[str]:
        return shown(notebook.parent)


class Loop(Peer):
    """One of the small programs beside this package, which prints what the kernel prints and leaves a report."""

    arguments: tuple[str, ...] = ()
    file = "bare_loop.py"

    def command(self, notebook: Path) -> list[str]:
        return [str(self.program("python")), str(HERE / self.file), notebook.name, REPORT, *self.arguments]

    def texts(self, notebook: Path) -> Iterator[str]:
        return shown(notebook.parent)

    def images(self, notebook: Path) -> int:
        return int(_report(notebook)["images"])

    def cells_seconds(self, notebook: Path) -> float | None:
        return float(_report(notebook)["cells"])


class BareLoop(Loop):
    """The floor for a kernel, as jupyter_client's blocking calls have it."""

    name = "bare loop"
    title = "jupyter_client's blocking client on a kernel: prints what comes, keeps nothing"


class SocketLoop(Loop):
    """A harder floor: it polls the sockets itself, and the kernel keeps its history in memory."""

    name = "socket loop"
    title = "the same on the client's sockets themselves, the kernel's history in memory"
    arguments = ("--sockets",)


class JupyterGateway(Loop):
    """Jupyter's kernel gateway with the limits it comes with, a kernel for each notebook."""

    name = "jupyter gateway"
    title = "jupyter_kernel_gateway 3, a new kernel by HTTP and its cells by a websocket"
    environment = "jupyter-kernel-gateway"
    file = "websocket_loop.py"

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""

    def start(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}"
        options = ["--KernelGatewayApp.ip=127.0.0.1", f"--KernelGatewayApp.port={port}"]
        options += ["--KernelGatewayApp.port_retries=0"]
        log = folder / "gateway.log"
        with log.open("wb") as file:
            command = [str(self.program("jupyter-kernelgateway")), *options]
            self._process = start(command, folder, self.environ(), stdout=file, stderr=file)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self._url}/api", timeout=5).close()
                return
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise CommandFailed(f"jupyter_kernel_gateway did not start: {error}. {tail(log)}") from error
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)
        self._process = None

    def command(self, notebook: Path) -> list[str]:
        return [*super().command(notebook), self._url]

    def servers(self) -> list[int]:
        return [self._process.pid] if self._process is not None else []

    def handles_messages(self, pid: int, line: str) -> bool:
        return bool(re.search(r"jupyter-kernelgateway", line))


def _report(notebook: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads(notebook.with_name(REPORT).read_text(encoding="utf-8"))
    return found
