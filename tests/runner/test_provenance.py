"""Where a run came from is told exactly, and nothing that should stay secret with it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernel_gateway.runner import provenance
from kernel_gateway.runner.provenance import git_state, installed_packages, jenkins_build, without_credentials


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "a.txt").write_text("one")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "remote", "add", "origin", "https://bot:t0ken@example.org/team/models.git")
    return tmp_path


def test_a_clean_checkout_is_told_without_the_credentials_of_its_remote(repository: Path) -> None:
    assert git_state(repository) == {
        "commit": git(repository, "rev-parse", "HEAD"),
        "branch": "main",
        "remote": "https://example.org/team/models.git",
        "dirty": False,
    }


def test_changed_files_make_it_dirty_and_new_results_do_not(repository: Path) -> None:
    (repository / "kernel-runs").mkdir()
    (repository / "kernel-runs" / "run.json").write_text("{}")
    state = git_state(repository / "kernel-runs")
    assert state is not None
    assert state["dirty"] is False

    (repository / "a.txt").write_text("two")
    state = git_state(repository)
    assert state is not None
    assert state["dirty"] is True


def test_a_detached_head_has_no_branch_and_a_new_repository_no_commit(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    state = git_state(repository)
    assert state is not None
    assert state["branch"] is None

    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q", "-b", "main")
    assert git_state(empty) == {"commit": None, "branch": "main", "remote": None, "dirty": False}


def test_without_a_repository_or_git_there_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    assert git_state(tmp_path / "missing") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None


def test_a_git_that_hangs_costs_a_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(provenance, "GIT_SECONDS", 0.2)

    start = time.monotonic()
    assert git_state(tmp_path) is None
    assert time.monotonic() - start < 5


def test_reading_a_repository_runs_nothing_that_it_names(repository: Path) -> None:
    git(repository, "config", "core.fsmonitor", f"touch {repository}/touched; false")

    assert git_state(repository) is not None
    assert not (repository / "touched").exists()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@host:8443/x?y=1", "https://host:8443/x?y=1"),
        ("https://t0ken@host/x", "https://host/x"),
        ("ssh://git@host:22/x", "ssh://git@host:22/x"),
        ("ssh://git:secret@host/x", "ssh://host/x"),
        ("git@host:team/x.git", "git@host:team/x.git"),
        ("/srv/git/x", "/srv/git/x"),
        ("https://a:b@[broken/x", "https://[broken/x"),
    ],
)
def test_credentials_leave_urls(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


def test_a_jenkins_build_is_told_from_its_variables() -> None:
    environ = {
        "JOB_NAME": "team/train",
        "BUILD_NUMBER": "17",
        "BUILD_URL": "https://ci.example.org/job/train/17/",
        "BUILD_TAG": "jenkins-team-train-17",
        "NODE_NAME": "gpu-1",
        "GIT_COMMIT": "0" * 40,
        "GIT_URL": "https://bot:t0ken@example.org/x.git",
        "HOME": "/home/jenkins",
    }

    assert jenkins_build(environ) == {
        "job": "team/train",
        "number": 17,
        "url": "https://ci.example.org/job/train/17/",
        "tag": "jenkins-team-train-17",
        "node": "gpu-1",
        "commit": "0" * 40,
        "remote": "https://example.org/x.git",
    }
    assert jenkins_build({"HOME": "/root"}) is None


def test_the_packages_of_this_interpreter_are_those_that_it_sees_itself() -> None:
    code = (
        "import importlib.metadata as m, json, re;"
        "found = reversed(list(m.distributions()));"
        "print(json.dumps({re.sub(r'[-_.]+', '-', d.name).lower(): d.version for d in found}))"
    )
    seen = json.loads(subprocess.check_output([sys.executable, "-I", "-c", code]))

    found = installed_packages(sys.executable)

    assert found == {**found, **seen}
    assert found["pytest"] == pytest.__version__


def test_packages_are_found_in_milliseconds() -> None:
    installed_packages(sys.executable)
    start = time.perf_counter()
    installed_packages(sys.executable)

    assert time.perf_counter() - start < 0.1


def folder(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).mkdir(parents=True)
    return path


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONNOUSERSITE", "1")
    folder(tmp_path / "base/lib/python3.11/site-packages", "Base_Lib-1.0.dist-info", "shared-1.0.dist-info")
    folder(tmp_path / "base/lib/python3.9/site-packages", "other_version-1.0.dist-info")
    folder(tmp_path / "base/lib/python3/dist-packages", "debian.package-2-py3.11.egg-info")
    python = folder(tmp_path / "base/bin") / "python3.11"
    python.parent.mkdir()
    python.write_text("")
    python.chmod(0o755)
    return python


@pytest.mark.parametrize(("system", "seen"), [("true", True), ("false", False)])
def test_an_environment_sees_the_system_only_when_it_says_so(
    base: Path, tmp_path: Path, system: str, seen: bool
) -> None:
    venv = tmp_path / "venv"
    site = folder(venv / "lib/python3.11/site-packages", "shared-2.0.dist-info", "old.egg-info")
    (site / "old.egg-info/PKG-INFO").write_text("Metadata-Version: 1.0\nName: old\nVersion: 0.3\n")
    (venv / "bin").mkdir()
    (venv / "bin/python").symlink_to(base)
    (venv / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = {system}\n")

    found = installed_packages(str(venv / "bin/python"))

    assert found == {
        **({"base-lib": "1.0", "debian-package": "2"} if seen else {}),
        "old": "0.3",
        "shared": "2.0",
    }


def test_a_plain_interpreter_behind_a_link_is_followed(base: Path, tmp_path: Path) -> None:
    folder(tmp_path / "bin")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(base)

    assert installed_packages(str(tmp_path / "bin/python3")) == {
        "base-lib": "1.0",
        "debian-package": "2",
        "shared": "1.0",
    }


def test_what_is_no_interpreter_has_no_packages() -> None:
    assert installed_packages("no-such-python") == {}
