"""What a package environment shall hold, read from the files in which people write that down.

`build` calls `read_spec` before it builds, the command line and the API `check_name` before they take a run.
Formats: pip's requirements files, ``pyproject.toml`` (PEP 621) with uv's lock beside it, scripts with metadata (PEP
723), conda's ``environment.yml``, R's ``renv.lock``, Julia's ``Project.toml``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from ...errors import EnvironmentBuildError, UsageError
from .requirement_files import Told, digest_of, read_text, tell, tell_file

FORMATS = "a requirements.txt, pyproject.toml, conda environment.yml, renv.lock or Julia's Project.toml"

_WITH_EXTRAS = re.compile(r"(?P<path>.*\.toml)\[(?P<extras>[^][/]*)\]", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_SCRIPT_BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(?:^#(?:| .*)$\s)+)^# ///$")


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """What to install. ``digest`` (hexadecimal) changes with anything that the files say or refer to."""

    file: Path
    digest: str
    language: str = "python"
    """Language of the kernels that it is for: ``python``, ``r`` or ``julia``."""
    python: str | None = None
    """A version or range of Python that is asked for; None for the gateway's own."""
    lines: tuple[str, ...] | None = None
    """Lines of a requirements file; None if the file itself is to be read by the installer."""
    conda: tuple[str, ...] = ()
    """Packages that only conda can install."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What kernels in it find in their environment besides."""
    has_hashes: bool = False
    has_index: bool = False
    extras: tuple[str, ...] = ()
    """Optional dependencies of a project, by the names of PEP 621."""
    groups: tuple[str, ...] = ()
    """Its dependency groups (PEP 735)."""
    locked: bool = False
    """Whether ``uv.lock`` beside the file says what to install."""
    files: tuple[Path, ...] = ()
    """Other files and folders of this machine that count, for a build elsewhere."""
    editable: tuple[Path, ...] = ()
    """Folders without which the environment is of no use any more."""

    @property
    def folder(self) -> Path:
        """Where relative paths in the file start."""
        return self.file.parent

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.file.name


def split_extras(text: str) -> tuple[str, tuple[str, ...]]:
    """``pyproject.toml[gpu,test]`` as path and names; other paths as they are. Raises `UsageError` for a bad name."""
    match = _WITH_EXTRAS.fullmatch(text)
    if match is None:
        return text, ()
    extras = tuple(part.strip() for part in match["extras"].split(","))
    for extra in extras:
        if not _NAME.fullmatch(extra):
            raise UsageError(f"--env: {extra!r} in {text} is no name of optional dependencies.", field="env")
    return match["path"], extras


def language_of(name: str) -> str | None:
    """The language whose kernels a file of this name makes an environment for; None if it is of no known format."""
    path = PurePath(split_extras(name)[0])
    if path.name == "renv.lock":
        return "r"
    if path.name in ("Project.toml", "JuliaProject.toml"):
        return "julia"
    return "python" if path.suffix in (".toml", ".yml", ".yaml", ".txt", ".in", ".py") else None


def check_name(name: str) -> None:
    """Raise `UsageError` for the name of a file that is of no known format."""
    if language_of(name) is None or PurePath(name).name == "Manifest.toml":
        raise UsageError(f"--env: {PurePath(name).name} is no environment file; give {FORMATS}.", field="env")


def check_file(name: str) -> None:
    """Raise `UsageError` for an environment file of no known format, or one that is not there."""
    check_name(name)
    path, _ = split_extras(name)
    if not Path(path).is_file():
        raise UsageError(f"--env: there is no file {path}.", field="env")


def read_spec(file: Path) -> EnvironmentSpec:
    """Read a file by its name. Raises `EnvironmentBuildError` if it can't be read or makes no sense, `UsageError` for a
    name of no known format.
    """
    check_name(str(file))
    path, extras = split_extras(str(file))
    file = Path(path).absolute()
    language = language_of(path)
    text = read_text(file)
    if language == "r":
        return _renv(file, text)
    if language == "julia":
        return _julia(file, text)
    if file.suffix == ".toml":
        from .project_files import read_pyproject

        return read_pyproject(file, text, extras)
    if file.suffix in (".yml", ".yaml"):
        from .conda_files import read_conda

        return read_conda(file, text)
    if file.suffix == ".py":
        return _script(file, text)
    told = tell_file(file)
    return _pip(file, told, "requirements", beside=uv_files(file.parent))


def read_inline(table: Mapping[str, Any], folder: Path) -> EnvironmentSpec:
    """What a program's own metadata asks for: ``dependencies`` and ``requires-python`` as in PEP 723.

    `folder` is where relative paths start. Raises `EnvironmentBuildError`.
    """
    return _inline(table, folder / "the source's metadata")


def _inline(table: Mapping[str, Any], file: Path) -> EnvironmentSpec:
    from .project_files import strings

    lines = strings(table.get("dependencies", []), f"In {file.name}, dependencies")
    python = table.get("requires-python")
    spec = _pip(file, tell(lines, file.parent), "inline", str(python), beside=uv_files(file.parent))
    return replace(spec, python=str(python) if python else None, lines=tuple(lines))


def _script(file: Path, text: str) -> EnvironmentSpec:
    import tomllib

    blocks = list(_SCRIPT_BLOCK.finditer(text.replace("\r\n", "\n")))
    if len(blocks) != 1:
        raise EnvironmentBuildError(
            f"{file.name} has {'several blocks' if blocks else 'no block'} “# /// script” that would name its packages."
        )
    content = "".join(line[2:] or "\n" for line in blocks[0]["content"].splitlines(keepends=True))
    try:
        return _inline(tomllib.loads(content), file)
    except tomllib.TOMLDecodeError as error:
        raise EnvironmentBuildError(f"The block “# /// script” of {file.name} is not TOML: {error}.") from None


def _pip(file: Path, told: Told, *parts: str, beside: tuple[Path, ...]) -> EnvironmentSpec:
    settings = json.dumps(uv_settings(file.parent), sort_keys=True, default=str)
    return EnvironmentSpec(
        file=file,
        digest=digest_of(*parts, *told.parts, settings),
        has_hashes=told.has_hashes,
        has_index=told.has_index,
        files=(*told.files, *beside),
        editable=tuple(told.editable),
    )


def uv_files(folder: Path) -> tuple[Path, ...]:
    """Files in which uv finds settings for an environment file in `folder`."""
    return tuple(
        path for name in ("uv.toml", "pyproject.toml") if (path := folder / name).is_file() and uv_settings(folder)
    )


def uv_settings(folder: Path) -> dict[str, Any]:
    """uv's own settings beside an environment file: ``uv.toml``, else ``[tool.uv]``; empty when unreadable."""
    import tomllib

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


# -- other languages ---------------------------------------------------------------------------------


def _renv(file: Path, text: str) -> EnvironmentSpec:
    try:
        packages = json.loads(text)["Packages"]
    except (ValueError, KeyError, TypeError):
        packages = None
    if not isinstance(packages, dict):
        raise EnvironmentBuildError(f"{file.name} is no lock file of renv: it has no object “Packages”.")
    return EnvironmentSpec(file=file, digest=digest_of("renv", text), language="r")


def _julia(file: Path, text: str) -> EnvironmentSpec:
    import tomllib

    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EnvironmentBuildError(f"{file} is not TOML: {error}.") from None
    manifest = file.with_name(file.name.replace("Project", "Manifest"))
    locked = manifest.is_file()
    return EnvironmentSpec(
        file=file,
        digest=digest_of("julia", text, read_text(manifest) if locked else ""),
        language="julia",
        locked=locked,
        files=(manifest,) if locked else (),
    )
