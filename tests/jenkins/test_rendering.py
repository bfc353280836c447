"""YAML to config.xml offline: the jobs of this repository, settings, and what is wrong in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from kernel_gateway.cli.jobs import jobs
from kernel_gateway.errors import UsageError
from kernel_gateway.jenkins.marker import set_of
from kernel_gateway.jenkins.rendering import RenderedJob, is_whole, render_jobs
from tests.jenkins.groovy import parse_groovy

ROOT = Path(__file__).parent.parent.parent
JOBS = ROOT / "jobs"
PARAMETERS = "properties/hudson.model.ParametersDefinitionProperty/parameterDefinitions/*"
HOSTILE = """it's "x" $HOME \\u0041 \\n ${1+1} {{ 7 }} ünïcode"""


def rendered(**settings: str) -> dict[str, RenderedJob]:
    """The jobs of this repository by name."""
    return {job.name: job for job in render_jobs([JOBS], owner="ours", define=settings)}


def write(folder: Path, text: str) -> Path:
    file = folder / "jobs.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_jobs_of_this_repository_are_pipelines_with_parameters_discarder_and_marker() -> None:
    found = rendered()

    assert found.keys() == {"train", "evaluate", "retrain", "drift-check"}
    for job in found.values():
        root = job.root
        assert root.tag == "flow-definition"
        assert root.findtext("definition/sandbox") == "true"
        assert root.find("properties/jenkins.model.BuildDiscarderProperty/strategy/numToKeep") is not None
        assert len(root.findall(PARAMETERS)) >= 1
        assert set_of(root.findtext("description")) == "ours"
        assert "Jenkins Job Builder" not in job.config  # its own --delete-old must not find them


def test_only_drift_check_runs_on_a_timer_and_retrain_takes_what_a_trigger_gives() -> None:
    found = rendered(drift_schedule="H/10 * * * *")

    timers = {name: job.root.findtext(".//hudson.triggers.TimerTrigger/spec") for name, job in found.items()}
    assert timers == {"train": None, "evaluate": None, "retrain": None, "drift-check": "H/10 * * * *"}
    names = [parameter.findtext("name") for parameter in found["retrain"].root.findall(PARAMETERS)]
    assert {"REASON", "TRIGGER_ID"} <= set(names)


@pytest.mark.parametrize("settings", [{}, {"gateway": "https://g", "gateway_credentials": "t", "mlflow": "local"}])
def test_each_pipeline_is_groovy_and_those_that_run_notebooks_use_the_step(settings: dict[str, str]) -> None:
    scripts = {name: job.root.findtext("definition/script") or "" for name, job in rendered(**settings).items()}

    parse_groovy(scripts.values())

    for name, script in scripts.items():
        assert ("kernelRun(" in script) == (name != "drift-check")
        assert ("triggers check" in script) == (name == "drift-check")
        assert ("gateway: 'https://g'" in script) == (bool(settings) and name != "drift-check")
        assert "{{" not in script


def test_notebooks_that_the_jobs_run_are_there() -> None:
    for job in rendered().values():
        script = job.root.findtext("definition/script") or ""
        for line in script.splitlines():
            if "notebook:" in line:
                assert (ROOT / line.split("'")[1]).is_file(), line


@pytest.mark.parametrize("setting", ["repository", "branch", "agent", "model", "client", "triggers_file"])
def test_a_setting_stays_a_text_whatever_is_in_it(setting: str) -> None:
    scripts = [job.root.findtext("definition/script") or "" for job in rendered(**{setting: HOSTILE}).values()]

    literals = [literal for literals in parse_groovy(scripts) for literal in literals]

    assert any(HOSTILE in literal for literal in literals)


def test_a_setting_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(UsageError, match=r"no setting 'repo' to define.*repository, .*branch"):
        rendered(repo="x")


