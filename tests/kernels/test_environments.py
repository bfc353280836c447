"""Environments are built for real, once, by whoever asks first, and leave nothing when they fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernel_gateway.errors import EnvironmentBuildError, UsageError
from kernel_gateway.kernels.environments import build
from kernel_gateway.kernels.environments.build import Environment, build_environment
from kernel_gateway.kernels.environments.cache import Cache
from kernel_gateway.kernels.environments.package_indexes import pip_settings, uv_index_environment
from kernel_gateway.kernels.environments.spec import read_spec
from kernel_gateway.kernels.environments.tools import run_guarded


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def ignore(line: str) -> None:
    pass


def go_on() -> None:
    pass


class Cancelled(Exception):
    """What a check raises to stop a build."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """One cache for all tests of this file, so that each environment is built once."""
    return Cache(tmp_path_factory.mktemp("cache"))


def leftovers(cache: Path) -> list[str]:
    return [entry.name for entry in cache.iterdir() if entry.is_dir()] if cache.exists() else []


def test_ten_at_once_build_once_and_the_next_finds_it_ready(tmp_path: Path, cache: Cache) -> None:
    spec = write(tmp_path, "requirements.txt", "six==1.16.0\n")
    lines: list[str] = []

    with ThreadPoolExecutor(10) as pool:
        built = list(pool.map(lambda _: build_environment(spec, cache, lines.append), range(10)))
    start = time.perf_counter()
    again = build_environment(spec, cache, lines.append)

    assert time.perf_counter() - start < 0.2
    assert built == [again] * 10
    assert sum(line.startswith("Building the environment of requirements.txt") for line in lines) == 1
    assert "Another run is building this environment; waiting for it." in lines
    assert any("six==1.16.0" in line for line in lines)
    assert again.packages["six"] == "1.16.0"
    assert "ipykernel" in again.packages
    code = "import six, ipykernel, json; print(json.dumps([six.__version__, six.__cached__]))"
    version, compiled = json.loads(subprocess.check_output([again.folder / "bin" / "python", "-c", code]))
    assert version == "1.16.0"
    assert Path(compiled).exists()


def test_an_environment_whose_interpreter_is_gone_is_built_anew(tmp_path: Path, cache: Cache) -> None:
    spec = write(tmp_path, "requirements.txt", "six==1.16.0\n")
    first = build_environment(spec, cache, ignore)
    python = first.folder / "bin" / "python"
    python.unlink()

    assert build_environment(spec, cache, ignore) == first
    assert python.exists()


def test_a_half_built_environment_is_replaced(tmp_path: Path, cache: Cache) -> None:
    spec = write(tmp_path, "requirements.txt", "six==1.16.0\n")
    first = build_environment(spec, cache, ignore)
    (first.folder / ".complete").unlink()
    write(first.folder, "rubbish", "")

    build_environment(spec, cache, ignore)

    assert not (first.folder / "rubbish").exists()


def test_a_requirement_that_does_not_exist_gets_the_resolvers_words(tmp_path: Path) -> None:
    spec = write(tmp_path, "requirements.txt", "six==999.0\n")

    with pytest.raises(EnvironmentBuildError, match=r"six==999\.0") as caught:
        build_environment(spec, Cache(tmp_path / "cache"), ignore)

    assert "requirements.txt can't be built" in str(caught.value)
    assert leftovers(tmp_path / "cache") == []


def test_a_pyproject_and_a_conda_file_that_needs_only_pip_work(tmp_path: Path, cache: Cache) -> None:
    major, minor = sys.version_info[:2]
    project = write(
        tmp_path,
        "pyproject.toml",
        f'[project]\nname="x"\nrequires-python=">={major}.{minor}"\ndependencies=["six==1.16.0"]\n',
    )
    conda = write(
        tmp_path,
        "environment.yml",
        f"channels: [conda-forge]\ndependencies:\n- python={major}.{minor}\n- pip\n- pip:\n  - -r more.txt\n",
    )
    write(tmp_path, "more.txt", "six==1.16.0\n")

    for spec in (project, conda):
        assert build_environment(spec, cache, ignore).packages["six"] == "1.16.0"


def test_a_local_package_is_installed_from_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "project" / "wheels" / "tiny-1.0-py3-none-any.whl"
    make_wheel(wheel)
    spec = write(tmp_path / "project", "requirements.txt", "./wheels/tiny-1.0-py3-none-any.whl\n")
    monkeypatch.chdir("/")

    assert build_environment(spec, Cache(tmp_path / "cache"), ignore).packages["tiny"] == "1.0"


def make_wheel(path: Path) -> None:
    import zipfile

    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny.py", "")
        file.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        file.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\n")


@pytest.mark.slow
def test_without_uv_pip_does_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "find_uv", lambda: None)
    spec = write(tmp_path, "requirements.txt", "six==1.16.0\n")

    built = build_environment(spec, Cache(tmp_path / "cache"), ignore)

    assert built.packages["six"] == "1.16.0"
    assert "ipykernel" in built.packages


# -- ends --------------------------------------------------------------------------------------------


def running(mark: str) -> bool:
    """Whether a process with `mark` in its arguments is alive."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if mark in (entry / "cmdline").read_text() and "Z" not in (entry / "stat").read_text().split()[2]:
                    return True
            except OSError:
                continue
    return False


