"""What breaks in mid-run: the controller, the agent. The build goes on, nothing runs twice, no line is lost."""

from __future__ import annotations

import re

import pytest

from tests.jenkins_real.conftest import Site
from tests.jenkins_real.face import Build

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LINES = 100
CODE = f'import time\\nfor i in range({LINES}):\\n    print(f"<line {{i}}>", flush=True)\\n    time.sleep(0.3)'


def _started(site: Site, name: str) -> Build:
    build = site.step(name, f"name: 'lines', code: '{CODE}'", after='echo "ANSWER ${result.runId}"')
    build.wait_for("<line 3>", 300)
    return build


def _is_whole(site: Site, build: Build) -> None:
    assert build.wait() == "SUCCESS", build.log()
    log = build.log()
    assert [int(number) for number in re.findall(r"^<line (\d+)>", log, re.MULTILINE)] == list(range(LINES)), log
    (run,) = site.runs(build)
    assert f"ANSWER {run['id']}" in log


def test_a_controller_killed_in_mid_run_goes_on_with_the_build(site: Site) -> None:
    controller = site.own
    build = _started(site, "killed")

    controller.kill()
    controller.start()

    _is_whole(site, build)
    assert "Resuming build" in build.log()


def test_a_controller_restarted_gently_in_mid_run_goes_on_with_the_build(site: Site) -> None:
    controller = site.own
    build = _started(site, "restarted")

    controller.stop()
    controller.start()

    _is_whole(site, build)


def test_an_agent_that_comes_back_in_mid_run_goes_on_with_the_build(site: Site) -> None:
    build = _started(site, "reconnected")

    site.agent.kill()
    site.agent.start()

    _is_whole(site, build)


def test_a_gateway_restarted_in_mid_run_goes_on_with_the_build(site: Site) -> None:
    build = _started(site, "gateway")

    site.gateway.kill()
    site.gateway.start()

    _is_whole(site, build)
