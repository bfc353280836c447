"""Environments of R (renv.lock, by renv) and Julia (Project.toml, by Pkg), where their tools exist on this machine."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

from ...errors import EnvironmentBuildError
from .spec import EnvironmentSpec
from .tools import Workshop

_TOOLS = {"r": "Rscript", "julia": "julia"}

_NO_RENV = 78
_RESTORE = f"""
if (!requireNamespace("renv", quietly = TRUE)) quit(status = {_NO_RENV})
paths <- commandArgs(trailingOnly = TRUE)
renv::restore(project = paths[[2]], lockfile = paths[[1]], library = paths[[2]], prompt = FALSE)
"""

_INSTANTIATE = "using Pkg; Pkg.instantiate(); Pkg.precompile()"


def identity(language: str) -> list[str]:
    """What tells one installed R or Julia from another, without starting it."""
    found = shutil.which(_TOOLS[language])
    if found is None:
        return ["none"]
    real = os.path.realpath(found)
    status = os.stat(real)
    return [real, str(status.st_size), str(status.st_mtime_ns)]


def build(spec: EnvironmentSpec, folder: Path, workshop: Workshop) -> tuple[dict[str, str], dict[str, str]]:
    """Build the environment in `folder`; returns what is installed, and the variables for kernels in it.

    Raises `EnvironmentBuildError`, with the tool's name where there is none.
    """
    tool = shutil.which(_TOOLS[spec.language])
    if tool is None:
        needs = "R with its package renv" if spec.language == "r" else "Julia"
        raise EnvironmentBuildError(
            f"{spec.name} needs {needs}, and there is no {_TOOLS[spec.language]} on this machine. Install it."
        )
    if workshop.sandbox is not None and not workshop.sandbox.network:
        raise EnvironmentBuildError(
            f"{spec.name} is built by code that would have the network; kernels of this gateway have none "
            "(setting sandbox_network). Install its packages on the machine."
        )
    folder.mkdir(parents=True)
    return _r(spec, folder, workshop, tool) if spec.language == "r" else _julia(spec, folder, workshop, tool)


def _r(spec: EnvironmentSpec, folder: Path, workshop: Workshop, tool: str) -> tuple[dict[str, str], dict[str, str]]:
    library = folder / "library"
    library.mkdir()
    # Copies: an environment must not rest on renv's own cache, which others may clean.
    own = {"RENV_CONFIG_CACHE_SYMLINKS": "FALSE", "RENV_CONFIG_SANDBOX_ENABLED": "FALSE", "RENV_CONSENT": "TRUE"}
    workshop = replace(workshop, environ={**workshop.environ, **own})
    missing = (
        f"{spec.name} needs R's package renv on this machine. Install it: Rscript -e 'install.packages(\"renv\")'."
    )
    workshop.call(
        [tool, "--no-init-file", "--no-save", "-e", _RESTORE, str(spec.file), str(library)], {_NO_RENV: missing}
    )
    packages = {}
    for description in sorted(library.glob("*/DESCRIPTION")):
        version = re.search(r"^Version:[ \t]*(\S+)", description.read_text("utf-8", "replace"), re.MULTILINE)
        if version is not None:
            packages[description.parent.name] = version[1]
    return packages, {"R_LIBS": str(library)}


def _julia(spec: EnvironmentSpec, folder: Path, workshop: Workshop, tool: str) -> tuple[dict[str, str], dict[str, str]]:
    # Pkg writes into the project's folder: the lock, if there is none yet.
    for file in (spec.file, *spec.files):
        shutil.copyfile(file, folder / file.name)
    workshop.call([tool, "--startup-file=no", "--color=no", f"--project={folder}", "-e", _INSTANTIATE])
    packages: dict[str, str] = {}
    for manifest in folder.glob("*Manifest.toml"):
        content = tomllib.loads(manifest.read_text(encoding="utf-8"))
        for name, entries in content.get("deps", content).items():
            if isinstance(entries, list) and entries and isinstance(entries[0], dict) and "version" in entries[0]:
                packages[name] = str(entries[0]["version"])
    return dict(sorted(packages.items())), {"JULIA_PROJECT": str(folder)}
