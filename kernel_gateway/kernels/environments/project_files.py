"""``pyproject.toml`` (PEP 621, PEP 735) as an environment, with uv's lock file where there is one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import EnvironmentBuildError
from .requirement_files import Told, digest_of, read_text, tell, tell_local
from .spec import EnvironmentSpec, uv_settings

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_CHANGES = frozenset({"override-dependencies", "exclude-dependencies", "conflicts"})


def read_pyproject(file: Path, text: str, extras: tuple[str, ...]) -> EnvironmentSpec:
    """The dependencies of a project, and those of `extras`: names of optional dependencies or dependency groups.

    The project itself is not installed. Raises `EnvironmentBuildError`.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EnvironmentBuildError(f"{file} is not TOML: {error}.") from None
    project = content.get("project")
    if not isinstance(project, dict):
        raise EnvironmentBuildError(f"{file} has no [project] table; list the packages under project.dependencies.")
    if "dependencies" in strings(project.get("dynamic", []), f"In {file}, project.dynamic"):
        raise EnvironmentBuildError(
            f"{file} leaves its dependencies to the build backend; list them under project.dependencies, "
            "or give a requirements.txt with the line “.”."
        )
    lines = strings(project.get("dependencies", []), f"In {file}, project.dependencies")
    optional = _normal(project.get("optional-dependencies"))
    groups = _normal(content.get("dependency-groups"))
    chosen: dict[str, list[str]] = {"extras": [], "groups": []}
    for extra in extras:
        name = _normal_name(extra)
        if name in optional:
            chosen["extras"].append(extra)
            lines += _extra(file, optional, _normal_name(str(project.get("name"))), name, ())
        elif name in groups:
            chosen["groups"].append(extra)
            lines += _group(file, groups, name, ())
        else:
            known = ", ".join([*optional, *groups]) or "none"
            raise EnvironmentBuildError(f"{file.name} has no optional dependencies {extra!r}. There are: {known}.")
    python = project.get("requires-python")
    told = tell(lines, file.parent)
    _check_lock(file, lines)
    told.parts += ["extras", *chosen["extras"], "groups", *chosen["groups"]]
    spec = _spec(file, told, str(python) if python else None, tuple(chosen["extras"]), tuple(chosen["groups"]))
    return spec if spec.locked or _sources(file.parent) else replace(spec, lines=tuple(lines))


def _spec(
    file: Path, told: Told, python: str | None, extras: tuple[str, ...], groups: tuple[str, ...]
) -> EnvironmentSpec:
    """The environment, what uv is told besides included: its settings, sources and lock."""
    folder = file.parent
    settings = uv_settings(folder)
    lock = folder / "uv.lock"
    locked = lock.is_file() and file.name == "pyproject.toml"
    files = [path for path in (folder / "uv.toml",) if path.is_file()]
    if locked:
        text = read_text(lock)
        told.parts += ["uv.lock", text]
        files.append(lock)
        _tell_locked(told, folder, text)
    for source in _sources(folder):
        if isinstance(path := source.get("path"), str):
            tell_local(told, folder, os.path.join(".", path), editable=bool(source.get("editable")))
    return EnvironmentSpec(
        file=file,
        digest=digest_of("pyproject", str(python), *told.parts, json.dumps(settings, sort_keys=True, default=str)),
        python=python,
        has_hashes=locked,
        has_index=told.has_index,
        extras=extras,
        groups=groups,
        locked=locked,
        files=(*told.files, *files),
        editable=tuple(told.editable),
    )


def _sources(folder: Path) -> list[Mapping[str, Any]]:
    """The entries of ``[tool.uv.sources]``: packages that come from elsewhere than an index."""
    found = uv_settings(folder).get("sources")
    entries = list(found.values()) if isinstance(found, dict) else []
    flat = [item for entry in entries for item in (entry if isinstance(entry, list) else [entry])]
    return [item for item in flat if isinstance(item, dict)]


