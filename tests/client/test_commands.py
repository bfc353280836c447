"""`kernel-gateway runs` and `kernel-gateway token`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from kernel_gateway.cli import cli
from kernel_gateway.cli.token import moment
from kernel_gateway.client import ConsoleText, GatewayClient
from kernel_gateway.errors import UsageError
from kernel_gateway.store.database import open_database, sqlite_url
from kernel_gateway.store.tokens import TokenStore
from tests.client.gateway import ScriptedGateway
from tests.client.scripted_run import ScriptedRun


def run(*arguments: str, gateway: ScriptedGateway | None = None, **environ: str) -> Result:
    variables = {"KERNEL_GATEWAY_URL": gateway.url if gateway else "", "KERNEL_GATEWAY_TOKEN": "", **environ}
    return CliRunner().invoke(cli, arguments, env=variables)


def commands() -> list[list[str]]:
    found = []
    for group in ("runs", "token"):
        command = cli.get_command(click.Context(cli), group)
        assert isinstance(command, click.Group)
        found += [[group], *([group, name] for name in command.list_commands(click.Context(command)))]
    return found


@pytest.mark.parametrize("arguments", [("serve", "--port", "0"), ("token", "list")], ids=" ".join)
def test_without_the_services_packages_a_sentence_says_how_to_get_them(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "gunicorn", None)

    result = run(*arguments, "--data", str(tmp_path))

    assert result.exit_code == 2
    assert "pip install '.[service]'" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    near, far = run("rnu", "train.ipynb"), run("xyz")

    assert (near.exit_code, "No such command 'rnu'. Did you mean 'run'?" in near.stderr) == (2, True)
    assert (far.exit_code, "No such command 'xyz'.\n" in far.stderr) == (2, True)


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_help_shows_an_example(arguments: list[str]) -> None:
    result = run(*arguments, "--help")

    assert result.exit_code == 0
    assert f"Example: kernel-gateway {arguments[0]}" in " ".join(result.output.split())


# -- runs ----------------------------------------------------------------------------------------------


def test_runs_are_listed_as_a_table_or_as_json(gateway: ScriptedGateway) -> None:
    one, two = gateway.new_run({"name": "train"}), gateway.new_run({"name": "x" * 40})
    one.status = "failed"

    table = run("runs", "list", gateway=gateway).stdout.splitlines()
    lines = run("runs", "list", "--json", "--status", "failed", gateway=gateway).stdout.splitlines()

    assert table[0].split() == ["run", "name", "status", "created", "seconds", "reason"]
    assert table[1].split()[:3] == [two.id, "x" * 29 + "…", "queued"]
    assert table[2].split()[:5] == [one.id, "train", "failed", "2026-11-21", "07:30:12"]
    assert [json.loads(line)["id"] for line in lines] == [one.id]
    assert run("runs", "list", "--status", "lost", gateway=gateway).stderr == "There are no such runs.\n"


def test_one_run_is_shown_with_what_is_known_of_it(gateway: ScriptedGateway) -> None:
    one = gateway.new_run({"name": "train", "build": {"job": "train", "url": "http://jenkins/12"}})

    shown = run("runs", "show", one.id, gateway=gateway).stdout

    assert f"run         {one.id}" in shown
    assert "build       http://jenkins/12" in shown
    assert f"page        {gateway.url}/runs/{one.id}" in shown
    assert "retry of" not in shown
    assert json.loads(run("runs", "show", one.id, "--json", gateway=gateway).stdout)["id"] == one.id


def test_logs_are_the_console_as_it_is_or_until_the_end(gateway: ScriptedGateway) -> None:
    one = gateway.new_run()
    one.begin()
    one.say("line 1\n")

    def go_on() -> None:
        one.say("line 2\n")
        one.end()

    assert run("runs", "logs", one.id, gateway=gateway).stdout == "hello console\n"
    threading.Timer(0.5, go_on).start()
    followed = run("runs", "logs", "-f", one.id, gateway=gateway).stdout

    assert "line 1\nline 2\n" in followed
    assert "succeeded in 0.2 s" in followed


def test_a_long_console_is_printed_whole_although_it_comes_in_pieces(
    gateway: ScriptedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "line 1\nline 2\n"

    def piece(self: GatewayClient, id: str, start: int = 0) -> ConsoleText:
        return ConsoleText(text[start : start + 4], min(start + 4, len(text)), more=True)

    monkeypatch.setattr(GatewayClient, "console", piece)

    assert run("runs", "logs", gateway.new_run().id, gateway=gateway).stdout == text


def test_several_runs_are_cancelled_at_once(gateway: ScriptedGateway) -> None:
    one, two = gateway.new_run(), gateway.new_run()
    ScriptedRun.begin(two)
    ScriptedRun.end(two)

    result = run("runs", "cancel", one.id, two.id, gateway=gateway)

    assert result.stdout == f"{one.id}: is being cancelled\n{two.id}: has ended already: succeeded\n"
    assert one.cancelled == 1


def test_artifacts_are_listed_and_brought_back(gateway: ScriptedGateway, tmp_path: Path) -> None:
    one = gateway.new_run()
    one.artifacts = {"a/m.bin": b"model", "ä b.txt": b"text"}

    listed = run("runs", "artifacts", one.id, gateway=gateway).stdout
    brought = run("runs", "artifacts", one.id, "--output-dir", str(tmp_path / "x"), gateway=gateway)

    assert [line.split()[0] for line in listed.splitlines()] == ["path", "a/m.bin", "ä"]
    assert brought.stdout.splitlines() == [str(tmp_path / "x" / "a" / "m.bin"), str(tmp_path / "x" / "ä b.txt")]
    assert (tmp_path / "x" / "a" / "m.bin").read_bytes() == b"model"


@pytest.mark.parametrize("command", ["show", "logs", "cancel", "artifacts"])
def test_a_run_that_does_not_exist_is_exit_code_6(gateway: ScriptedGateway, command: str) -> None:
    result = run("runs", command, "20260101-000000-00000000", gateway=gateway)

    assert result.exit_code == 6
    assert result.stderr.startswith("kernel-gateway: There is no run 20260101-000000-00000000")


def test_without_a_gateway_the_command_says_how_to_name_one() -> None:
    result = run("runs", "list")

    assert result.exit_code == 2
    assert "give --gateway URL, or set KERNEL_GATEWAY_URL" in result.stderr


def test_the_token_comes_from_the_environment(gateway: ScriptedGateway) -> None:
    gateway.token = "kg_t"

    assert run("runs", "list", gateway=gateway).exit_code == 6
    assert run("runs", "list", gateway=gateway, KERNEL_GATEWAY_TOKEN="kg_t").exit_code == 0


# -- token ---------------------------------------------------------------------------------------------


def test_a_token_is_made_listed_used_and_revoked(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = run("token", "create", "jenkins", "--scope", "run", "--expires", "90d", "--data", str(data))
    plain = made.stdout.strip()
    tokens = TokenStore(open_database(sqlite_url(data / "gateway.db")))
    record = tokens.check(plain)

    assert record is not None
    assert record.allows("run")
    assert not record.allows("admin")
    assert record.expires is not None
    assert timedelta(days=89) < record.expires - datetime.now(UTC) < timedelta(days=91)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert plain not in made.stderr

    listed = run("token", "list", "--data", str(data)).stdout
    assert "jenkins" in listed
    assert "valid" in listed
    assert plain not in listed

    assert run("token", "revoke", "jenkins", KERNEL_GATEWAY_DATA=str(data)).exit_code == 0
    assert tokens.check(plain) is None
    (line,) = run("token", "list", "--json", "--data", str(data)).stdout.splitlines()
    assert json.loads(line)["state"] == "revoked"


def test_mistakes_with_tokens_are_sentences(tmp_path: Path) -> None:
    data = str(tmp_path)
    file = tmp_path / "file"
    file.write_text("")

    again = [run("token", "create", "a", "--data", data) for _ in range(2)][1]
    unknown = run("token", "revoke", "b", "--data", data)
    past = run("token", "create", "c", "--expires", "2020-01-01", "--data", data)
    broken = run("token", "list", "--data", str(file))

    assert (again.exit_code, unknown.exit_code, past.exit_code, broken.exit_code) == (6, 6, 2, 1)
    assert "There is a token named 'a' already" in again.stderr
    assert "There is no token 'b'" in unknown.stderr
    assert "must expire in the future" in past.stderr
    assert "can't be used" in broken.stderr


def test_times_are_told_as_spans_or_dates() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)

    assert moment("90d", now) == now + timedelta(days=90)
    assert moment("12h", now) == now + timedelta(hours=12)
    assert moment("2027-06-30", now) == datetime(2027, 6, 30, tzinfo=UTC)
    assert moment("2027-06-30T12:00+02:00", now) == datetime(2027, 6, 30, 10, tzinfo=UTC)
    for text in ("soon", "9999999d9", "999999999w", ""):
        with pytest.raises(UsageError, match="is no time"):
            moment(text, now)


def test_a_reader_that_closes_the_pipe_is_no_error(gateway: ScriptedGateway) -> None:
    for _ in range(3000):
        gateway.new_run()
    command = (
        f"python -m kernel_gateway runs list --limit 3000 --gateway {gateway.url} | head -n 1; echo ${{PIPESTATUS[0]}}"
    )

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=dict(os.environ), check=False)

    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"
