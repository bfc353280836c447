"""Package environments for kernels: built once for each content of an environment file, then kept.

`build_environment` is called before the first kernel starts. The work is done by uv, or by venv and pip where
there is no uv, or by a conda tool for what only conda has; below a guard, so that nothing of it outlives us.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import re
import select
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import EnvironmentBuildError
from . import guard
from .environment_specs import EnvironmentSpec, read_spec, uv_settings
from .package_indexes import uv_index_environment

POLL_SECONDS = 0.1
"""How often `check` is called while something is waited for."""

_MARKER = ".complete"
_TAIL_LINES = 100
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# They would send packages elsewhere, hide some, or leave imports uncompiled.
_UNSET = frozenset(
    {"CONDA_PREFIX", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_USER", "PYTHONDONTWRITEBYTECODE"}
    | {"PYTHONHOME", "PYTHONPATH", "UV_PYTHON", "UV_SYSTEM_PYTHON", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
)

Log = Callable[[str], None]
Check = Callable[[], None]


@dataclass(frozen=True)
class Environment:
    """A ready environment: its interpreter, what is installed (name → version), and the digest it is known by."""

    python: Path
    packages: dict[str, str]
    digest: str


def default_cache() -> Path:
    """Where environments are kept unless a setting says otherwise: below the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kernel-gateway" / "environments"


def build_environment(spec: Path, cache: Path, log: Log, check: Check | None = None) -> Environment:
    """The environment that a file asks for, with ipykernel, built below `cache` unless it is there already.

    `spec`: a requirements file, ``pyproject.toml`` or conda ``environment.yml``. `log` gets progress line by line.
    `check` is called every tenth of a second; what it raises stops the build. However a build ends early, its
    processes are killed and its files removed. Processes and threads that ask for the same environment wait for
    the first. Raises `EnvironmentBuildError` with the installer's own words.
    """
    wanted = read_spec(spec)
    digest = _digest(wanted)
    folder = cache / digest[:32]
    check = check or _nothing
    if ready := _ready(folder, digest):
        return ready
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{digest[:32]}.lock", log, check):
            ready = _ready(folder, digest)  # somebody else may have built it meanwhile
            return ready or _Build(wanted, folder, digest, log, check).run()
    except OSError as error:
        raise EnvironmentBuildError(f"The environment can't be built below {cache}: {error.strerror}.") from error


def _nothing() -> None:
    pass


def _digest(spec: EnvironmentSpec) -> str:
    """`spec`'s digest made one of the machine's kind and its Python, too: environments don't fit others."""
    import hashlib

    python = f"{platform.python_implementation()} {platform.python_version()} {sys.base_prefix} {platform.machine()}"
    return hashlib.sha256(f"1 {spec.digest} {spec.python} {python}".encode()).hexdigest()


