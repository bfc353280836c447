"""conda's ``environment.yml``: what of it pip can install, and what only conda can.

Format: https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html
"""

from __future__ import annotations

import json
import re
import reprlib
from pathlib import Path
from typing import Any

from ...errors import EnvironmentBuildError
from .requirement_files import digest_of, rooted, tell
from .spec import EnvironmentSpec, uv_files, uv_settings

# Names that are the same thing for conda and pip and need nothing but Python.
_PIP_TOO = frozenset({"ipykernel", "setuptools", "wheel"})


def read_conda(file: Path, text: str) -> EnvironmentSpec:
    """A conda environment. Raises `EnvironmentBuildError`."""
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise EnvironmentBuildError(f"{file} is not YAML: {error}.") from None
    dependencies = content.get("dependencies") if isinstance(content, dict) else None
    if not isinstance(dependencies, list):
        raise EnvironmentBuildError(f"{file} has no list of dependencies, as a conda environment has.")
    python: str | None = None
    pip: list[str] = []
    lines: list[str] = []
    only_conda: list[str] = []
    for item in dependencies:
        if isinstance(item, dict) and set(item) == {"pip"} and isinstance(item["pip"], list | None):
            packages = item["pip"] or []
            if not any(isinstance(package, dict | list) for package in packages):
                pip += map(str, packages)
                continue
        if not isinstance(item, str):
            shown = reprlib.repr(item)[:200]  # in full it could be of any length
            raise EnvironmentBuildError(f"{file} has the dependency {shown}, which is no text.")
        name, version = _conda_requirement(item)
        if name == "python":
            python = version or None
        elif name in _PIP_TOO:
            lines.append(name + (f"=={version}.*" if re.fullmatch(r"[\d.]+", version) else version))
        elif name != "pip":
            only_conda.append(item)
    told = tell([*lines, *pip], file.parent)
    variables = _variables(file, content.get("variables") or {})
    settings = json.dumps(uv_settings(file.parent), sort_keys=True, default=str)
    return EnvironmentSpec(
        file=file,
        digest=digest_of(
            "conda", text if only_conda else str(python), *told.parts, json.dumps(variables, sort_keys=True), settings
        ),
        python=python,
        lines=(*lines, *(rooted(line, file.parent) for line in pip)),
        conda=tuple(only_conda),
        variables=variables,
        has_hashes=told.has_hashes,
        has_index=told.has_index,
        files=(*told.files, *uv_files(file.parent)),
        editable=tuple(told.editable),
    )


def _variables(file: Path, table: Any) -> dict[str, str]:
    """The variables that conda sets when an environment is activated."""
    if not isinstance(table, dict) or not all(
        isinstance(name, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and isinstance(value, str | int | float)
        for name, value in table.items()
    ):
        raise EnvironmentBuildError(f"In {file}, variables must be names of environment variables with their texts.")
    return {name: str(value) for name, value in table.items()}


def _conda_requirement(text: str) -> tuple[str, str]:
    """Name and version of a conda requirement: a plain version (``3.11``) for ``=3.11``, or a range as pip has it."""
    match = re.fullmatch(r"(?:[^:\s]+::)?([\w.-]+)\s*(.*)", text.strip())
    if match is None:
        return text, ""
    name, version = match[1].lower(), match[2].strip()
    exact = re.fullmatch(r"={0,2}\s*(\d+(?:\.\d+)*)(?:\.\*)?(?:=\S*)?", version)
    if exact:
        return name, f"=={exact[1]}" if version.startswith("==") and name != "python" else exact[1]
    return name, version.replace(" ", "")
