"""`examples/retrain`: new data start the job, the better model takes the alias, the worse one does not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tracking.conftest import Server

from .conftest import need
from .jenkins_server import Job, SmallJenkins

EXAMPLE = Path(__file__).parents[2] / "examples" / "retrain"


class Bench:
    """A copy of the example, and the programs that work in it."""

    def __init__(self, folder: Path, jenkins: SmallJenkins, mlflow: str) -> None:
        self.folder = folder
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("data", "incoming", "kernel-runs", "*.json"))
        hidden = ("KERNEL_GATEWAY_", "JENKINS_", "MLFLOW_")
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith(hidden)},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "KERNEL_GATEWAY_MLFLOW": mlflow,
            "KERNEL_GATEWAY_JENKINS_URL": jenkins.url,
        }

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def make(self, *arguments: str) -> None:
        done = self.run(sys.executable, "make_data.py", *arguments)
        assert done.returncode == 0, done.stderr

    def build(self, **parameters: str) -> subprocess.CompletedProcess[str]:
        """What the Jenkinsfile's step does, with a build's parameters."""
        pipeline = (self.folder / "Jenkinsfile").read_text()
        script = re.search(r"script: '''(.*?)'''", pipeline, re.DOTALL)
        assert script
        defaults = dict(re.findall(r"string\(name: '(\w+)', defaultValue: '([^']*)'", pipeline))
        environ = {"WORKSPACE": str(self.folder), "EXAMPLE": ".", **defaults, **parameters}
        return self.run("bash", "-euc", script[1], **environ)

    def check(self) -> subprocess.CompletedProcess[str]:
        return self.run("kernel-gateway", "triggers", "check")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_drifted_data_start_the_job_and_the_better_model_takes_the_alias_and_a_worse_one_does_not(
    tmp_path: Path, jenkins: SmallJenkins, server: Server, mlflow: Any
) -> None:
    need("sklearn", "scipy", "pandas")
    bench = Bench(tmp_path / "retrain", jenkins, server.uri)
    pipeline = (EXAMPLE / "Jenkinsfile").read_text()
    jenkins.jobs["retrain"] = Job(parameters=tuple(re.findall(r"string\(name: '(\w+)'", pipeline)))
    jenkins.jobs["retrain"].stable = 4e9

    def champion() -> str:
        return str(mlflow.get_model_version_by_alias("churn", "champion").version)

    bench.make("data/customers.csv", "--months", "3")
    first = bench.build()
    bench.make("incoming/today.csv", "--seed", "7")
    quiet = bench.check()
    bench.make("incoming/today.csv", "--seed", "8", "--drift")
    drifted = bench.check()
    (parameters,) = jenkins.builds("retrain")
    better = bench.build(**parameters)
    after_better = champion()
    worse = bench.build(**parameters, REGULARISATION="0.00001")

    assert first.returncode == 0, first.stdout + first.stderr
    assert quiet.returncode == 0, quiet.stdout + quiet.stderr
    assert drifted.returncode == 3, drifted.stdout + drifted.stderr
    assert "drifted: price" in parameters["REASON"]
    assert better.returncode == 0, better.stdout + better.stderr
    assert after_better == "2"
    assert worse.returncode == 3, worse.stdout + worse.stderr
    assert "gate f1 > champion_f1: " in worse.stdout
    assert champion() == "2"
