"""Package environments for kernels: built once for each content of an environment file, then kept.

`build_environment` is called before the first kernel starts. The work is done by uv, or by venv and pip where there is
no uv, by a conda tool for what only conda has, by renv and Pkg for R and Julia (`languages`); below a
guard, so that nothing of it outlives us, and in the sandbox where kernels are in one: a build runs code of packages.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...errors import EnvironmentBuildError
from ...settings import PREFIX
from ..sandbox import Sandbox
from .cache import Cache, Check, Environment, Log
from .package_indexes import index_settings, uv_index_environment
from .spec import EnvironmentSpec, read_spec, uv_settings
from .tools import Workshop, find_conda, find_uv, mask_credentials

__all__ = ["Cache", "Environment", "build_environment"]

IPYKERNEL = "ipykernel>=6.29,<8"
"""What is added where a file does not ask for ipykernel: the versions that kernels of this gateway were tried with."""

REMOVAL_SECONDS = 5.0
"""How long a build that failed or was cancelled waits until its files are removed: a disk may be full of them."""

# They would send packages elsewhere, hide some, or leave imports uncompiled.
_UNSET = frozenset(
    {"CONDA_PREFIX", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_USER", "PYTHONDONTWRITEBYTECODE"}
    | {"PYTHONHOME", "PYTHONPATH", "UV_PYTHON", "UV_SYSTEM_PYTHON", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
    | {"UV_NO_BINARY_PACKAGE", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT", "UV_TARGET", "UV_WORKING_DIRECTORY"}
)


def build_environment(
    spec: Path | EnvironmentSpec,
    cache: Cache,
    log: Log,
    check: Check | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    sandbox: Sandbox | None = None,
) -> Environment:
    """The environment that a file asks for, built below `cache` unless it is there. One for Python gets ipykernel.

    `spec`: a file of a known format, or one that was read. `log` gets progress line by line. `check` is called every
    tenth of a second; what it raises stops the build. `environ` is what the installer finds in its environment,
    `sandbox` what it runs in. However a build ends early, its processes are killed and its files removed. Processes and
    threads that ask for the same environment wait for the first. Raises `EnvironmentBuildError` with the installer's
    own words, and `UsageError` for a file of no known format.
    """
    wanted = spec if isinstance(spec, EnvironmentSpec) else read_spec(spec)
    environ = {name: value for name, value in environ.items() if name not in _UNSET and not name.startswith(PREFIX)}
    digest = digest_of(wanted, environ)
    check = check or _nothing
    if ready := cache.find(digest):
        return ready
    try:
        cache.folder.mkdir(parents=True, exist_ok=True)
        with cache.locked(digest, log, check) as keep:
            if ready := cache.find(digest):  # somebody else has built it meanwhile
                return ready
            workshop = Workshop(
                name=wanted.name,
                cwd=wanted.folder,
                environ=environ | {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "UV_NO_PROGRESS": "1"},
                cache=cache.folder,
                log=log,
                check=check,
                keep=keep,
                sandbox=sandbox,
            )
            built = _build(wanted, cache, digest, workshop)
        cache.prune(patience=0.0)
        return built
    except OSError as error:
        raise EnvironmentBuildError(
            f"The environment can't be built below {cache.folder}: {error.strerror}."
        ) from error


def _nothing() -> None:
    pass


def digest_of(spec: EnvironmentSpec, environ: Mapping[str, str]) -> str:
    """`spec`'s digest made one of the machine's kind, its interpreter and where packages come from."""
    if spec.language == "python":
        python = f"{platform.python_implementation()} {platform.python_version()} {sys.base_prefix}"
        told = [python, str(spec.python), IPYKERNEL, json.dumps(index_settings(environ), sort_keys=True)]
    else:
        from .languages import identity

        told = identity(spec.language)
    # Who has fresh credentials for the same index needs no other environment.
    text = mask_credentials("\n".join(["2", spec.digest, platform.machine(), *told]))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _build(spec: EnvironmentSpec, cache: Cache, digest: str, workshop: Workshop) -> Environment:
    """Build an environment; leaves either a complete one or nothing."""
    start = time.monotonic()
    folder = cache.place(digest)
    workshop.log(f"Building the environment of {spec.name}; later runs find it ready.")
    variables: dict[str, str] = {}
    try:
        cache.discard(folder)  # half-built by a process that was killed
        if spec.language == "python":
            packages = _PythonBuild(spec, folder, workshop).run()
            own = {"PATH": str(folder / "bin"), "CONDA_PREFIX" if spec.conda else "VIRTUAL_ENV": str(folder)}
            variables = {**spec.variables, **own}
        else:
            from .languages import build

            packages, variables = build(spec, folder, workshop)
        needs = [str(path) for path in spec.editable]
        content = {"file": spec.name, "language": spec.language, "packages": packages, "variables": variables}
        built = cache.complete(digest, {**content, "needs": needs})
    except BaseException:
        cache.discard(folder)
        cache.empty(REMOVAL_SECONDS)
        raise
    seconds = time.monotonic() - start
    workshop.log(f"The environment with {len(packages)} packages was built in {seconds:.1f} s.")
    return built


class _PythonBuild:
    """One build of an environment for Python."""

    def __init__(self, spec: EnvironmentSpec, folder: Path, workshop: Workshop) -> None:
        self._spec = spec
        self._folder = folder
        self._python = folder / "bin" / "python"
        self._uv = find_uv()
        environ = dict(workshop.environ)
        if self._uv is not None:
            environ |= uv_index_environment(environ, uv_settings(spec.folder), has_index=spec.has_index)
        if workshop.sandbox is not None and not workshop.sandbox.network:
            # Kernels have no network, and a package that is built here could use the installer's.
            environ |= {"UV_NO_BUILD": "1", "PIP_ONLY_BINARY": ":all:"}
            if spec.conda:
                raise EnvironmentBuildError(
                    f"{spec.name} asks for packages of conda, which run scripts with the network; kernels of this "
                    "gateway have none (setting sandbox_network)."
                )
        self._workshop = replace(workshop, environ=environ)

    def run(self) -> dict[str, str]:
        """Build; returns what is installed."""
        if self._spec.conda:
            self._conda()
        else:
            self._create()
            self._install()
        self._add_ipykernel()
        return self._packages()

    def _create(self) -> None:
        wish = None if self._suits_us() else self._spec.python
        if self._uv is not None:
            self._call([self._uv, "venv", "--no-project", "--python", wish or sys.executable, str(self._folder)])
        elif wish is None:
            self._call([sys.executable, "-m", "venv", str(self._folder)])
        else:
            raise EnvironmentBuildError(
                f"{self._spec.name} asks for Python {wish}, and the gateway runs on {platform.python_version()}; "
                "install uv on this machine, which brings other versions, or change the file."
            )

    def _suits_us(self) -> bool:
        """Whether our own Python is one that the file asks for."""
        if self._spec.python is None:
            return True
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        wish = self._spec.python
        try:
            return SpecifierSet(f"=={wish}.*" if wish[0].isdigit() else wish).contains(platform.python_version())
        except InvalidSpecifier:
            raise EnvironmentBuildError(f"{self._spec.name} asks for Python {wish!r}, which is no version.") from None

    def _install(self) -> None:
        # ipykernel comes after what allows nothing without a hash, and after what is locked.
        ipykernel = [] if self._spec.has_hashes else [IPYKERNEL]
        self._call([*self._installer(), *self._requirements(), *ipykernel])

    def _requirements(self) -> list[str]:
        """The installer's arguments that say what to install."""
        spec = self._spec
        lines = spec.lines
        if spec.locked and self._uv is not None:
            return ["-r", str(self._exported(self._uv))]
        if lines is None and spec.file.name == "pyproject.toml":
            if self._uv is None:
                raise EnvironmentBuildError(f"{spec.name} needs uv, for its lock or its sources; install uv here.")
            extras = [word for name in spec.extras for word in ("--extra", name)]
            return ["-r", str(spec.file), *extras, *(word for name in spec.groups for word in ("--group", name))]
        if lines is None:
            return ["-r", str(spec.file)]
        file = self._folder / "requirements.txt"
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return ["-r", str(file)]

    def _exported(self, uv: str) -> Path:
        """What ``uv.lock`` says, as requirements with hashes."""
        file = self._folder / "requirements.txt"
        command = [uv, "export", "--quiet", "--frozen", "--no-emit-project", "--no-default-groups", "--no-header"]
        command += [word for name in self._spec.extras for word in ("--extra", name)]
        command += [word for name in self._spec.groups for word in ("--group", name)]
        self._call([*command, "--python", str(self._python), "--output-file", str(file)])
        return file

    def _installer(self) -> list[str]:
        if self._uv is not None:
            return [self._uv, "pip", "install", "--python", str(self._python), "--compile-bytecode"]
        return [str(self._python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]

    def _add_ipykernel(self) -> None:
        from packaging.requirements import Requirement

        version = self._packages().get("ipykernel")
        if version is None:
            self._call([*self._installer(), IPYKERNEL])
        elif not Requirement(IPYKERNEL).specifier.contains(version, prereleases=True):
            raise EnvironmentBuildError(
                f"{self._spec.name} brings ipykernel {version}; kernels of this gateway need {IPYKERNEL}. Change the "
                "version there, or leave ipykernel out: it is added."
            )

    def _conda(self) -> None:
        tool = find_conda()
        if tool is None:
            raise EnvironmentBuildError(
                f"{self._spec.name} asks for packages of conda: {', '.join(self._spec.conda)}. Install "
                "micromamba, mamba or conda on this machine, or list them under “pip:” or in a requirements.txt."
            )
        command = ["create", "--yes"] if Path(tool).name == "micromamba" else ["env", "create"]
        self._call([tool, *command, "--prefix", str(self._folder), "--file", str(self._spec.file)])
        if not self._python.exists():
            raise EnvironmentBuildError(f"{self._spec.name} installs no Python; add python to its dependencies.")

    def _packages(self) -> dict[str, str]:
        found: dict[str, str] = {}
        path = [str(folder) for folder in self._folder.glob("lib/python*/site-packages")]
        for distribution in importlib.metadata.distributions(path=path):
            found.setdefault(re.sub(r"[-_.]+", "-", distribution.name).lower(), distribution.version)
        return dict(sorted(found.items()))

    def _call(self, argv: list[str]) -> None:
        self._workshop.call(argv)
