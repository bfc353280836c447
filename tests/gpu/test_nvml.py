"""Nothing of a GPU is loaded where there is none, nor where none is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.gpu.conftest import GIB, StandIn

LOADED = "\nimport sys; print('pynvml' in sys.modules)"


def python(code: str, env: dict[str, str] | None = None) -> str:
    """What a new interpreter prints."""
    environ = {**os.environ, **(env or {})}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    return done.stdout


def test_without_nvidias_library_its_binding_is_not_imported(nvml: StandIn) -> None:
    nothing = {"LD_LIBRARY_PATH": str(nvml.file.parent)}
    code = "from kernel_gateway.kernels.resources import find_gpus; print(find_gpus(None), find_gpus('0,1').names)"

    assert python(code + LOADED, nothing) == "Gpus(names=[], devices=[], problem='') ['0', '1']\nFalse\n"


def test_a_run_that_asks_for_no_gpu_asks_nobody_for_one(nvml: StandIn) -> None:
    code = (
        "from kernel_gateway.cli.machine import MachineShare\n"
        "from kernel_gateway.runner.ending import Cancellation\n"
        "from kernel_gateway.settings import RunOptions, Settings\n"
        "print(MachineShare().take(RunOptions(name='x'), Settings(), Cancellation()))"
    )

    assert python(code + LOADED, nvml.env) == "[]\nFalse\n"


def test_what_nvml_says_of_each_gpu_is_told_and_names_become_uuids(nvml: StandIn) -> None:
    first, second = nvml.uuids
    code = (
        "from kernel_gateway.kernels.resources import find_gpus\n"
        "for device in find_gpus(None).devices: print(device)\n"
        f"print(*find_gpus('1,{first[:10]},7,{second}').names)"
    )
    lines = [
        f"Gpu(id={uuid!r}, index={index}, name='stand-in GPU', memory={80 * GIB})"
        for index, uuid in enumerate((first, second))
    ]

    assert python(code, nvml.env).splitlines() == [*lines, f"{second} {first} 7"]
