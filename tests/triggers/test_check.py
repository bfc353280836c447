"""`kernel-gateway triggers check`, with files, against a Jenkins that answers as Jenkins does."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_gateway.errors import UnreachableError

from .conftest import Bench, Command, need, words
from .jenkins_server import Job, SmallJenkins

FILE = """\
triggers:
- name: churn
  job: retrain
  parameters: {MODEL: churn, EPOCHS: 20, FAST: true}
  when:
  - data: data/*.csv
"""


def test_a_change_of_the_data_starts_the_job_once_with_the_reason_and_the_parameters(
    command: Command, jenkins: SmallJenkins, tmp_path: Path
) -> None:
    jenkins.jobs["retrain"].parameters += ("MODEL", "EPOCHS", "FAST")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("1\n")
    (tmp_path / "triggers.yaml").write_text(FILE)

    first = command("triggers", "check")
    (tmp_path / "data/b.csv").write_text("2\n")
    dry = command("triggers", "check", "--dry-run")
    changed = command("triggers", "check")
    again = command("triggers", "check")

    assert first.returncode == 0, first.stdout + first.stderr
    assert "first look, nothing to compare with yet" in first.stdout
    assert dry.returncode == 3, dry.stdout + dry.stderr
    assert "would be started" in dry.stdout
    assert changed.returncode == 3, changed.stdout + changed.stderr
    assert "changed: new: data/b.csv" in changed.stdout
    assert "1 file, " in changed.stdout
    assert "2 files, " in changed.stdout
    assert again.returncode == 0
    assert "unchanged" in again.stdout
    (build,) = jenkins.builds("retrain")
    assert {name: build[name] for name in ("MODEL", "EPOCHS", "FAST")} == {
        "MODEL": "churn",
        "EPOCHS": "20",
        "FAST": "true",
    }
    assert build["REASON"].startswith("Trigger churn: data data/*.csv: 1 file, ")
    assert build["REASON"].endswith("changed: new: data/b.csv")
    assert build["TRIGGER_ID"]


def test_a_dry_run_leaves_nothing_behind(command: Command, jenkins: SmallJenkins, tmp_path: Path) -> None:
    (tmp_path / "triggers.yaml").write_text(FILE + "  fire_on_first: true\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("1\n")

    dry = command("triggers", "check", "--dry-run", "--state", "nowhere/state.json")

    assert dry.returncode == 3, dry.stdout + dry.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "triggers.yaml"]
    assert jenkins.ids() == []


def test_json_tells_all_of_it(command: Command, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("1\n")
    (tmp_path / "own.yaml").write_text(FILE.replace("  when:", "  fire_on_first: true\n  when:"))

    done = command("triggers", "check", "own.yaml", "--json", "--state", "kept/state.json")

    assert done.returncode == 3, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["trigger"], told["job"], told["started"]) == ("churn", "retrain", True)
    assert told["build"].endswith("queue/item/1/")
    (condition,) = told["conditions"]
    assert (condition["finding"], condition["verdict"]) == ("met", "seen for the first time")
    assert (tmp_path / "kept/state.json").is_file()
    assert "has no parameter MODEL, so Jenkins drops it" in done.stderr


def test_a_source_that_is_not_there_is_a_warning_then_an_error_and_never_a_build(
    command: Command, jenkins: SmallJenkins, tmp_path: Path
) -> None:
    (tmp_path / "triggers.yaml").write_text(FILE + "  errors_after: 2\n  fire_on_first: true\n")

    first, second, third = (command("triggers", "check") for _ in range(3))

    assert [done.returncode for done in (first, second, third)] == [0, 1, 1]
    assert "warning: trigger churn, data data/*.csv can't be read: there is no file" in first.stderr
    assert "error: trigger churn, data data/*.csv can't be read (2 times in a row)" in second.stderr
    assert jenkins.ids() == []


def test_a_jenkins_that_is_away_is_exit_code_6_and_the_build_is_started_when_it_is_back(
    command: Command, jenkins: SmallJenkins, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("1\n")
    (tmp_path / "triggers.yaml").write_text(FILE + "  fire_on_first: true\n")

    jenkins.down = True
    away = command("triggers", "check")
    jenkins.down = False
    back = command("triggers", "check")

    assert away.returncode == 6, away.stdout + away.stderr
    assert "not started: " in away.stdout
    assert back.returncode == 3, back.stdout + back.stderr
    assert len(jenkins.ids()) == 1


def test_an_answer_of_jenkins_that_makes_no_sense_is_a_sentence_and_the_build_is_started_once_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / "a.csv").write_text("1")
    bench.write("- data: a.csv", fire_on_first=True)

    with monkeypatch.context() as patched:
        patched.setattr(SmallJenkins, "build", lambda *_: (201, ""))  # without a place in the queue
        lost = bench.check()
    back = bench.check()

    assert isinstance(lost.failure, UnreachableError)
    assert "Location" in str(lost.failure)
    assert back.started
    assert bench.started == 1


def test_a_start_that_was_interrupted_is_given_up_when_the_file_names_another_job_and_the_old_one_is_gone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / "a.csv").write_text("1")
    bench.write("- data: a.csv", fire_on_first=True)
    with monkeypatch.context() as patched:
        patched.setattr(SmallJenkins, "build", lambda *_: (500, ""))
        bench.check()
    bench.jenkins.jobs["new"] = bench.jenkins.jobs.pop("retrain")

    stays = bench.check()
    bench.text = bench.text.replace("job: retrain", "job: new")
    moved = bench.check()

    assert "no job 'retrain'" in str(stays.failure)
    assert moved.started
    assert "is given up: Jenkins has no job 'retrain'" in moved.remarks[0]
    assert len(bench.jenkins.builds("new")) == 1


def test_a_job_that_can_not_tell_its_builds_apart_is_refused(bench: Bench) -> None:
    bench.jenkins.jobs["retrain"] = Job(parameters=("REASON",))
    (bench.folder / "a.csv").write_text("1")
    bench.write("- data: a.csv", fire_on_first=True)

    outcome = bench.check()

    assert outcome.failure is not None
    assert outcome.failure.exit_code == 2
    assert "has no parameter TRIGGER_ID" in str(outcome.failure)
    assert bench.started == 0


def test_a_job_that_is_missing_or_disabled_is_named(bench: Bench) -> None:
    (bench.folder / "a.csv").write_text("1")
    bench.write("- data: a.csv", fire_on_first=True)
    bench.jenkins.jobs["retrain"].buildable = False
    disabled = bench.check()
    bench.jenkins.jobs.clear()
    missing = bench.check()

    assert "is disabled in Jenkins" in str(disabled.failure)
    assert "Jenkins has no job 'retrain'" in str(missing.failure)


def test_limits_hold_a_change_back_and_let_it_through_later(bench: Bench) -> None:
    data = bench.folder / "a.csv"
    bench.write("- data: a.csv", minimal_interval="6h", max_per_day=2)
    data.write_text("0")
    bench.check()

    begun = []
    for step in range(12):  # every two hours something new
        data.write_text(str(step + 1))
        bench.later(2 * 3600)
        begun.append(bench.check().started)
    data.write_text("the last")
    held = bench.check()
    bench.later(86400)
    let_through = bench.check()

    assert begun == [True, False, False, True] + [False] * 8
    assert held.decision.held == "held: 2 started within a day, 2 may be"
    assert let_through.started


def test_a_change_must_rest_before_it_counts(bench: Bench) -> None:
    data = bench.folder / "a.csv"
    data.write_text("0")
    bench.write("- data: a.csv", quiet_period="10m")
    bench.check()

    data.write_text("1")
    settling = bench.check()
    bench.later(300)
    data.write_text("2")
    restless = bench.check()
    bench.later(599)
    nearly = bench.check()
    bench.later(1)
    rested = bench.check()

    assert "it has rested for 0 s of 10 min" in words(settling)
    assert not settling.started
    assert not restless.started
    assert not nearly.started
    assert rested.started


def test_all_takes_every_condition_and_a_change_waits_for_the_others(bench: Bench) -> None:
    (bench.folder / "a.csv").write_text("0")
    (bench.folder / "b.csv").write_text("0")
    bench.write("- all:\n  - data: a.csv\n  - data: b.csv")
    bench.check()

    (bench.folder / "a.csv").write_text("1")
    one = bench.check()
    bench.later(7 * 86400)
    (bench.folder / "b.csv").write_text("1")
    both = bench.check()

    assert not one.started
    assert both.started


def test_a_change_that_was_taken_back_starts_nothing(bench: Bench) -> None:
    (bench.folder / "a.csv").write_text("0")
    bench.write("- data: a.csv", quiet_period="1h")
    bench.check()
    (bench.folder / "a.csv").write_text("1")
    bench.check()
    (bench.folder / "a.csv").write_text("0")
    bench.later(7200)

    assert not bench.check().started


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a database whose server takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql://127.0.0.1:{server.getsockname()[1]}/shop"


def test_a_source_that_hangs_costs_the_others_nothing(bench: Bench, silent: str) -> None:
    need("sqlalchemy", "psycopg")
    (bench.folder / "a.csv").write_text("0")
    bench.source_seconds = 3
    bench.write(f"- sql: select 1\n  database: {silent}\n- data: a.csv", fire_on_first=True)

    outcome = bench.check()

    assert outcome.started
    assert [one.finding for one in outcome.decision.judgements] == ["unreadable", "met"]
    assert "no answer within 3 s" in outcome.decision.judgements[0].words


def test_a_dry_run_leaves_no_trace(bench: Bench) -> None:
    (bench.folder / "a.csv").write_text("0")
    bench.write("- data: a.csv", fire_on_first=True)

    assert bench.check(dry_run=True).started
    assert not (bench.folder / "state.json").exists()
    assert bench.started == 0
    assert bench.check().started
