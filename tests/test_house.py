"""The house rules that a reader can't see from one file: import direction, purity, sizes, start-up, what is public."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kernel_gateway
from tests.client.gateway import ScriptedGateway

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "kernel_gateway"
MODULES = sorted(PACKAGE.rglob("*.py"))

PUBLIC_NAMES = ["GatewayClient", "__version__"]

# Imports run downwards only: a room imports from rooms with a smaller number.
LEVELS = {
    "events": 0,
    "errors": 1,
    "settings": 2,
    "kernels": 3,
    "sources": 3,
    "projections": 4,
    "tracking": 4,
    "gates": 4,
    "runner": 5,  # evaluates gates; its event log and blobs are handed in, so it needs no store
    "store": 6,
    "agents": 7,  # a runner process writes the log and the results that the store keeps
    "jenkins": 7,
    "client": 8,
    "api": 9,
    "cli": 9,
    "__main__": 10,
}
# The package's own face: `__version__` may be read from anywhere, for it imports nothing.
FACE = "__init__"

PURE_ROOMS = ("sources", "projections", "gates")
# What a pure room may not touch. Of pathlib the Pure… classes are fine: they compute with names only.
IMPURE_MODULES = {
    "asyncio",
    "glob",
    "http",
    "io.open",
    "jupyter_client",
    "multiprocessing",
    "os",
    "pathlib.Path",
    "requests",
    "shutil",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "urllib.request",
    "zmq",
}
IMPURE_METHODS = {"read_text", "read_bytes", "write_text", "write_bytes"}

LINE_LIMIT = 400

# Written in pieces, so that this file passes its own test.
REGISTRY_HOSTS = (
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry.npm" + "js.org",
    "repo.maven." + "apache.org",
    "repo1.maven." + "org",
    "cran.r-" + "project.org",
    "conda.ana" + "conda.org",
)
MACHINE_PATH = re.compile(r"(?<![\w./*$}-])/(?:root|work|Users|tmp/kg)/\w")

# Each costs tenths of a second; `kernel-gateway --help` and a run's first output would wait for it.
HEAVY_MODULES = {
    "IPython",
    "alembic",
    "duckdb",
    "flask",
    "ipykernel",
    "jenkins",
    "jenkins_jobs",
    "jsonschema",
    "jupytext",
    "matplotlib",
    "mlflow",
    "nbclient",
    "nbformat",
    "numpy",
    "pandas",
    "papermill",
    "psycopg",
    "pydantic",
    "ray",
    "requests",
    "sqlalchemy",
    "yaml",
}

# What a run on a gateway does without, from its start to its last line: each would be a part of what such a run costs.
NOT_FOR_A_REMOTE_RUN = HEAVY_MODULES | {
    "_hashlib",
    "asyncio",
    "concurrent",
    "ctypes",
    "email",
    "http",
    "importlib.metadata",
    "importlib.resources",
    "jupyter_client",
    "kernel_gateway.agents",
    "kernel_gateway.api",
    "kernel_gateway.kernels",
    "kernel_gateway.runner.run",
    "kernel_gateway.sources",
    "logging",
    "markdown_it",
    "nh3",
    "random",
    "shutil",
    "ssl",
    "subprocess",
    "tempfile",
    "traitlets",
    "urllib.request",
    "urllib3",
    "zmq",
}


def room_of(path: Path) -> str:
    """The room a module belongs to: its folder below the package, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of all that a module imports, inside functions too."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{origin}.{alias.name}"


