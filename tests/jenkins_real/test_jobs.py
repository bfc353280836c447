"""Jobs as code against a real controller, and a repository whose branches become jobs by themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.jenkins_real.conftest import HEAD, NAME, ROOT, Site
from tests.jenkins_real.face import Build, poll
from tests.jenkins_real.jobs import multibranch
from tests.jenkins_real.repository import Repository

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Jobs = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """A repository that starts empty."""
    made = Repository(tmp_path / "repository")
    yield made
    made.close()


@pytest.fixture
def jobs(site: Site, tmp_path: Path) -> Jobs:
    """`kernel-gateway jobs` for the Jenkins under test."""

    def run(*words: str, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "JENKINS_URL": site.jenkins.url, "JENKINS_USER": site.jenkins.user}
        environ["JENKINS_API_TOKEN"] = site.jenkins.token
        command = [sys.executable, "-m", "kernel_gateway", "jobs", *words]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environ, timeout=120, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended

    return run


def _changes(text: str) -> dict[str, int]:
    """How many jobs have each action, of the lines of `jobs apply --json`."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        action = json.loads(line)["action"]
        found[action] = found.get(action, 0) + 1
    return found


def test_jobs_applied_twice_change_nothing_the_second_time(site: Site, jobs: Jobs) -> None:
    site.jenkins.create(f"{NAME}-folder", "<com.cloudbees.hudson.plugins.folder.Folder/>")
    words = ("apply", str(ROOT / "jobs"), "--folder", f"{NAME}-folder", "--json", "--define", f"library={NAME}")

    first = _changes(jobs(*words).stdout)
    names = {job["name"] for job in site.jenkins.json(f"/job/{NAME}-folder", tree="jobs[name]")["jobs"]}
    second = _changes(jobs(*words).stdout)

    assert {"train", "evaluate", "retrain", "drift-check"} <= names
    assert first == {"create": len(names)}
    assert second == {"unchanged": len(names)}


def test_a_generated_job_builds_its_notebook_with_the_builds_parameters(
    site: Site, jobs: Jobs, repository: Repository
) -> None:
    repository.put("hello.ipynb", (ROOT / "examples" / "hello.ipynb").read_text(encoding="utf-8"))
    jobs("generate", "hello.ipynb", "--name", f"{NAME}-hello", "--repository", repository.url, cwd=repository.folder)
    script = next((repository.folder / "jobs").glob("*.Jenkinsfile"))
    text = script.read_text(encoding="utf-8").replace("@Library('kernel-gateway')", f"@Library('{NAME}')")
    script.write_text(text.replace("kernelRun(", f"kernelRun({site.where},"), encoding="utf-8")
    repository.commit()

    jobs("apply", cwd=repository.folder)
    build = site.jenkins.build(f"{NAME}-hello", name="Grüße 'an' \"alle\" $HOME")

    assert build.wait() == "SUCCESS", build.log()
    assert "Grüße 'an' \"alle\" $HOME" in build.log()


def test_each_branch_of_a_repository_becomes_a_job(site: Site, repository: Repository) -> None:
    step = f"kernelRun {site.where}, file: 'it.py', params: [branch: env.BRANCH_NAME]"
    repository.put("Jenkinsfile", f"{HEAD}node('{NAME}') {{ checkout scm; {step} }}")
    repository.put("it.py", "print('on', branch)\n")
    repository.commit()
    repository.commit("feature/new")

    name = f"{NAME}-branches"
    site.jenkins.create(name, multibranch(repository.url))
    site.jenkins.ask("POST", f"/job/{name}/build?delay=0")

    def found() -> dict[str, int]:
        tree = "jobs[name,builds[number]]"
        return {job["name"]: len(job.get("builds", [])) for job in site.jenkins.json(f"/job/{name}", tree=tree)["jobs"]}

    poll(lambda: len([count for count in found().values() if count]) == 2, 120, "the builds of both branches")
    for branch, path in (("main", "main"), ("feature/new", "feature%252Fnew")):
        build = Build(site.jenkins, f"{name}/job/{path}", 1)
        assert build.wait() == "SUCCESS", build.log()
        assert f"on {branch}" in build.log()
