"""What a package environment shall hold, read from the files in which people write that down.

`environments` calls `read_spec` before it builds. Formats: pip's requirements files, ``pyproject.toml`` (PEP 621)
and conda's ``environment.yml``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EnvironmentBuildError

_OPTION = re.compile(r"(-r|--requirement|-c|--constraint|-e|--editable)(?:\s+|=)?\s*(\S.*)")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2")
_NOT_SOURCE = frozenset({".git", ".hg", ".venv", "venv", "__pycache__", "build", "dist", "node_modules", "kernel-runs"})
_LARGE = 1 << 20
# Names that are the same thing for conda and pip and need nothing but Python.
_PIP_TOO = frozenset({"ipykernel", "setuptools", "wheel"})


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """What to install. ``digest`` (hexadecimal) changes with anything that the files say or refer to."""

    file: Path
    digest: str
    python: str | None = None
    """A version or range of Python that is asked for; None for the gateway's own."""
    lines: tuple[str, ...] | None = None
    """Lines of a requirements file; None if the file itself is to be read by the installer."""
    conda: tuple[str, ...] = ()
    """Packages that only conda can install."""
    has_hashes: bool = False
    has_index: bool = False

    @property
    def folder(self) -> Path:
        """Where relative paths in the file start."""
        return self.file.parent


