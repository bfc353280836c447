"""Fixtures of the tests of Jenkins jobs: a Jenkins, real or recorded, and the command."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kernel_gateway.cli.jobs import jobs
from kernel_gateway.jenkins import connect
from tests.jenkins.recording import PlayedJenkins

REAL = os.environ.get("KERNEL_GATEWAY_TEST_JENKINS")
USER = os.environ.get("JENKINS_USER", "admin") if REAL else "admin"
TOKEN = os.environ.get("JENKINS_API_TOKEN", "") if REAL else "token"
FOLDER = "kernel-gateway-test"

Command = Callable[..., Result]


@pytest.fixture
def played(request: pytest.FixtureRequest) -> Iterator[PlayedJenkins]:
    """This test's Jenkins, without anything in the folder of the tests."""
    if REAL:
        real = connect(REAL, USER, TOKEN)
        if real.job_exists(FOLDER):
            real.delete_job(FOLDER)
    played = PlayedJenkins(request.node.name.removeprefix("test_"), REAL)
    yield played
    played.finish()


@pytest.fixture
def command(played: PlayedJenkins, tmp_path: Path) -> Command:
    """`kernel-gateway jobs …` for that Jenkins; ``user`` and ``token`` replace the right ones."""

    def run(*arguments: str, user: str = USER, token: str = TOKEN) -> Result:
        environ: dict[str, str | None] = {
            **dict.fromkeys(name for name in os.environ if name.startswith(("KERNEL_GATEWAY_", "JENKINS_"))),
            **dict.fromkeys(name for name in os.environ if name.lower().endswith("_proxy")),
            "KERNEL_GATEWAY_JENKINS_URL": played.url,
            "KERNEL_GATEWAY_JENKINS_USER": user or None,
            "KERNEL_GATEWAY_JENKINS_TOKEN": token or None,
        }
        return CliRunner().invoke(jobs, list(arguments), env=environ, catch_exceptions=False)

    return run
