"""`jobs plan` and `jobs apply` against the answers of a real Jenkins: see recording.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jenkins
import pytest

from kernel_gateway.jenkins import connect
from tests.jenkins.conftest import FOLDER, TOKEN, USER, Command
from tests.jenkins.recording import PlayedJenkins

YAML = """
- job:
    name: train
    description: Trains, {{really}}.
    project-type: pipeline
    sandbox: true
    concurrent: false
    properties:
      - build-discarder: {num-to-keep: 50, artifact-num-to-keep: 10}
    parameters:
      - string: {name: EPOCHS, default: '20', description: passes over the data}
      - bool: {name: FAST, default: true}
      - text: {name: NOTE, default: "one\\ntwo ünïcode <&> $HOME '\\""}
      - choice: {name: OPTIMISER, choices: [adam, sgd]}
    triggers:
      - timed: H * * * *
    dsl: |
      pipeline {{
          agent any
          stages {{ stage('Say') {{ steps {{ echo "${{params.EPOCHS}} \\\\ 'quoted'" }} }} }}
      }}
- job:
    name: fetched
    project-type: pipeline
    pipeline-scm:
      scm:
        - git: {url: 'https://git.example/ml.git', branches: ['*/main'], wipe-workspace: false}
      script-path: jobs/fetched.Jenkinsfile
      lightweight-checkout: true
"""
FOREIGN = "<project><description>Somebody's own</description><builders/></project>"
FOREIGN_PIPELINE = "<flow-definition><description>Somebody's own</description></flow-definition>"


@pytest.fixture
def yaml(tmp_path: Path) -> Callable[[str], str]:
    """Writes a file of jobs and returns its path."""

    def write(text: str) -> str:
        file = tmp_path / "jobs.yaml"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return write


@pytest.fixture
def server(played: PlayedJenkins) -> jenkins.Jenkins:
    """The same Jenkins as somebody else uses it."""
    return connect(played.url, USER, TOKEN)


def actions(output: str) -> dict[str, str]:
    """Job → action, from the output of --json."""
    steps = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {step["job"].removeprefix(FOLDER + "/"): step["action"] for step in steps}


def test_apply_makes_folders_and_jobs_and_then_finds_nothing_to_do(
    command: Command, yaml: Callable[[str], str]
) -> None:
    arguments = (yaml(YAML), "--folder", f"{FOLDER}/team", "--json")

    planned = command("plan", *arguments)
    applied = command("apply", *arguments)
    again = command("apply", *arguments)
    after = command("plan", *arguments)

    assert (planned.exit_code, applied.exit_code, again.exit_code, after.exit_code) == (3, 0, 0, 0)
    created = {FOLDER: "create", "team": "create", "team/fetched": "create", "team/train": "create"}
    assert actions(planned.stdout) == actions(applied.stdout) == created
    assert actions(again.stdout) == actions(after.stdout) == {"team/fetched": "unchanged", "team/train": "unchanged"}
    assert "4 changes" in applied.stderr
    assert "no changes" in again.stderr


def test_what_jenkins_itself_writes_is_no_difference(
    command: Command, yaml: Callable[[str], str], server: jenkins.Jenkins
) -> None:
    arguments = (yaml(YAML), "--folder", FOLDER)
    assert command("apply", *arguments).exit_code == 0
    names = ", ".join(f"'{FOLDER}/{name}'" for name in ("train", "fetched"))

    server.run_script(f"[{names}].each {{ jenkins.model.Jenkins.get().getItemByFullName(it).save() }}")

    saved = server.get_job_config(f"{FOLDER}/train")
    assert 'plugin="workflow-job@' in saved
    assert saved.index("<definition") > saved.index("<properties")
    planned = command("plan", *arguments)
    assert (planned.exit_code, "unchanged" in planned.stdout) == (0, True)


def test_a_change_is_shown_in_words_and_applied_once(command: Command, yaml: Callable[[str], str]) -> None:
    file = yaml(YAML)
    assert command("apply", file, "--folder", FOLDER).exit_code == 0
    yaml(YAML.replace("default: '20'", "default: '30'").replace("stage('Say')", "stage('Tell')"))

    planned = command("plan", file, "--folder", FOLDER)
    applied = command("apply", file, "--folder", FOLDER)

    assert planned.exit_code == 3
    assert "parameters/String[EPOCHS]/defaultValue: '20' → '30'" in planned.stdout
    assert "    -    stages { stage('Say')" in planned.stdout
    assert "    +    stages { stage('Tell')" in planned.stdout
    assert "1 change." in applied.stderr
    assert command("plan", file, "--folder", FOLDER).exit_code == 0


def test_a_job_that_is_not_ours_is_left_alone_unless_adopted(
    command: Command, yaml: Callable[[str], str], server: jenkins.Jenkins
) -> None:
    server.create_folder(FOLDER)
    server.create_job(f"{FOLDER}/train", FOREIGN_PIPELINE)
    arguments = (yaml(YAML), "--folder", FOLDER, "--json")

    planned = command("plan", *arguments)
    applied = command("apply", *arguments)
    untouched = server.get_job_config(f"{FOLDER}/train")
    adopted = command("apply", *arguments, "--adopt")

    assert (planned.exit_code, applied.exit_code, adopted.exit_code) == (1, 1, 0)
    assert actions(applied.stdout) == {"fetched": "create", "train": "not ours"}
    assert f"left alone: {FOLDER}/train." in applied.stderr
    assert "<description>Somebody's own</description>" in untouched
    assert "kernel-gateway" not in untouched
    assert actions(adopted.stdout) == {"fetched": "unchanged", "train": "adopt"}
    assert actions(command("plan", *arguments).stdout) == {"fetched": "unchanged", "train": "unchanged"}


def test_a_job_of_another_kind_is_never_touched(
    command: Command, yaml: Callable[[str], str], server: jenkins.Jenkins
) -> None:
    server.create_folder(FOLDER)
    server.create_job(f"{FOLDER}/train", FOREIGN)

    applied = command("apply", yaml(YAML), "--folder", FOLDER, "--adopt")

    assert applied.exit_code == 1
    assert "there it is a freestyle project, in the YAML a pipeline" in applied.stdout
    assert "Somebody's own" in server.get_job_config(f"{FOLDER}/train")


def test_prune_deletes_only_what_is_gone_from_its_own_set(
    command: Command, yaml: Callable[[str], str], server: jenkins.Jenkins
) -> None:
    file = yaml(YAML)
    below = ("--folder", FOLDER, "--json")
    assert command("apply", file, *below, "--set", "mine").exit_code == 0
    yaml(YAML.replace("name: train", "name: theirs").replace("name: fetched", "name: theirs-too"))
    assert command("apply", file, *below, "--set", "theirs").exit_code == 0
    server.create_job(f"{FOLDER}/by-hand", FOREIGN)
    yaml(YAML[: YAML.index("- job:\n    name: fetched")])

    shown = command("plan", file, *below, "--set", "mine")
    pruned = command("apply", file, *below, "--set", "mine", "--prune")

    assert (shown.exit_code, actions(shown.stdout)) == (0, {"train": "unchanged", "fetched": "gone"})
    assert actions(pruned.stdout) == {"train": "unchanged", "fetched": "delete"}
    left = {job["fullname"].removeprefix(FOLDER + "/") for job in server.get_jobs(folder_depth=1)}
    assert left >= {"train", "theirs", "theirs-too", "by-hand"}
    assert "fetched" not in left


def test_a_job_that_people_disabled_stays_disabled(
    command: Command, yaml: Callable[[str], str], server: jenkins.Jenkins
) -> None:
    file = yaml(YAML)
    assert command("apply", file, "--folder", FOLDER).exit_code == 0
    server.disable_job(f"{FOLDER}/train")

    assert command("plan", file, "--folder", FOLDER).exit_code == 0
    yaml(YAML.replace("default: '20'", "default: '30'"))
    assert command("apply", file, "--folder", FOLDER).exit_code == 0

    assert "<disabled>true</disabled>" in server.get_job_config(f"{FOLDER}/train")


def test_a_folder_that_is_a_job_is_said_so(
    command: Command, yaml: Callable[[str], str], server: jenkins.Jenkins
) -> None:
    server.create_folder(FOLDER)
    server.create_job(f"{FOLDER}/train", FOREIGN)

    planned = command("plan", yaml(YAML), "--folder", f"{FOLDER}/train")

    assert planned.exit_code == 2
    assert f"{FOLDER}/train can't hold jobs: on Jenkins it is a freestyle project." in planned.stderr


def test_names_with_blanks_and_letters_of_all_kinds_work(command: Command, yaml: Callable[[str], str]) -> None:
    arguments = (yaml(YAML.replace("name: train", "name: Größe & Güte 1")), "--folder", f"{FOLDER}/ä b", "--json")

    refused = command("plan", *arguments)
    yaml(YAML.replace("name: train", "name: Größe + Güte 1"))
    applied = command("apply", *arguments)

    assert (refused.exit_code, applied.exit_code) == (2, 0)
    assert "can't be the name of a Jenkins job" in refused.stderr
    assert command("plan", *arguments).exit_code == 0


def test_a_folder_is_never_deleted_for_its_jobs_may_be_anybodys(
    command: Command, yaml: Callable[[str], str], server: jenkins.Jenkins
) -> None:
    box = "- job: {name: box, project-type: folder, description: A folder of ours.}\n"
    inner = "- job: {name: inner, folder: box, project-type: pipeline, dsl: echo 1}\n"
    file = yaml(box + inner)
    below = ("--folder", FOLDER, "--json")
    assert command("apply", file, *below).exit_code == 0
    server.create_job(f"{FOLDER}/box/by-hand", FOREIGN)
    server.run_script(f"jenkins.model.Jenkins.get().getItemByFullName('{FOLDER}/box').save()")

    after = command("plan", file, *below)
    yaml("[]")
    pruned = command("apply", file, *below, "--prune")

    assert (after.exit_code, actions(after.stdout)) == (0, {"box": "unchanged", "box/inner": "unchanged"})
    assert actions(pruned.stdout) == {"box": "gone", "box/inner": "delete"}
    assert "delete this folder by hand" in pruned.stdout
    assert server.job_exists(f"{FOLDER}/box/by-hand")