def _locked_packages(lock: Path, text: str) -> list[Mapping[str, Any]]:
    try:
        packages = tomllib.loads(text).get("package", [])
    except tomllib.TOMLDecodeError as error:
        raise EnvironmentBuildError(f"{lock} is not TOML: {error}. Run `uv lock`.") from None
    if not isinstance(packages, list) or not all(isinstance(package, dict) for package in packages):
        raise EnvironmentBuildError(f"{lock} is no lock file of uv: it has no list of packages. Run `uv lock`.")
    return packages


def _check_lock(file: Path, lines: Iterable[str]) -> None:
    """Raise `EnvironmentBuildError` where the lock beside a project lacks what its file asks for by now.

    The lock alone says what is installed, so a kernel would miss it only in the middle of the program.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    lock = file.with_name("uv.lock")
    # With these a lock may well differ from what the dependencies say.
    if not lock.is_file() or file.name != "pyproject.toml" or _CHANGES & uv_settings(file.parent).keys():
        return
    locked: dict[str, list[str]] = {}
    for package in _locked_packages(lock, read_text(lock)):
        locked.setdefault(_normal_name(str(package.get("name"))), []).append(str(package.get("version", "")))
    for line in lines:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue  # uv has its own words for that
        if wanted.marker is not None:
            continue  # may be for a Python that the lock leaves out
        versions = locked.get(_normal_name(wanted.name), [])
        if not versions or (all(versions) and not _allows(wanted.specifier, versions)):
            has = f"has {wanted.name} {', '.join(versions)}" if versions else "lacks that"
            raise EnvironmentBuildError(
                f"{file.name} asks for {line!r}, but the uv.lock beside it {has}. Run `uv lock`."
            )


def _allows(specifier: SpecifierSet, versions: Iterable[str]) -> bool:
    with contextlib.suppress(ValueError):  # no version: uv says so
        return any(specifier.contains(version, prereleases=True) for version in versions)
    return True


def _tell_locked(told: Told, folder: Path, text: str) -> None:
    """The packages of a lock that lie on this machine, but for the project itself."""
    for package in _locked_packages(folder / "uv.lock", text):
        source = package.get("source")
        if not isinstance(source, dict):
            continue
        for kind in ("path", "directory", "editable"):
            place = source.get(kind)
            if isinstance(place, str) and place not in (".", ""):
                tell_local(told, folder, os.path.join(".", place), editable=kind == "editable")


def _extra(file: Path, optional: Mapping[str, Any], project: str, name: str, above: tuple[str, ...]) -> list[str]:
    """The requirements of optional dependencies; ``job[gpu]`` among those of a project ``job`` stands for its own."""
    found: list[str] = []
    for line in strings(optional[name], f"In {file}, project.optional-dependencies.{name}"):
        own = re.fullmatch(r"([\w.-]+)\s*\[([^]]*)\]\s*", line)
        if own is None or _normal_name(own[1]) != project:
            found.append(line)
            continue
        for part in map(_normal_name, own[2].replace(" ", "").split(",")):
            if part in above or part == name or part not in optional:
                raise EnvironmentBuildError(f"In {file}, the optional dependencies {name!r} name {line!r}.")
            found += _extra(file, optional, project, part, (*above, name))
    return found


def _group(file: Path, groups: Mapping[str, Any], name: str, above: tuple[str, ...]) -> list[str]:
    """The requirements of a dependency group and of those that it includes."""
    if name in above or name not in groups:
        what = "includes itself" if name in above else "does not exist"
        raise EnvironmentBuildError(f"In {file}, the dependency group {name!r} {what}.")
    found: list[str] = []
    for item in groups[name] if isinstance(groups[name], list) else []:
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict) and isinstance(item.get("include-group"), str):
            found += _group(file, groups, _normal_name(item["include-group"]), (*above, name))
        else:
            raise EnvironmentBuildError(f"In {file}, the dependency group {name!r} holds what is no requirement.")
    return found


def strings(value: Any, what: str) -> list[str]:
    """A list of strings. Raises `EnvironmentBuildError` for anything else."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise EnvironmentBuildError(f"{what} must be a list of strings.")
    return list(value)


def _normal_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _normal(table: Any) -> dict[str, Any]:
    def pairs() -> Iterator[tuple[str, Any]]:
        yield from ((_normal_name(name), value) for name, value in table.items())

    return dict(pairs()) if isinstance(table, dict) else {}
