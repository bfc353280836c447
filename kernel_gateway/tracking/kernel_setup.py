"""Code that tells a kernel which MLflow run its cells belong to, sent silently before its first cell."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from . import kernel_hook

FILE = "mlflow-run"
"""File in a kernel's private folder that says which run it belongs to, for a Python that asks before that is known."""


def joining_code(uri: str, run_id: str, experiment_id: str, file: Path | None, patience: float) -> str:
    """Code for a kernel of Python, run once: its MLflow calls land in the run.

    An empty `run_id` is not known yet: it is awaited in `file`, for `patience` seconds from when it is needed.
    """
    call = f"install({uri!r}, {run_id!r}, {experiment_id!r}, {str(file or '')!r}, {patience!r})"
    # In a namespace of its own, so that the program's stays as it was.
    return f"exec(compile({_hook() + call!r}, '<kernel gateway>', 'exec'), {{'__name__': 'kernel_gateway_mlflow'}})"


def environment_code(language: str, environ: Mapping[str, str]) -> str:
    """Code in a kernel's language that sets environment variables.

    Empty for languages that can't (Java, Kotlin): those have what they were started with.
    """
    language = language.lower()
    if language == "python":
        return f"__import__('os').environ.update({dict(environ)!r})"
    if language == "r":
        return f"Sys.setenv({', '.join(f'{name} = {json.dumps(value)}' for name, value in environ.items())})"
    if language == "bash":
        return "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in environ.items())
    if language == "octave":
        return " ".join(f"setenv ({_octave(name)}, {_octave(value)});" for name, value in environ.items())
    if language in ("typescript", "javascript"):
        pairs = (f"Deno.env.set({json.dumps(name)}, {json.dumps(value)});" for name, value in environ.items())
        return "{ " + " ".join(pairs) + " }"
    return ""


@cache
def _hook() -> str:
    return Path(kernel_hook.__file__).read_text(encoding="utf-8")


def _octave(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
