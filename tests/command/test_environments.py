"""`run --env`, and packages that a source asks for itself: built, told, cut off in time, and never with secrets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.local_package import write_package

from .conftest import Run, Start


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One cache for the tests of this file, so that each environment is built once."""
    return {"KERNEL_GATEWAY_ENV_CACHE": str(tmp_path_factory.mktemp("environments"))}


SEEN = """\
import six, subprocess, sys
prefix = subprocess.getoutput("python -c 'import sys; print(sys.prefix)'")
print(six.__version__, prefix == sys.prefix)"""


def messages(run: object) -> str:
    return "\n".join(event["message"] for event in run.of("log"))  # type: ignore[attr-defined]


def test_a_notebook_brings_its_packages_as_juv_writes_them(
    run: Run, notebook: Callable[..., str], cache: dict[str, str]
) -> None:
    block = '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["six==1.16.0"]\n# ///'

    finished = run(notebook(block, SEEN), env=cache)

    finished.assert_results("succeeded", 0)
    assert finished.text() == "1.16.0 True\n"
    assert finished.record["packages"]["six"] == "1.16.0"
    assert "six==1.16.0" in messages(finished)
    assert "six==1.16.0" in (finished.folder / "console.log").read_text()


def test_packages_in_a_notebooks_metadata_are_the_same_and_are_found_ready(
    run: Run, notebook: Callable[..., str], cache: dict[str, str]
) -> None:
    own = {"dependencies": ["six==1.16.0"], "requires-python": ">=3.11"}

    finished = run(notebook(SEEN, kernel_gateway={"env": own}), env=cache)

    finished.assert_results("succeeded", 0)
    executed = json.loads((finished.folder / "executed.ipynb").read_text())
    assert executed["metadata"]["kernel_gateway"]["env"] == own  # it is run again with the same
    assert finished.text() == "1.16.0 True\n"
    assert finished.record["packages"]["six"] == "1.16.0"


def test_a_kernel_that_is_named_for_the_run_has_its_own_packages(
    run: Run, notebook: Callable[..., str], cache: dict[str, str]
) -> None:
    own = {"env": ["no-such-package-of-anybody"]}

    finished = run(notebook("print(1)", kernel_gateway=own), "--kernel", "python3", env=cache)

    finished.assert_results("succeeded", 0)
    assert "asks for packages of its own" in messages(finished)


def test_a_broken_requirement_fails_the_run_with_the_resolvers_words_everywhere(
    run: Run, tmp_path: Path, cache: dict[str, str]
) -> None:
    (tmp_path / "requirements.txt").write_text("six==1.15.0\n-r more.txt\n")
    (tmp_path / "more.txt").write_text("six==1.16.0\n")

    finished = run("-c", "print('ran')", "--env", "requirements.txt", env=cache)

    finished.assert_results("failed", 1)
    assert finished.text() == ""
    for text in (
        finished.record["reason"],
        finished.stdout,
        (finished.folder / "console.log").read_text(),
        (finished.folder / "junit.xml").read_text(),
    ):
        assert "six==1.15.0" in text
        assert "unsatisfiable" in text


@pytest.mark.parametrize(("name", "word"), [("missing.txt", "no file"), ("packages.json", "no environment file")])
def test_a_file_that_is_missing_or_of_no_known_format_is_bad_usage(
    run: Run, tmp_path: Path, name: str, word: str
) -> None:
    (tmp_path / "packages.json").write_text("{}")
    finished = run("-c", "print(1)", "--env", name)
    assert finished.exit_code == 2
    assert word in finished.stderr


def test_an_environment_of_another_language_than_the_kernels_is_bad_usage(
    run: Run, notebook: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "renv.lock").write_text('{"Packages": {}}')
    own = run(notebook("print(1)", kernel_gateway={"env": "renv.lock"}))
    own.assert_results("succeeded", 0)  # who reads the notebook elsewhere may have a use for it
    assert "asks for packages of R" in messages(own)
    finished = run("-c", "print(1)", "--env", "renv.lock", "--kernel", "python3")
    finished.assert_results("failed", 2)
    assert "an environment for R" in finished.record["reason"]


# -- a build that takes its time ---------------------------------------------------------------------


def processes(mark: str) -> list[str]:
    """Command lines of processes that work in, or on, a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if mark in line or process.cwd().startswith(mark):
                found.append(line)
        except psutil.Error:
            continue
    return found


def gone(mark: str) -> bool:
    deadline = time.monotonic() + 5
    while processes(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes(mark)


def slow_build(tmp_path: Path) -> dict[str, str]:
    write_package(tmp_path / "pkg", "open('begun', 'w').close(); time.sleep(300)")
    (tmp_path / "requirements.txt").write_text("./pkg\n")
    return {"KERNEL_GATEWAY_ENV_CACHE": str(tmp_path / "cache")}


def test_the_runs_limit_counts_while_its_environment_is_built(run: Run, tmp_path: Path) -> None:
    finished = run("-c", "1", "--env", "requirements.txt", "--timeout", "8", env=slow_build(tmp_path))

    finished.assert_results("timed_out", 4)
    assert gone(str(tmp_path / "pkg"))
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_a_cancel_while_the_environment_is_built_ends_it_and_leaves_no_process(start: Start, tmp_path: Path) -> None:
    running = start("-c", "1", "--env", "requirements.txt", env=slow_build(tmp_path))
    running.wait_for("Building the environment")  # live, while it is built
    deadline = time.monotonic() + 30
    while not (tmp_path / "pkg" / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.process.terminate()

    running.finish(20).assert_results("cancelled", 130)

    assert (tmp_path / "pkg" / "begun").exists()
    assert gone(str(tmp_path / "pkg"))


def test_a_build_sees_no_secret_but_those_of_installers(run: Run, tmp_path: Path) -> None:
    code = "names = [name for name in os.environ if name.startswith('KERNEL_GATEWAY')]\n"
    code += "raise SystemExit(str([os.environ.get('TOKEN'), os.environ.get('UV_EXTRA'), names]))"
    write_package(tmp_path / "pkg", code)
    (tmp_path / "requirements.txt").write_text("./pkg\n")
    env = {"KERNEL_GATEWAY_ENV_CACHE": str(tmp_path / "cache"), "TOKEN": "very-secret", "UV_EXTRA": "also-secret"}

    finished = run("-c", "1", "--env", "requirements.txt", "--secret", "TOKEN", "--secret", "UV_EXTRA", env=env)

    finished.assert_results("failed", 1)
    assert "[None, '****', []]" in finished.record["reason"]
    events = (finished.folder / "events.jsonl").read_text()
    assert "very-secret" not in events
    assert "also-secret" not in events