def _ready(folder: Path, digest: str) -> Environment | None:
    python = folder / "bin" / "python"
    try:
        packages = json.loads((folder / _MARKER).read_text(encoding="utf-8"))["packages"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # The interpreter is a link to one of the system, which may be gone after an upgrade.
    return Environment(python, packages, digest) if python.exists() else None


@contextlib.contextmanager
def _locked(path: Path, log: Log, check: Check) -> Iterator[None]:
    """Hold a file lock; it goes with our process, however that ends."""
    told = False
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    log("Another run is building this environment; waiting for it.")
                    told = True
                check()
                time.sleep(POLL_SECONDS)
        yield


class _Build:
    """One build. `run` leaves either a complete environment or nothing."""

    def __init__(self, spec: EnvironmentSpec, folder: Path, digest: str, log: Log, check: Check) -> None:
        self._spec = spec
        self._folder = folder
        self._digest = digest
        self._log = log
        self._check = check
        self._python = folder / "bin" / "python"
        self._uv = _find_uv()
        self._environ = {name: value for name, value in os.environ.items() if name not in _UNSET}
        self._environ |= {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "UV_NO_PROGRESS": "1"}
        if self._uv is not None:
            self._environ |= uv_index_environment(os.environ, uv_settings(spec.folder), has_index=spec.has_index)

    def run(self) -> Environment:
        start = time.monotonic()
        self._log(f"Building the environment of {self._spec.file.name}; later runs find it ready.")
        try:
            shutil.rmtree(self._folder, ignore_errors=True)  # half-built by a process that was killed
            if self._spec.conda:
                self._conda()
            else:
                self._create()
                self._install()
            packages = self._packages()
            self._complete(packages)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._log(f"The environment with {len(packages)} packages was built in {time.monotonic() - start:.1f} s.")
        return Environment(self._python, packages, self._digest)

    def _create(self) -> None:
        wish = None if self._suits_us() else self._spec.python
        if self._uv is not None:
            self._call([self._uv, "venv", "--no-project", "--python", wish or sys.executable, str(self._folder)])
        elif wish is None:
            self._call([sys.executable, "-m", "venv", str(self._folder)])
        else:
            raise EnvironmentBuildError(
                f"{self._spec.file.name} asks for Python {wish}, and the gateway runs on {platform.python_version()}; "
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
            raise EnvironmentBuildError(
                f"{self._spec.file.name} asks for Python {wish!r}, which is no version."
            ) from None

    def _install(self) -> None:
        file = self._spec.file
        if self._spec.lines is not None:
            file = self._folder / "requirements.txt"
            file.write_text("".join(f"{line}\n" for line in self._spec.lines), encoding="utf-8")
        if self._spec.has_hashes:
            # A file with hashes allows nothing without one, so ipykernel comes after it.
            self._call([*self._installer(), "-r", str(file)])
            self._add_ipykernel()
        else:
            self._call([*self._installer(), "-r", str(file), "ipykernel"])

    def _installer(self) -> list[str]:
        if self._uv is not None:
            return [self._uv, "pip", "install", "--python", str(self._python), "--compile-bytecode"]
        return [str(self._python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]

    def _add_ipykernel(self) -> None:
        if "ipykernel" not in self._packages():
            self._call([*self._installer(), "ipykernel"])

    def _conda(self) -> None:
        tool = next((path for name in ("micromamba", "mamba", "conda") if (path := shutil.which(name))), None)
        if tool is None:
            raise EnvironmentBuildError(
                f"{self._spec.file.name} asks for packages of conda: {', '.join(self._spec.conda)}. Install "
                "micromamba, mamba or conda on this machine, or list them under “pip:” or in a requirements.txt."
            )
        command = ["create", "--yes"] if Path(tool).name == "micromamba" else ["env", "create"]
        self._call([tool, *command, "--prefix", str(self._folder), "--file", str(self._spec.file)])
        if not self._python.exists():
            raise EnvironmentBuildError(f"{self._spec.file.name} installs no Python; add python to its dependencies.")
        self._add_ipykernel()

    def _packages(self) -> dict[str, str]:
        found: dict[str, str] = {}
        path = [str(folder) for folder in self._folder.glob("lib/python*/site-packages")]
        for distribution in importlib.metadata.distributions(path=path):
            found.setdefault(re.sub(r"[-_.]+", "-", distribution.name).lower(), distribution.version)
        return dict(sorted(found.items()))

    def _complete(self, packages: dict[str, str]) -> None:
        content = {"file": self._spec.file.name, "digest": self._digest, "packages": packages}
        new = self._folder / f"{_MARKER}.new"
        new.write_text(json.dumps(content, indent=1), encoding="utf-8")
        new.replace(self._folder / _MARKER)

    def _call(self, argv: list[str]) -> None:
        """Run a command, its output to the log. Raises `EnvironmentBuildError` with its last words if it fails."""
        last: deque[str] = deque(maxlen=_TAIL_LINES)

        def tell(line: str) -> None:
            line = _CREDENTIALS.sub("****", _ANSI.sub("", line)).rstrip()
            if line:
                last.append(line)
                self._log(line)

        code = run_guarded(argv, self._environ, self._spec.folder, tell, self._check)
        if code != 0:
            words = "\n".join(last) or f"{Path(argv[0]).name} ended with exit code {code} and said nothing."
            raise EnvironmentBuildError(f"The environment of {self._spec.file.name} can't be built:\n{words}")


def _find_uv() -> str | None:
    """The uv that came with the gateway, else the one on the path."""
    own = Path(sys.executable).parent / "uv"
    return str(own) if os.access(own, os.X_OK) else shutil.which("uv")


def run_guarded(argv: list[str], environ: dict[str, str], cwd: Path, tell: Log, check: Check) -> int:
    """Run a command below a guard, which kills it and all it started when we end or raise.

    `tell` gets each line of its output, `check` is called every `POLL_SECONDS`. Returns the exit code, negative for
    a signal. Raises `EnvironmentBuildError` if it can't be executed, and what `tell` and `check` raise.
    """
    control, ours = os.pipe()
    status, theirs = os.pipe()
    # The guard removes a kernel's connection folder at its end; here there is none.
    prefix = [sys.executable, "-I", "-S", guard.__file__, str(control), str(theirs), ""]
    try:
        process = subprocess.Popen(
            [*prefix, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            cwd=cwd,
            pass_fds=(control, theirs),
            start_new_session=True,
        )
    except BaseException:
        os.close(ours)
        os.close(status)
        raise
    finally:
        os.close(control)
        os.close(theirs)
    assert process.stdout is not None
    with process, open(status, "rb") as report:
        try:
            _read_lines(process.stdout.fileno(), tell, check)
            words = report.read().decode(errors="replace")  # ends with the guard
        finally:
            os.close(ours)
            process.wait()
    if failed := re.search(r"^failed (.*)$", words, re.MULTILINE):
        raise EnvironmentBuildError(f"{argv[0]} can't be executed: {failed[1]}.")
    ended = re.search(r"^exit (-?\d+)", words, re.MULTILINE)
    return int(ended[1]) if ended else -9


def _read_lines(fd: int, tell: Log, check: Check) -> None:
    rest = b""
    while True:
        check()
        if not select.select([fd], [], [], POLL_SECONDS)[0]:
            continue
        chunk = os.read(fd, 65536)
        *lines, rest = re.split(rb"[\r\n]", rest + chunk)
        for line in lines:
            tell(line.decode(errors="replace"))
        if not chunk:
            tell(rest.decode(errors="replace"))
            return
