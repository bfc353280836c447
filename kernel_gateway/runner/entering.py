"""A kernel that was started before its run was known: the code that gives it the run's folder and environment.

`KernelSet` sends it silently, ahead of everything else. To add a language, write a function like `_r` and name it in
`LANGUAGES`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from ..kernels.forkserver import OPENBLAS
from ..kernels.kernel import Kernel
from ..settings import PREFIX

RUN_VARIABLE = PREFIX + "RUN_ID"
"""Environment variable that tells a kernel which run it serves."""

OPTIONAL = (RUN_VARIABLE, "MLFLOW_")
"""How variables begin that a warm kernel may go without: what they serve does not depend on the kernel."""


CUDA_CHECK = """\
def _():
    with open("/proc/self/maps") as file:
        if "libcuda.so" in file.read():
            raise RuntimeError("CUDA was in use before the run had GPUs")
"""
"""Refuses a kernel in which a module that was imported beforehand has loaded CUDA's driver: that reads once which GPUs
it may see.
"""

THREAD_LIMIT = """\
def _(threads, names):
    import ctypes, sys
    if threads.isdigit() and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(threads))
    with open("/proc/self/maps") as file:
        paths = {line.split(None, 5)[5].strip() for line in file if "openblas" in line and "/" in line}
    for library in map(ctypes.CDLL, paths if threads.isdigit() else ()):
        for name in names:
            if hasattr(library, name):
                getattr(library, name)(int(threads))
"""
"""Tells libraries that were imported beforehand, and read their environment then, how many threads to use."""

OPENBLAS_SETTERS = [f"{name}_set_num_threads{suffix}" for name, suffix in OPENBLAS]


def entering_code(kernel: Kernel, cwd: Path, environ: Mapping[str, str]) -> str | None:
    """What makes a kernel one of a run in `cwd` with `environ`; empty if it is already, None if it can't become one."""
    values = {name: value for name, value in environ.items() if kernel.environ.get(name) != value}
    gone = [name for name in kernel.environ if name not in environ]
    folder = str(cwd) if cwd != kernel.cwd else None
    try:
        "".join([*values, *values.values(), folder or ""]).encode()
    except UnicodeEncodeError:
        return None  # bytes that are no text, which no message can carry
    write = LANGUAGES.get(str(kernel.spec.spec.language).lower())
    if write is None:
        return None if gone or folder or not all(name.startswith(OPTIONAL) for name in values) else ""
    return write(folder, values, gone) if values or gone or folder else ""


def rehearsal(kernel: Kernel) -> str:
    """Code like what a warm kernel will be sent for its run, that changes nothing: the first code costs ipykernel
    10 ms more than the second. Empty where nothing is gained.
    """
    return "import os as _\ndel _" if str(kernel.spec.spec.language).lower() == "python" else ""


def _python(folder: str | None, values: Mapping[str, str], gone: list[str]) -> str:
    lines = ["import os as _", f"_.environ.update({values!r})", *(f"_.environ.pop({name!r}, None)" for name in gone)]
    lines += [f"_.chdir({folder!r})"] if folder else []
    if values.get("CUDA_VISIBLE_DEVICES"):
        lines += [CUDA_CHECK, "_()"]
    if threads := values.get("OMP_NUM_THREADS", ""):
        lines += [THREAD_LIMIT, f"_({threads!r}, {OPENBLAS_SETTERS!r})"]
    return "\n".join([*lines, "del _"])


def _r(folder: str | None, values: Mapping[str, str], gone: list[str]) -> str:
    lines = [f"do.call(Sys.setenv, list(`{_tick(name)}` = {_quoted(value)}))" for name, value in values.items()]
    lines += [f"Sys.unsetenv({_quoted(name)})" for name in gone]
    return "\n".join(f"invisible({line})" for line in [*lines, *([f"setwd({_quoted(folder)})"] if folder else [])])


def _bash(folder: str | None, values: Mapping[str, str], gone: list[str]) -> str:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items() if name.isidentifier()]
    lines += [f"unset {name}" for name in gone if name.isidentifier()]
    return "\n".join([*lines, *([f"cd {shlex.quote(folder)}"] if folder else [])])


def _octave(folder: str | None, values: Mapping[str, str], gone: list[str]) -> str:
    lines = [f"setenv({_single(name)}, {_single(value)});" for name, value in values.items()]
    lines += [f"unsetenv({_single(name)});" for name in gone]
    return "\n".join([*lines, *([f"cd({_single(folder)});"] if folder else [])])


def _deno(folder: str | None, values: Mapping[str, str], gone: list[str]) -> str:
    lines = [f"Deno.env.set({json.dumps(name)}, {json.dumps(value)});" for name, value in values.items()]
    lines += [f"Deno.env.delete({json.dumps(name)});" for name in gone]
    return "\n".join([*lines, *([f"Deno.chdir({json.dumps(folder)});"] if folder else []), "null"])


def _quoted(text: str) -> str:
    """An R string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _tick(name: str) -> str:
    return name.replace("\\", "\\\\").replace("`", "\\`")


def _single(text: str) -> str:
    """An Octave string; between single quotes only the quote itself is special, but a line must end within."""
    parts = ("'" + part.replace("'", "''") + "'" for part in text.split("\n"))
    return "[" + ', "\\n", '.join(parts) + "]"


LANGUAGES: dict[str, Callable[[str | None, Mapping[str, str], list[str]], str]] = {
    "python": _python,
    "r": _r,
    "bash": _bash,
    "octave": _octave,
    "typescript": _deno,
    "javascript": _deno,
}
"""Kernelspec language, lower case → code for a folder, variables to set and to unset. Java and Kotlin have none: a
process' environment and folder can't be changed there."""