def rooms_imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and room of each import from this package."""
    for line, name in imported_names(path):
        parts = name.split(".")
        if parts[0] != "kernel_gateway" or len(parts) < 2:
            continue
        yield line, parts[1] if parts[1] in LEVELS else FACE


def test_every_room_has_its_place_in_the_import_order() -> None:
    unknown = {room_of(path) for path in MODULES} - LEVELS.keys() - {FACE}

    assert not unknown, f"add these to LEVELS, where DESIGN section 7 puts them: {sorted(unknown)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards_only(path: Path) -> None:
    room = room_of(path)
    if room == FACE:
        pytest.skip("the package's face imports by name, at first use")

    upwards = [
        f"line {line}: {room} imports {other}"
        for line, other in rooms_imported(path)
        if other != room and other != FACE and LEVELS[other] >= LEVELS[room]
    ]

    assert not upwards, "\n".join(upwards)


def test_the_import_check_sees_relative_absolute_and_nested_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "kernel_gateway")
    module = tmp_path / "kernel_gateway" / "sources" / "reader.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "from ..store.log import EventLog\nfrom .. import cli\nfrom .program import Cell\n"
        "def f():\n    import kernel_gateway.api.app\n"
    )

    assert sorted(rooms_imported(module)) == [(1, "store"), (2, "cli"), (3, "sources"), (5, "api")]


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if room_of(path) in PURE_ROOMS],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_pure_rooms_touch_no_file_socket_or_process(path: Path) -> None:
    touched = [
        f"line {line}: imports {name}"
        for line, name in imported_names(path)
        if any(name == impure or name.startswith(impure + ".") for impure in IMPURE_MODULES)
    ]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "open":
            touched.append(f"line {node.lineno}: calls open()")
        if isinstance(node.func, ast.Attribute) and node.func.attr in IMPURE_METHODS and not is_package_data(node.func):
            touched.append(f"line {node.lineno}: calls {node.func.attr}()")

    assert not touched, "\n".join(touched)


def is_package_data(call: ast.Attribute) -> bool:
    """Whether a read goes to a file that ships with the package: `resources.files(…)…read_text()`."""
    return any(
        isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("files", "resources.files", "importlib.resources.files")
        for node in ast.walk(call.value)
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))

    assert docstring, f"{path.relative_to(ROOT)} has no docstring"


def tracked_files() -> list[Path]:
    """All files that git tracks or would track; the test needs the repository itself."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip(f"no git repository here: {listing.stderr.strip()}")
    return [path for name in sorted(set(listing.stdout.split("\0"))) if name and (path := ROOT / name).is_file()]


def test_no_python_file_is_too_long_to_read() -> None:
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in tracked_files() if path.suffix == ".py"
    }

    too_long = [f"{path.relative_to(ROOT)}: {count} lines" for path, count in lengths.items() if count > LINE_LIMIT]

    assert not too_long, f"split these at {LINE_LIMIT} lines:\n" + "\n".join(too_long)


def test_no_tracked_file_names_a_registry_host_or_a_path_of_one_machine() -> None:
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
            words = [host for host in REGISTRY_HOSTS if host in line] + MACHINE_PATH.findall(line)
            found += [f"{path.relative_to(ROOT)}:{number}: {word}" for word in words]

    assert not found, "\n".join(found)


def test_the_public_names_are_exactly_these() -> None:
    assert kernel_gateway.__all__ == PUBLIC_NAMES
    assert all(hasattr(kernel_gateway, name) for name in kernel_gateway.__all__)
    assert dir(kernel_gateway) == sorted(kernel_gateway.__all__)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = kernel_gateway.no_such_name


def test_the_installed_version_is_the_one_in_the_code() -> None:
    assert importlib.metadata.version("kernel-gateway") == kernel_gateway.__version__


def test_the_console_script_is_a_function_of_the_command_line() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="kernel-gateway")

    assert callable(script.load())


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]], ids=" ".join)
def test_the_command_starts_without_its_heavy_libraries(arguments: list[str]) -> None:
    code = (
        "import sys; from kernel_gateway.cli import cli; "
        f"cli({arguments!r}, standalone_mode=False); "
        f"print(*sorted({HEAVY_MODULES!r} & sys.modules.keys()), file=sys.stderr)"
    )

    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert loaded.stderr.split() == []


def test_a_run_on_a_gateway_starts_with_little(tmp_path: Path) -> None:
    gateway = ScriptedGateway()
    command = [sys.executable, "-X", "importtime", "-m", "kernel_gateway", "run", "-c", "print(1)"]
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}

    done = subprocess.run(
        [*command, "--gateway", gateway.url], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    gateway.stop()

    loaded = set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))
    assert (tmp_path / "kernel-runs/snippet/report/index.html").is_file()
    assert "kernel_gateway.cli.remote" in loaded
    assert loaded & NOT_FOR_A_REMOTE_RUN == set()


def test_nothing_pulls_in_the_library_that_slows_nbformat_down() -> None:
    # jsonschema uses it where it finds it, and then nbformat takes 4 to 5 s to import instead of 0.2 s.
    installed = {distribution.name for distribution in importlib.metadata.distributions()}

    assert "rfc3987-syntax" not in installed
