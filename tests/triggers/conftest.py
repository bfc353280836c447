"""A folder with a ``triggers.yaml``, a Jenkins to start builds on, and the command."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.jenkins.connection import connect
from kernel_gateway.jenkins.triggers.builds import Builds
from kernel_gateway.jenkins.triggers.check import Outcome, Surroundings, check
from kernel_gateway.jenkins.triggers.file import read_plan
from kernel_gateway.jenkins.triggers.state import opened
from tests.conftest import REQUIRE_KERNELS
from tests.store.postgres import postgres
from tests.tracking.conftest import Server, mlflow, server

from .jenkins_server import Job, SmallJenkins

__all__ = ["mlflow", "postgres", "server"]

DAY = 86400.0


def need(*modules: str) -> None:
    """Skip where a library is not installed; where all must be there, fail."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            reason = f'triggers need {module}; pip install "kernel-gateway[triggers]" installs it'
            if os.environ.get(REQUIRE_KERNELS):
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


@pytest.fixture
def jenkins() -> Iterator[SmallJenkins]:
    """A Jenkins with a job `retrain`."""
    need("jenkins")
    found = SmallJenkins()
    found.jobs["retrain"] = Job()
    yield found
    found.stop()


@dataclass
class Bench:
    """Checks of one ``triggers.yaml``, at a time that the test sets."""

    folder: Path
    jenkins: SmallJenkins
    mlflow: str = ""
    now: float = 1_800_000_000.0
    text: str = ""
    source_seconds: float = 60.0

    def write(self, when: str, **limits: Any) -> None:
        """The file: one trigger with these conditions, as YAML of a list, and limits."""
        lines = [f"  {name}: {json.dumps(value)}" for name, value in limits.items()]
        indented = "\n".join(f"  {line}" for line in when.strip().splitlines())
        self.text = "\n".join(["triggers:", "- name: churn", "  job: retrain", "  when:", indented, *lines, ""])

    def check(self, dry_run: bool = False, **environ: str) -> Outcome:
        """One check; the outcome of its only trigger."""
        (outcome,) = self.check_all(dry_run, **environ)
        return outcome

    def check_all(self, dry_run: bool = False, **environ: str) -> list[Outcome]:
        """One check."""
        surroundings = Surroundings(
            environ={**os.environ, **environ},
            builds=lambda: Builds(connect(self.jenkins.url)),
            catalogue=self._catalogue,
            gateway_success=lambda name: None,
            clock=lambda: self.now,
            source_seconds=self.source_seconds,
        )
        plan = read_plan(self.text.encode(), "triggers.yaml", str(self.folder))
        with opened(self.folder / "state.json") as state:
            return check(plan, state, surroundings, dry_run=dry_run)

    def later(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    def _catalogue(self) -> Any:
        from kernel_gateway.tracking.catalogue import open_catalogue

        return open_catalogue(self.mlflow)

    @property
    def started(self) -> int:
        """How many builds there are."""
        return len(self.jenkins.ids())


@pytest.fixture
def bench(tmp_path: Path, jenkins: SmallJenkins) -> Bench:
    """Checks in a folder of the test's own."""
    return Bench(tmp_path, jenkins)


def words(outcome: Outcome) -> str:
    """The verdict on the only condition."""
    (judgement,) = outcome.decision.judgements
    return judgement.words


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path, jenkins: SmallJenkins) -> Command:
    """``command(*arguments, **environment)``: `kernel-gateway` in the test's folder."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        hidden = ("KERNEL_GATEWAY_", "JENKINS_", "MLFLOW_")
        environ = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        return subprocess.run(
            [sys.executable, "-m", "kernel_gateway", *arguments],
            cwd=tmp_path,
            env={**environ, "KERNEL_GATEWAY_JENKINS_URL": jenkins.url, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


__all__ += ["Bench", "Server", "words"]