def read_spec(file: Path) -> EnvironmentSpec:
    """Read a file by its name. Raises `EnvironmentBuildError` if it can't be read or makes no sense."""
    file = file.absolute()
    try:
        content = file.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise EnvironmentBuildError(f"The environment file {file} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise EnvironmentBuildError(f"The environment file {file} is not text in UTF-8.") from None
    if file.suffix == ".toml":
        return _pyproject(file, text)
    if file.suffix in (".yml", ".yaml"):
        return _conda(file, text)
    if file.suffix in (".txt", ".in"):
        lines = list(_closure(file, set()))
        return EnvironmentSpec(
            file=file,
            digest=_digest("requirements", *_told(file, lines)),
            has_hashes=any("--hash" in line or "--require-hashes" in line for line in lines),
            has_index=any(re.match(r"(-i|--index-url|--no-index)\b", line) for line in lines),
        )
    raise EnvironmentBuildError(
        f"{file.name} is no environment file; give a requirements.txt, a pyproject.toml or a conda environment.yml."
    )


# -- requirements files ------------------------------------------------------------------------------


def _logical_lines(text: str) -> Iterator[str]:
    """Lines of a requirements file, continued ones joined, without comments and blank ones."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        if stripped := re.sub(r"(^|\s)#.*$", "", line).strip():
            yield stripped


def _closure(file: Path, seen: set[Path]) -> Iterator[str]:
    """The lines of a requirements file and of those that it includes. Raises `EnvironmentBuildError`."""
    seen.add(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise EnvironmentBuildError(f"The requirements file {file} can't be read: {reason}.") from None
    for line in _logical_lines(text):
        yield line
        option = _OPTION.fullmatch(line)
        if option and option[1] in ("-r", "--requirement", "-c", "--constraint") and "://" not in option[2]:
            inner = Path(os.path.normpath(file.parent / option[2].strip("\"'")))
            if inner not in seen:
                yield from _closure(inner, seen)


def _told(file: Path, lines: list[str]) -> Iterator[str]:
    """What lines say, for the digest: themselves, the content behind local paths, and uv's settings beside the file."""
    for line in lines:
        yield line
        option = _OPTION.fullmatch(line)
        if option is not None and option[1] in ("-e", "--editable"):
            yield from _local(file.parent, option[2], editable=True)
        elif option is None:
            yield from _local(file.parent, line.partition("@")[2] if "@" in line else line, editable=False)
    yield json.dumps(uv_settings(file.parent), sort_keys=True, default=str)


def _local(folder: Path, requirement: str, *, editable: bool) -> Iterator[str]:
    """The content of a file or folder that a requirement names; nothing for names on an index."""
    name = re.sub(r"\[[^]]*\]$", "", requirement.partition(";")[0].strip()).removeprefix("file://")
    if not ("/" in name or name.startswith(".") or name.endswith(_ARCHIVES)) or "://" in name:
        return
    path = folder / name
    if path.is_file():
        yield hashlib.sha256(path.read_bytes()).hexdigest()
    elif path.is_dir():
        # An editable package is run from its folder: only what its installation depends on counts.
        files = [path / name for name in ("pyproject.toml", "setup.py", "setup.cfg")] if editable else _sources(path)
        for source in files:
            yield from _stamp(source, path)
        if editable:
            yield str(path.resolve())


def _sources(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - _NOT_SOURCE)
        yield from (Path(root, name) for name in sorted(names) if not name.endswith((".pyc", ".pyo")))


def _stamp(file: Path, root: Path) -> Iterator[str]:
    try:
        status = file.stat()
        yield str(file.relative_to(root))
        is_large = status.st_size > _LARGE
        yield f"{status.st_size} {status.st_mtime_ns}" if is_large else hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


# -- pyproject.toml ----------------------------------------------------------------------------------


def uv_settings(folder: Path) -> dict[str, Any]:
    """uv's own settings beside an environment file: ``uv.toml``, else ``[tool.uv]``; empty when unreadable."""
    try:
        return tomllib.loads((folder / "uv.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass
    try:
        tool = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("tool")
    except (OSError, ValueError):
        return {}
    settings = tool.get("uv") if isinstance(tool, dict) else None
    return settings if isinstance(settings, dict) else {}


def _pyproject(file: Path, text: str) -> EnvironmentSpec:
    try:
        project = tomllib.loads(text).get("project")
    except tomllib.TOMLDecodeError as error:
        raise EnvironmentBuildError(f"{file} is not TOML: {error}.") from None
    if not isinstance(project, dict):
        raise EnvironmentBuildError(f"{file} has no [project] table; list the packages under project.dependencies.")
    if "dependencies" in (project.get("dynamic") or []):
        raise EnvironmentBuildError(
            f"{file} leaves its dependencies to the build backend; list them under project.dependencies, "
            "or give a requirements.txt with the line “.”."
        )
    dependencies = project.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(item, str) for item in dependencies):
        raise EnvironmentBuildError(f"In {file}, project.dependencies must be a list of strings.")
    python = project.get("requires-python")
    return EnvironmentSpec(
        file=file,
        digest=_digest("pyproject", str(python), *_told(file, dependencies)),
        python=str(python) if python else None,
        lines=tuple(dependencies),
    )


# -- conda -------------------------------------------------------------------------------------------


def _conda(file: Path, text: str) -> EnvironmentSpec:
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise EnvironmentBuildError(f"{file} is not YAML: {error}.") from None
    dependencies = content.get("dependencies") if isinstance(content, dict) else None
    if not isinstance(dependencies, list):
        raise EnvironmentBuildError(f"{file} has no list of dependencies, as a conda environment has.")
    python: str | None = None
    lines: list[str] = []
    only_conda: list[str] = []
    for item in dependencies:
        if isinstance(item, dict) and set(item) == {"pip"}:
            lines += [_absolute(str(line), file.parent) for line in item["pip"] or []]
            continue
        name, version = _conda_requirement(str(item))
        if name == "python":
            python = version or None
        elif name in _PIP_TOO:
            lines.append(name + (f"=={version}.*" if re.fullmatch(r"[\d.]+", version) else version))
        elif name != "pip":
            only_conda.append(str(item))
    included = [line for path in _included(lines) for line in _closure(path, set())]
    return EnvironmentSpec(
        file=file,
        digest=_digest("conda", text if only_conda else str(python), *_told(file, lines + included)),
        python=python,
        lines=tuple(lines),
        conda=tuple(only_conda),
        has_hashes=any("--hash" in line for line in included),
        has_index=any(re.match(r"(-i|--index-url|--no-index)\b", line) for line in lines + included),
    )


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


def _absolute(line: str, folder: Path) -> str:
    """A line of a pip section for a file elsewhere: what it includes is named from the root."""
    option = _OPTION.fullmatch(line.strip())
    if option and option[1] in ("-r", "--requirement", "-c", "--constraint") and "://" not in option[2]:
        return f"{option[1]} {os.path.normpath(folder / option[2])}"
    return line.strip()


def _included(lines: list[str]) -> Iterator[Path]:
    for line in lines:
        option = _OPTION.fullmatch(line)
        if option and option[1] in ("-r", "--requirement", "-c", "--constraint") and "://" not in option[2]:
            yield Path(option[2])