def gone(mark: str) -> bool:
    deadline = time.monotonic() + 5
    while running(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not running(mark)


def test_an_error_on_the_way_kills_what_was_started_also_in_other_sessions(tmp_path: Path) -> None:
    mark = str(90_000 + os.getpid() / 1e6)

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_guarded(
            ["sh", "-c", f"setsid sleep {mark} & echo x; sleep {mark}"], dict(os.environ), tmp_path, stop, go_on
        )

    assert gone(f"sleep\0{mark}")


def test_a_cancelled_build_stops_soon_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = str(91_000 + os.getpid() / 1e6)
    uv = write(tmp_path, "bin/uv", f"#!/bin/sh\nmkdir -p half; exec sleep {mark}\n")
    uv.chmod(0o755)
    monkeypatch.setattr(build, "find_uv", lambda: str(uv))
    asked = threading.Event()
    threading.Timer(0.5, asked.set).start()

    def check() -> None:
        if asked.is_set():
            raise Cancelled

    start = time.monotonic()
    with pytest.raises(Cancelled):
        build_environment(write(tmp_path, "requirements.txt", "six\n"), Cache(tmp_path / "cache"), ignore, check)

    assert time.monotonic() - start < 5
    assert gone(f"sleep\0{mark}")
    assert leftovers(tmp_path / "cache") == []


def test_a_build_dies_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    mark = str(92_000 + os.getpid() / 1e6)
    code = (
        "import os; from pathlib import Path; from kernel_gateway.kernels.environments.tools import run_guarded;"
        f"run_guarded(['sleep', '{mark}'], dict(os.environ), Path('/'), print, lambda: None)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        deadline = time.monotonic() + 10
        while not running(f"sleep\0{mark}") and time.monotonic() < deadline:
            time.sleep(0.02)
        assert running(f"sleep\0{mark}")
        process.send_signal(signal.SIGKILL)

    assert gone(f"sleep\0{mark}")


def test_a_command_tells_its_lines_and_its_exit_code(tmp_path: Path) -> None:
    lines: list[str] = []

    code = run_guarded(
        ["sh", "-c", "echo a; echo b >&2; printf c; exit 7"], dict(os.environ), tmp_path, lines.append, go_on
    )

    assert code == 7
    assert lines == ["a", "b", "c"]
    with pytest.raises(EnvironmentBuildError, match="can't be executed"):
        run_guarded([str(tmp_path / "missing")], dict(os.environ), tmp_path, ignore, go_on)


# -- what is asked for -------------------------------------------------------------------------------


def test_conda_packages_without_a_conda_tool_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    spec = write(tmp_path, "environment.yml", "dependencies: [python=3.11, numpy=1.26, conda-forge::gdal]\n")

    with pytest.raises(EnvironmentBuildError, match=r"numpy=1\.26, conda-forge::gdal.*micromamba"):
        build_environment(spec, Cache(tmp_path / "cache"), ignore)


def test_a_conda_tool_is_called_for_its_packages(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    base = build_environment(write(tmp_path, "requirements.txt", "six==1.16.0\n"), cache, ignore)
    # Stands in for micromamba: notes how it was called and makes an environment that has ipykernel already.
    tool = write(
        tmp_path,
        "bin/micromamba",
        f'#!/bin/sh\necho "$@" > {tmp_path}/called\ncp -a {base.folder}/. "$4"\nrm "$4/.complete"\n',
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    spec = write(tmp_path, "environment.yml", "dependencies: [python, gdal]\nvariables: {GDAL_CACHE: 64, PATH: x}\n")

    built = build_environment(spec, Cache(tmp_path / "cache"), ignore)

    assert built.packages == base.packages
    assert built.environ({"PATH": "/bin"})["PATH"] == f"{built.folder}/bin:/bin"
    assert built.environ({})["GDAL_CACHE"] == "64"
    called = (tmp_path / "called").read_text().split()
    assert called == ["create", "--yes", "--prefix", str(built.folder), "--file", str(spec)]


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("train.py", "import six", "has no block"),
        ("pyproject.toml", "x = ", "is not TOML"),
        ("pyproject.toml", "[tool.x]", "has no \\[project\\] table"),
        ("pyproject.toml", '[project]\ndynamic = ["dependencies"]', "build backend"),
        ("environment.yml", "dependencies: [", "is not YAML"),
        ("environment.yml", "name: x", "no list of dependencies"),
        ("requirements.txt", "-r missing.txt", "missing.txt can't be read: No such file"),
        ("environment.yml", "dependencies: ['python=>=x']", "which is no version"),
    ],
)
def test_a_file_that_makes_no_sense_is_named_with_its_fault(tmp_path: Path, name: str, text: str, word: str) -> None:
    with pytest.raises(EnvironmentBuildError, match=word):
        build_environment(write(tmp_path, name, text), Cache(tmp_path / "cache"), ignore)


def test_a_file_of_no_known_format_is_bad_usage(tmp_path: Path) -> None:
    for name in ("packages.json", "Pipfile", "Manifest.toml", "pyproject.toml[a b]"):
        with pytest.raises(UsageError):
            build_environment(write(tmp_path, name, ""), Cache(tmp_path / "cache"), ignore)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildError, match=r"nothing\.txt can't be read: No such file"):
        build_environment(tmp_path / "nothing.txt", Cache(tmp_path / "cache"), ignore)


def test_the_digest_follows_all_that_a_file_refers_to(tmp_path: Path) -> None:
    spec = write(tmp_path, "requirements.txt", "-r sub/more.txt\n-c limits.txt\n./pkg\n")
    parts = [
        write(tmp_path, "sub/more.txt", "six\n-r third.txt"),
        write(tmp_path, "sub/third.txt", "idna\n"),
        write(tmp_path, "limits.txt", "six<2\n"),
        write(tmp_path, "pkg/setup.py", "import setuptools\n"),
        write(tmp_path, "uv.toml", "no-index = true\n"),
    ]
    seen = {read_spec(spec).digest}

    assert read_spec(spec).digest in seen
    for part in parts:
        part.write_text("no-index = false\n" if part.suffix == ".toml" else part.read_text() + "\nwheel\n")
        assert read_spec(spec).digest not in seen
        seen.add(read_spec(spec).digest)
    write(tmp_path, "unrelated.txt", "x")
    assert read_spec(spec).digest in seen


def test_files_that_include_each_other_end(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "-r b.txt\nsix\n")
    assert read_spec(write(tmp_path, "b.txt", "-r a.txt\n")).digest


# -- indexes -----------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """Variables of a machine on which pip was told where packages are."""
    write(
        tmp_path,
        ".config/pip/pip.conf",
        "[global]\nindex-url = https://mirror.example.org/simple\nextra-index-url =\n  https://a.example.org\n"
        "  https://b.example.org\ncert = /etc/ca.pem\n[install]\nfind-links = /opt/wheels /srv/wheels\n",
    )
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "xdg")}


