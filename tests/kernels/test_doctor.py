"""`kernel-gateway kernels`: on real kernels, on broken ones, and its advice on recorded findings."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kernel_gateway.cli.kernels import kernels
from kernel_gateway.kernels.doctor import FORCED, INSTALL, OK, PROBES, STEPS, Checkup, advice, table
from kernel_gateway.kernels.guard import descendants

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(kernels, arguments)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that installs a kernelspec for this test."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))

    def add(name: str, *argv: str, language: str = "python", **more: Any) -> str:
        folder = tmp_path / "kernels" / name
        folder.mkdir(parents=True)
        spec = {"argv": [*argv], "display_name": name.title(), "language": language, **more}
        (folder / "kernel.json").write_text(json.dumps(spec))
        return name

    return add


@pytest.mark.parametrize("name", ["python3", "ir", "bash", "octave", "deno", "java", "kotlin", "sql"])
def test_a_kernel_that_works_passes(require_kernel: Callable[[str], str], name: str) -> None:
    # given
    require_kernel("python3" if name == "sql" else name)
    if name == "sql":
        pytest.importorskip("sql")
    before = set(descendants(os.getpid()))

    # when
    result = call("doctor", name)

    # then
    row = next(line for line in result.stdout.splitlines() if line.startswith(name)).split()
    assert row[2].replace(".", "").isdigit()
    assert set(row[3:]) <= {"ok", "-"}, result.stdout
    assert row[-1] == "ok"
    assert ("-" in row) == (name == "sql")  # whether a query heeds an interrupt is its database's business
    assert result.exit_code == 0
    assert set(descendants(os.getpid())) <= before


def test_a_missing_program_is_named_with_the_way_to_install_it(install: Callable[..., str]) -> None:
    result = call("doctor", install("broken", "no-such-program", "{connection_file}", language="R"))

    assert result.exit_code == 1
    assert "failed" in result.stdout
    assert "no-such-program" in result.stdout
    assert INSTALL["r"] in result.stdout


def test_a_missing_module_is_named_with_its_install_command(install: Callable[..., str]) -> None:
    result = call("doctor", install("broken", sys.executable, "-m", "no_such_kernel", "-f", "{connection_file}"))

    assert result.exit_code == 1
    assert "pip install no_such_kernel" in result.stdout
    assert "Its process said:" in result.stdout


def test_a_kernel_that_never_answers_is_given_up(install: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNEL_GATEWAY_START_TIMEOUT", "1")
    before = set(descendants(os.getpid()))

    result = call("doctor", install("mute", "sleep", "600", language="cobol"))

    assert result.exit_code == 1
    assert "did not answer within 1 s" in result.stdout
    assert set(descendants(os.getpid())) <= before


def test_a_language_without_probes_is_started_and_stopped_and_that_is_said(
    require_kernel: Callable[[str], str], install: Callable[..., str]
) -> None:
    require_kernel("python3")
    argv = (sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")

    result = call("doctor", install("exotic", *argv, language="cobol"))

    assert result.exit_code == 0
    assert "The doctor knows no cobol: only start and stop were tried." in result.stdout


def test_one_broken_kernel_among_good_ones_fails_the_command(
    require_kernel: Callable[[str], str], install: Callable[..., str]
) -> None:
    require_kernel("python3")

    result = call("doctor", "python3", install("broken", "no-such-program"))

    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()[:3]] == ["kernel", "python3", "broken"]


def test_an_unknown_name_is_refused_before_anything_starts() -> None:
    result = call("doctor", "no-such-kernel")

    assert result.exit_code == 2
    assert "No kernelspec 'no-such-kernel' is installed" in result.stderr


def test_list_shows_every_kernel_with_its_command(
    require_kernel: Callable[[str], str], install: Callable[..., str]
) -> None:
    require_kernel("python3")
    install("elsewhere", "run-it", metadata={"kernel_provisioner": {"provisioner_name": "local-provisioner"}})

    lines = call("list").stdout.splitlines()

    assert lines[0].split() == ["name", "language", "display", "name", "transport", "command"]
    assert any(line.startswith("python3 ") and "ipykernel" in line and " ipc " in line for line in lines)
    assert next(line for line in lines if line.startswith("elsewhere")).split()[-2:] == ["local-provisioner", "run-it"]


@pytest.mark.parametrize("command", [(), ("list",), ("doctor",)])
def test_help_shows_an_example(command: tuple[str, ...]) -> None:
    text = call(*command, "--help").stdout

    assert "Example" in text
    assert "kernel-gateway kernels" in text


def test_every_language_with_probes_can_be_installed_by_advice() -> None:
    assert set(INSTALL) == set(PROBES)


def test_a_kernel_killed_at_its_end_works_all_the_same() -> None:
    checkup = Checkup("k", "python", start=1.0, steps=dict.fromkeys(STEPS, OK) | {"stop": FORCED})

    assert checkup.works


def test_octave_without_a_plotting_program_is_told_what_to_install() -> None:
    steps = dict.fromkeys(STEPS, OK) | {"display": "fails"}

    assert any("gnuplot" in line for line in advice(Checkup("octave", "octave", start=1.0, steps=steps)))


def test_a_kernel_that_works_gets_no_advice() -> None:
    checkup = Checkup("k", "python", start=1.0, steps=dict.fromkeys(STEPS, OK), stderr="a warning")

    assert advice(checkup) == []
    assert table([checkup]).splitlines()[-1].split() == ["k", "python", "1.0", *["ok"] * len(STEPS)]
