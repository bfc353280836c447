"""Settings of the service that make no sense: each is refused with a sentence, wherever it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from kernel_gateway.cli.processes import Child
from kernel_gateway.cli.serve import serve
from kernel_gateway.errors import UsageError
from kernel_gateway.settings import Settings


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("slots", "0", "it must be at least 1"),
        ("slots", "1.5", "it must be a whole number"),
        ("web_workers", "0", "it must be at least 1"),
        ("web_threads", "-4", "it must be at least 1"),
        ("port", "70000", "it must be at least 0 and at most 65535"),
        ("cpus", "nan", "it must be at least 0"),
        ("drain_timeout", "inf", "it must be at least 0"),
        ("retention_interval", "0", "it must be at least 0.1"),
        ("retention_days", "-1", "it must be at least 0"),
        ("sandbox_network", "maybe", "it must be true or false"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(name: str, value: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        Settings.from_environ({f"KERNEL_GATEWAY_{name.upper()}": value})

    assert caught.value.field == name
    assert name in str(caught.value).lower()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("slots = true", "slots in {file} must be a whole number, e.g. slots = 4."),
        ("slots = 0", "The setting slots is 0; it must be at least 1."),
        ("gpus = [0, 1]", 'gpus in {file} must be a text, e.g. gpus = "0,1".'),
        ("[gpus]\nfirst = 0", "gpus in {file} must be a text"),
        ("sandbox_network = 1", "must be true or false"),
        ("cpus = nan", "The setting cpus is nan"),
        ("colour = 1", "names colour, but there is no such setting"),
        ("slots =", "can't be read"),
    ],
)
def test_a_file_of_settings_is_checked_by_its_own_types(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(content)

    done = CliRunner().invoke(serve, ["--config", str(file), "--data", str(tmp_path / "data")])

    assert done.exit_code == 2
    assert words.format(file=file) in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_process_that_can_not_be_started_is_tried_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = tmp_path / "program"
    child = Child("web server", [str(command)], {}, pause=0.0)
    child.ensure()
    assert "the web server can't be started: No such file" in capsys.readouterr().err
    command.write_text("#!/bin/sh\nexit 0\n")
    command.chmod(0o755)

    child.ensure()

    assert child.process is not None
    assert child.process.wait(10) == 0