def test_uv_is_told_what_pip_was_told(machine: dict[str, str]) -> None:
    told = uv_index_environment(machine, {})

    assert told["UV_DEFAULT_INDEX"] == "https://mirror.example.org/simple"
    assert told["UV_EXTRA_INDEX_URL"] == "https://a.example.org https://b.example.org"
    assert told["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert told["UV_FIND_LINKS"] == "/opt/wheels,/srv/wheels"
    assert told["SSL_CERT_FILE"] == "/etc/ca.pem"


def test_pips_variables_count_more_than_its_files(machine: dict[str, str]) -> None:
    environ = {**machine, "PIP_INDEX_URL": "https://other.example.org/simple", "PIP_NO_INDEX": "true"}

    assert pip_settings(environ)["index-url"] == "https://other.example.org/simple"
    assert uv_index_environment(environ, {})["UV_NO_INDEX"] == "1"


def test_uvs_own_configuration_is_left_alone(machine: dict[str, str], tmp_path: Path) -> None:
    assert "UV_DEFAULT_INDEX" not in uv_index_environment({**machine, "UV_INDEX": "https://own.example.org"}, {})
    assert "UV_DEFAULT_INDEX" not in uv_index_environment(machine, {"index": [{"url": "https://own.example.org"}]})
    assert "UV_DEFAULT_INDEX" not in uv_index_environment(machine, {}, has_index=True)
    assert "SSL_CERT_FILE" not in uv_index_environment({**machine, "SSL_CERT_FILE": "/own.pem"}, {})
    write(tmp_path, ".config/uv/uv.toml", '[pip]\nindex-url = "https://own.example.org"\n')
    assert "UV_DEFAULT_INDEX" not in uv_index_environment(machine, {})


def test_credentials_of_an_index_stay_out_of_log_and_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = write(tmp_path, "bin/uv", "#!/bin/sh\necho 'no https://bot:t0ken@example.org/simple'; exit 2\n")
    uv.chmod(0o755)
    monkeypatch.setattr(build, "find_uv", lambda: str(uv))
    lines: list[str] = []

    with pytest.raises(EnvironmentBuildError) as caught:
        build_environment(write(tmp_path, "requirements.txt", "six\n"), Cache(tmp_path / "cache"), lines.append)

    assert "https://****@example.org" in str(caught.value)
    assert "t0ken" not in "\n".join([*lines, str(caught.value)])


def test_an_environment_is_told_by_its_digest(tmp_path: Path, cache: Cache) -> None:
    spec = write(tmp_path, "requirements.txt", "six==1.16.0\n")

    built = build_environment(spec, cache, ignore)

    assert isinstance(built, Environment)
    assert built.digest.startswith(built.folder.name)
