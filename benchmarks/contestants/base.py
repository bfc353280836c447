"""What a contestant is: something that runs notebooks by one command, perhaps against a server of its own."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..commands import OUTPUT

HERE = Path(__file__).parent.parent


class Contestant(ABC):
    """To add one, derive a class and put an instance into `contestants.CONTESTANTS`.

    The harness calls `obstacle` once; then `start`, before each sample `settle`, `command` for each notebook, what
    reads results after it has ended, and `stop`.
    """

    name: str
    """As in tables and options."""
    title: str
    """What is run, for the page."""
    ours = False
    live = True
    """Whether its command shows output as it comes."""

    def obstacle(self) -> str | None:
        """Why it can't run here, as a sentence; None if it can."""
        return None

    def start(self, folder: Path) -> None:  # noqa: B027 (most need none)
        """Start the server, if there is one; ``folder`` is its own. Raises CommandFailed."""

    def stop(self) -> None:  # noqa: B027
        """End what `start` started."""

    def settle(self) -> None:  # noqa: B027
        """Wait until nothing of an earlier sample goes on and a next one finds what it may count on."""

    @abstractmethod
    def command(self, notebook: Path) -> list[str]:
        """What runs a notebook, to be called in its folder."""

    def environ(self) -> dict[str, str]:
        """The command's environment: the caller's, without settings that would make contestants unequal."""
        unequal = ("KERNEL_GATEWAY_", "JUPYTER", "IPYTHON", "KG_")
        return {name: value for name, value in os.environ.items() if not name.startswith(unequal)}

    def servers(self) -> list[int]:
        """Process ids of the server, if there is one."""
        return []

    def handles_messages(self, pid: int, line: str) -> bool:
        """Whether a process, with this command line, is the one between the kernel and the result.

        Asked of the server's processes and those below; without a server the command itself is it.
        """
        return False

    @abstractmethod
    def texts(self, notebook: Path) -> Iterator[str]:
        """The pieces of text that the cells printed, as the result has them."""

    def images(self, notebook: Path) -> int:
        """How many images (PNG) the result has. Raises NotImplementedError where it keeps none."""
        raise NotImplementedError(f"{self.name} keeps no images")

    def cells_seconds(self, notebook: Path) -> float | None:
        """Seconds from the first cell's start to the last one's end, where that is told."""
        return None


def outputs_of(executed: Path) -> list[dict[str, Any]]:
    """The outputs of all cells of a notebook file."""
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", ())]


def texts_of(executed: Path) -> Iterator[str]:
    """What the cells of an executed notebook printed."""
    for output in outputs_of(executed):
        if output["output_type"] == "stream":
            yield "".join(output["text"])


def images_of(executed: Path) -> int:
    """How many images the cells of an executed notebook show."""
    return sum("image/png" in output.get("data", ()) for output in outputs_of(executed))


def shown(folder: Path) -> Iterator[str]:
    """What the command itself printed, a mebibyte at a time."""
    with (folder / OUTPUT).open(encoding="utf-8", errors="replace", newline="") as file:
        while text := file.read(1 << 20):
            yield text
