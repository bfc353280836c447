"""Environments are kept as long as somebody uses them, half-built ones never count, and old ones go."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.errors import EnvironmentBuildError
from kernel_gateway.kernels.environments import build
from kernel_gateway.kernels.environments.build import build_environment, digest_of
from kernel_gateway.kernels.environments.cache import DAY, Cache, Environment
from kernel_gateway.kernels.environments.spec import EnvironmentSpec, read_spec
from kernel_gateway.kernels.sandbox import Sandbox


def ignore(line: str) -> None:
    pass


def make(cache: Cache, name: str, size: int = 10, **content: object) -> Environment:
    """A complete environment of R, without a build."""
    digest = name.ljust(64, "0")
    folder = cache.place(digest)
    folder.mkdir(parents=True)
    (folder / "data").write_bytes(b"x" * size)
    known = {"file": "renv.lock", "language": "r", "packages": {"a": "1"}, "variables": {}, "needs": []}
    return cache.complete(digest, {**known, **content})


def unused_for(environment: Environment, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(environment.folder / ".complete", (then, then))


def names(cache: Cache) -> list[str]:
    return [entry.folder.name.rstrip("0") for entry in cache.entries()]


def test_an_environment_that_nobody_used_for_long_is_removed_and_one_in_use_is_not(tmp_path: Path) -> None:
    cache = Cache(tmp_path, days=30)
    for name, days in (("old", 31), ("used", 31), ("new", 1)):
        unused_for(make(cache, name), days)
    held = cache.find("used".ljust(64, "0"))
    assert held is not None
    unused_for(held, 31)

    removed = cache.prune()

    assert [entry.folder.name.rstrip("0") for entry in removed] == ["old"]
    assert sorted(names(cache)) == ["new", "used"]
    del held
    assert len(cache.prune()) == 1
    assert names(cache) == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [cache.place("new".ljust(64, "0")).name]


def test_a_run_does_not_wait_until_the_files_of_old_environments_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()
    remove = shutil.rmtree

    def slowly(folder: Path, **more: Any) -> None:
        may_go_on.wait(30)
        remove(folder, **more)

    monkeypatch.setattr(shutil, "rmtree", slowly)
    made = make(Cache(tmp_path), "old")
    unused_for(made, 31)
    del made

    assert len(Cache(tmp_path, days=30).prune(patience=0.0)) == 1

    assert names(Cache(tmp_path)) == []
    (left,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert (left / "data").exists()
    may_go_on.set()
    Cache(tmp_path).empty()  # waits; the next one takes what a process has left that ended before
    assert not left.exists()


def test_using_an_environment_keeps_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path, days=30)
    unused_for(make(cache, "a"), 31)

    assert cache.find("a".ljust(64, "0")) is not None

    assert cache.prune() == []


def test_over_the_size_the_least_recently_used_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path, days=0, gigabytes=2500 / (1 << 30))
    for name, days in (("a", 3), ("b", 2), ("c", 1)):
        unused_for(make(cache, name, 1000), days)

    cache.prune()

    assert names(cache) == ["b", "c"]


def test_without_limits_everything_is_kept_until_asked_for(tmp_path: Path) -> None:
    cache = Cache(tmp_path, days=0)
    unused_for(make(cache, "a"), 1000)

    assert cache.prune() == []
    assert len(cache.prune(days=999)) == 1


def test_what_was_never_finished_is_removed_unless_somebody_is_at_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for name in ("half", "building"):
        (cache.place(name.ljust(64, "0")) / "bin").mkdir(parents=True)
        assert cache.find(name.ljust(64, "0")) is None

    with cache.locked("building".ljust(64, "0"), ignore, lambda: None):
        cache.prune()

    assert names(cache) == ["building"]


def test_what_was_finished_while_others_tidied_up_stays_with_its_user(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    digest = "new".ljust(64, "0")
    cache.place(digest).mkdir()
    (listed,) = cache.entries()
    assert not listed.complete
    made = {"file": "renv.lock", "language": "r", "packages": {}, "variables": {}, "needs": []}
    held = cache.complete(digest, made)

    assert not cache._remove(listed)
    assert held.folder.is_dir()
    del held
    assert cache._remove(listed)


def test_an_environment_whose_editable_package_is_gone_is_neither_used_nor_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    package = tmp_path / "package"
    package.mkdir()
    make(cache, "a", needs=[str(package)])
    assert cache.find("a".ljust(64, "0")) is not None

    package.rmdir()

    assert cache.find("a".ljust(64, "0")) is None
    assert len(cache.prune()) == 1


# -- a builder that is killed ------------------------------------------------------------------------

SCRIPT = """\
import sys
from pathlib import Path
from kernel_gateway.kernels.environments import build
from kernel_gateway.kernels.environments.cache import Cache
build.find_uv = lambda: sys.argv[3]
build.build_environment(Path(sys.argv[1]), Cache(Path(sys.argv[2])), lambda line: print(line, flush=True))
"""


@pytest.fixture
def slow_uv(tmp_path: Path) -> Path:
    """Stands in for uv: begins an environment, then takes its time, in a process that left its session."""
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(
        "#!/bin/sh\n"
        'eval folder=\\${$#}; mkdir -p "$folder/bin"; echo begun\n'
        "exec setsid sh -c \"while :; do echo x >> '$folder/rubbish'; sleep 0.01; done\"\n"
    )
    uv.chmod(0o755)
    return uv


def test_a_builder_killed_in_the_middle_leaves_nothing_that_counts_and_blocks_nobody(
    tmp_path: Path, slow_uv: Path
) -> None:
    spec, cache = tmp_path / "requirements.txt", Cache(tmp_path / "cache")
    spec.write_text("six==1.16.0\n")
    command = [sys.executable, "-c", SCRIPT, str(spec), str(cache.folder), str(slow_uv)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert any(line == "begun\n" for line in builder.stdout)
        (half,) = cache.entries()
        assert not half.complete
        builder.send_signal(signal.SIGKILL)

    start = time.monotonic()
    built = build_environment(spec, cache, ignore)

    assert time.monotonic() - start < 60  # nobody waits for the dead
    assert built.folder == half.folder
    assert built.packages["six"] == "1.16.0"
    assert not (built.folder / "rubbish").exists()


def test_a_waiter_can_be_cancelled_and_says_what_it_waits_for(tmp_path: Path) -> None:
    spec, cache = tmp_path / "requirements.txt", Cache(tmp_path / "cache")
    spec.write_text("six==1.16.0\n")
    wanted = read_spec(spec)
    cache.folder.mkdir()
    lines: list[str] = []

    class Cancelled(Exception):
        pass

    def check() -> None:
        if lines:
            raise Cancelled

    with cache.locked(digest_of(wanted, os.environ), ignore, lambda: None), pytest.raises(Cancelled):
        build_environment(spec, cache, lines.append, check)

    assert lines == ["Another run is building this environment; waiting for it."]


# -- where kernels have no network --------------------------------------------------------------------


@pytest.mark.usefixtures("require_sandbox")
def test_without_a_network_for_kernels_nothing_is_built_from_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text("#!/bin/sh\necho no_build=$UV_NO_BUILD\nexit 2\n")
    uv.chmod(0o755)
    monkeypatch.setattr(build, "find_uv", lambda: str(uv))
    sandbox = Sandbox(tmp_path / "hidden", (), network=False)
    cases = {
        "requirements.txt": ("six\n", "no_build=1"),
        "environment.yml": ("dependencies: [gdal]\n", "sandbox_network"),
        "renv.lock": ('{"Packages": {}}', "sandbox_network|no Rscript"),
    }
    for name, (text, word) in cases.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(EnvironmentBuildError, match=word):
            build_environment(tmp_path / name, Cache(tmp_path / "cache"), ignore, sandbox=sandbox)


# -- what tells environments apart -------------------------------------------------------------------


def test_another_index_makes_another_environment_but_other_credentials_do_not(tmp_path: Path) -> None:
    spec = EnvironmentSpec(file=tmp_path / "requirements.txt", digest="d")

    def digest(**environ: str) -> str:
        return digest_of(spec, {"PIP_CONFIG_FILE": os.devnull, **environ})

    one = digest(UV_INDEX_URL="https://a:secret@one.example.org/simple")
    assert digest(UV_INDEX_URL="https://b:other@one.example.org/simple") == one
    assert digest(UV_INDEX_URL="https://two.example.org/simple") != one
    assert digest(PIP_INDEX_URL="https://two.example.org/simple") not in (one, digest())
    assert digest(SOMETHING="else") == digest()
