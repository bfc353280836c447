"""The command in odd surroundings: locales, stdin, names of files, a program that takes its output folder away."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from kernel_gateway.cli.run import _name_of
from kernel_gateway.cli.run import run as run_command
from tests.command.conftest import Run, Start

pytestmark = pytest.mark.slow


def test_a_locale_that_lacks_characters_changes_nothing(run: Run) -> None:
    finished = run("-c", "print('é ☃')", env={"PYTHONIOENCODING": "latin-1"})
    finished.assert_results("succeeded", 0)
    assert "\né ☃\n" in finished.stdout
    assert "─\nrun       snippet" in finished.stdout


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("arguments", [("-",), ("-c", "1", "--params", "-")])
def test_waiting_for_stdin_is_cancelled_at_once(start: Start, arguments: tuple[str, ...]) -> None:
    running = start(*arguments, stdin=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not catches(running.process.pid, signal.SIGTERM):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.process.terminate()
    assert running.process.wait(20) == 130  # while its stdin is open
    assert "Cancelled by SIGTERM." in running.finish().stderr


def test_stdin_can_be_given_once(run: Run) -> None:
    for arguments in (("-", "--params", "-"), ("-c", "1", "--params", "-", "--params", "-")):
        finished = run(*arguments)
        assert finished.exit_code == 2
        assert "stdin can be read once" in finished.stderr


@pytest.mark.parametrize("option", ["--timeout", "--cell-timeout", "--cpus", "--max-gpu-hours"])
def test_a_limit_that_is_no_number_is_bad_usage(option: str) -> None:
    finished = CliRunner().invoke(run_command, ["-c", "1", option, "nan"])
    assert finished.exit_code == 2
    assert f"Invalid value for '{option}': nan is not a number above 0." in finished.output


@pytest.mark.parametrize(
    ("file", "name"),
    [("a/train.ipynb", "train"), ("...py", "run"), ("a\nb.py", "a_b"), ("x\udcff.py", "x_"), ("y" * 250, "y" * 200)],
)
def test_any_file_gives_a_name_that_a_folder_may_have(file: str, name: str) -> None:
    assert _name_of(Path(file)) == name


def test_a_program_that_removes_its_output_folder_loses_no_result(run: Run, notebook: Callable[..., str]) -> None:
    finished = run(notebook("print('before')", "import shutil; shutil.rmtree('out')", "print('after')"))
    finished.assert_results("succeeded", 0)
    assert finished.text() == "before\nafter\n"
    assert "before" in (finished.folder / "console.log").read_text()
