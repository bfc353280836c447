"""GPUs for tests: a stand-in for NVIDIA's library on machines without one, asked through the real nvidia-ml-py."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kernel_gateway.kernels.gpu_locks import FOLDER
from tests.command.conftest import problem_kernels, run, start
from tests.conftest import REQUIRE_KERNELS
from tests.service.conftest import serve

__all__ = ["problem_kernels", "run", "serve", "start"]

GIB = 2**30


@dataclass
class StandIn:
    """A machine's GPUs as the stand-in shows them. ``uuids`` are new ones for each test: locks are of the machine."""

    library: Path
    file: Path
    uuids: list[str] = field(default_factory=lambda: [f"GPU-{uuid.uuid4()}" for _ in range(2)])

    def says(self, *lines: str) -> None:
        """Replace what the library answers from now on."""
        part = self.file.with_suffix(".part")
        part.write_text("\n".join(lines) + "\n")
        part.replace(self.file)

    def two_gpus(self, used: int = GIB, percent: int = 50) -> None:
        """Two GPUs of 80 GiB with as much memory in use, and busy for a part of the time."""
        self.says(*(f"gpu {uuid} {80 * GIB} {used} {percent}" for uuid in self.uuids))

    @property
    def env(self) -> dict[str, str]:
        """The environment of a process that is to find it."""
        return {"LD_LIBRARY_PATH": str(self.library), "NVML_STAND_IN": str(self.file)}


@pytest.fixture(scope="session")
def stand_in_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the library, compiled from the C file beside this one."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        reason = "there is no C compiler for the stand-in of NVIDIA's library"
        if os.environ.get(REQUIRE_KERNELS):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("nvml_stand_in.c")
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(folder / "libnvidia-ml.so.1"), str(source)]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture
def nvml(stand_in_library: Path, tmp_path: Path) -> Iterator[StandIn]:
    """Two idle GPUs; the files of their locks are removed in the end."""
    made = StandIn(stand_in_library, tmp_path / "gpus.txt")
    made.two_gpus()
    yield made
    for gpu in made.uuids:
        (FOLDER / gpu).unlink(missing_ok=True)
