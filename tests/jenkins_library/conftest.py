"""Runs pipeline scripts on the shared library, by the Groovy that Jenkins has inside; see harness.groovy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REQUIRE_KERNELS

ROOT = Path(__file__).parent.parent.parent
LIBRARY = ROOT / "jenkins-plugin"
HERE = Path(__file__).parent
SCRIPT = LIBRARY / "resources/org/kernelgateway/run.sh"
BOOTSTRAP = LIBRARY / "resources/org/kernelgateway/bootstrap.py"


@dataclass
class Outcome:
    """How a pipeline script ended, and which steps it called on its way."""

    value: Any
    error: dict[str, str] | None
    steps: list[dict[str, Any]]
    console: str
    description: str | None
    result: str | None

    def called(self, name: str) -> list[dict[str, Any]]:
        """The arguments of each call of a step."""
        return [step["arguments"] for step in self.steps if step["name"] == name]

    @property
    def names(self) -> list[str]:
        """The steps in their order."""
        return [step["name"] for step in self.steps]

    @property
    def message(self) -> str:
        """What the script failed with."""
        assert self.error is not None, self
        return self.error["message"]

    def succeeded(self) -> Outcome:
        """Itself, if the script did not fail."""
        assert self.error is None, f"{self.error}\n{self.console[-3000:]}"
        return self


Pipelines = Callable[[Sequence[Mapping[str, Any]]], list[Outcome]]
Pipeline = Callable[..., Outcome]


@pytest.fixture(scope="session")
def groovy() -> list[str]:
    """The command that runs the harness. Where Groovy is missing the test is skipped, but in CI it fails."""
    found = shutil.which("groovy")
    if found is None:
        reason = "groovy is not installed; `scripts/setup --kernels` installs it"
        if os.environ.get(REQUIRE_KERNELS):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return [found, "-cp", f"{LIBRARY / 'src'}:{HERE / 'stubs'}", str(HERE / "harness.groovy")]


def java_home() -> str | None:
    """Debian's groovy looks for Java in one place only unless it is told."""
    java = shutil.which("java")
    return str(Path(java).resolve().parent.parent) if java else os.environ.get("JAVA_HOME")


@pytest.fixture
def pipelines(groovy: list[str], tmp_path: Path) -> Pipelines:
    """Runs several scenarios in one Java machine, each in a workspace of its own unless it names one."""

    def run(scenarios: Sequence[Mapping[str, Any]]) -> list[Outcome]:
        filled = []
        for number, scenario in enumerate(scenarios):
            workspace = Path(scenario.get("workspace", tmp_path / f"workspace-{number}"))
            workspace.mkdir(parents=True, exist_ok=True)
            environ = {**build_environ(tmp_path), **scenario.get("env", {})}
            filled.append({"missing": [], **scenario, "workspace": str(workspace), "env": environ})
        given, results = tmp_path / "scenarios.json", tmp_path / "results.json"
        given.write_text(json.dumps(filled))
        environ = {**os.environ, "JAVA_HOME": java_home() or "", "LC_ALL": "C.UTF-8"}
        command = [*groovy, str(LIBRARY / "vars"), str(LIBRARY / "resources"), str(given), str(results)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=110, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return [Outcome(**{"value": None, "error": None, **one}) for one in json.loads(results.read_text("utf-8"))]

    return run


@pytest.fixture
def pipeline(pipelines: Pipelines) -> Pipeline:
    """Runs one scenario: its script, and the rest by name."""

    def run(script: str, **scenario: Any) -> Outcome:
        return pipelines([{"script": script, **scenario}])[0]

    return run


def build_environ(home: Path) -> dict[str, str]:
    """The variables that a build's steps have: the command is on the PATH."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "JOB_NAME": "train",
        "BUILD_NUMBER": "12",
        "BUILD_TAG": "jenkins-train-12",
        "BUILD_URL": "http://jenkins.example/job/train/12/",
    }