def test_a_folder_goes_before_each_name(tmp_path: Path) -> None:
    file = write(tmp_path, "- job: {name: a, folder: inner, project-type: pipeline, dsl: x}")

    assert [job.name for job in render_jobs([file], owner="x", folder="/outer//ml/")] == ["outer/ml/inner/a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- job: {name: a, project-type: pipeline}", "Either 'dsl' or 'pipeline-scm' is required"),
        ("- job: {project-type: pipeline, dsl: x}", "name"),
        ("- job: {name: a, project-type: pipeline, dsl: x, triggers: [moon: 1]}", "moon"),
        ("- nothing: {name: a}", "nothing"),
        ("a: b", "must be a list"),
        ("- job: [", "jobs.yaml"),
        ("- job: {name: a, project-type: pipeline, dsl: !include-jinja2: no.groovy}", "no.groovy"),
        ("- job: {name: 'a?', project-type: pipeline, dsl: x}", "can't be the name of a Jenkins job"),
        ('- job: {name: a, project-type: pipeline, dsl: "x\\x01"}', "control character"),
        ("- job: a", "a value in the YAML is missing, or of another kind"),
        ("- job: {name: a, project-type: pipeline, dsl: x, parameters: [string: {}]}", "The job 'a' can't be rendered"),
        (f"- job: {{name: {'a' * 201}, project-type: pipeline, dsl: x}}", "too long for the name of a Jenkins job"),
        (
            "- job: {name: a, project-type: pipeline, dsl: x}\n- job: {name: a, project-type: pipeline, dsl: x}",
            "Duplicate",
        ),
    ],
)
def test_what_is_wrong_in_the_yaml_is_said_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        render_jobs([write(tmp_path, text)], owner="x")


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file or folder .*nowhere with jobs"):
        render_jobs([tmp_path / "nowhere"], owner="x")


def test_a_file_of_a_folder_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere.yaml")

    with pytest.raises(UsageError, match=r"nowhere\.yaml can't be read: No such file"):
        render_jobs([tmp_path], owner="x")


def test_rendering_is_the_same_every_time_and_ignores_settings_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rendered()
    configuration = tmp_path / ".config" / "jenkins_jobs" / "jenkins_jobs.ini"
    configuration.parent.mkdir(parents=True)
    configuration.write_text("[job_builder]\nkeep_descriptions=True\nallow_duplicates=True\n")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert rendered() == before


def test_render_writes_a_config_xml_for_each_job(tmp_path: Path) -> None:
    arguments = ["render", str(JOBS), "--output-dir", str(tmp_path), "--folder", "ml", "--define", "branch=dev"]

    done = CliRunner().invoke(jobs, arguments, catch_exceptions=False)

    assert done.exit_code == 0
    assert "branch: 'dev'" in (tmp_path / "ml" / "train" / "config.xml").read_text(encoding="utf-8")
    assert len(done.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--define", "branch"], "--define takes NAME=VALUE, not 'branch'"),
        (["--set", "a b"], "'a b' can't be the name of a set of jobs"),
    ],
)
def test_bad_options_are_sentences_and_exit_code_2(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(jobs, ["render", str(JOBS), "--output-dir", str(tmp_path), *arguments])

    assert (done.exit_code, words in done.stderr) == (2, True)


def test_only_folders_of_yaml_or_all_files_of_one_are_a_whole_set_and_prune_takes_no_other(tmp_path: Path) -> None:
    part = JOBS / "train.yaml"
    settings = JOBS / "settings.yaml"

    refused = CliRunner().invoke(
        jobs,
        ["plan", str(settings), str(part), "--prune", "--jenkins", "http://127.0.0.1:9/"],
        env={"JENKINS_USER": ""},
    )

    assert is_whole([JOBS])
    assert is_whole(sorted(JOBS.glob("*.yaml")))
    assert not is_whole([settings, part])
    assert not is_whole([tmp_path])
    assert is_whole([write(tmp_path, "- job: {name: alone}")])
    assert (refused.exit_code, "--prune takes a set of jobs as a whole" in refused.stderr) == (2, True)


def test_this_projects_own_pipeline_is_groovy_and_runs_an_example_by_the_step() -> None:
    text = (ROOT / "Jenkinsfile").read_text(encoding="utf-8")

    (literals,) = parse_groovy([text])

    assert "kernelRun(" in text
    assert "examples/train.ipynb" in literals
    for command in ("make lint", "scripts/test --junitxml=build/pytest.xml $TESTS", "scripts/build-plugin"):
        assert command in literals
        assert command.startswith("make") or (ROOT / command.split()[0]).is_file()
