"""What breaks in mid-run: the controller, the agent. The build goes on, nothing runs twice, no line is lost."""

from __future__ import annotations

import re

import pytest

from tests.jenkins_real.conftest import NAME, Site, groovy
from tests.jenkins_real.controller import Agent
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


def test_a_step_whose_agent_is_lost_goes_on_with_its_run_on_another_with_another_baseline(site: Site) -> None:
    assert site.own is not None, "only a controller of ours is told to give a lost agent up soon"
    first, second = f"{NAME}-lost", NAME
    site.jenkins.script(groovy("agent.groovy", NAME=first, FOLDER=str(site.agent.folder / "lost"), MODE="EXCLUSIVE"))
    lost = Agent(site.jenkins, site.agent.folder / "lost", site.agent.home, first)
    lost.folder.mkdir()
    code = f'{CODE}\\nprint(f"::metric name=m value={{i}}")'
    step = f"kernelRun {site.where}, name: 'lines', params: [count: params.COUNT.toInteger()], code: '{code}'"
    step = f"def result = {step}, require: ['m >= 0']\necho \"ANSWER ${{result.runId}}\""
    script = f"""def nodes = params.NODES.tokenize(',') as List
        retry(count: 2, conditions: [agent()]) {{ node(nodes.remove(0)) {{ {step} }} }}"""
    script = script.replace(f"range({LINES})", "range(count)")
    assert site.run("other", script, NODES=second, COUNT="1").wait() == "SUCCESS", "this leaves a baseline there"

    lost.start()
    build = site.jenkins.build(f"{NAME}-other", NODES=f"{first},{second}", COUNT=str(LINES))
    try:
        build.wait_for("<line 3>", 300)
    finally:
        lost.kill()
    site.jenkins.script(f"Jenkins.get().removeNode(Jenkins.get().getNode('{first}'))")

    assert build.wait() == "SUCCESS", build.log()
    (run,) = site.runs(build)
    assert f"run {run['id']}, begun before," in build.log()
    assert f"ANSWER {run['id']}" in build.log()


def test_a_gateway_restarted_in_mid_run_goes_on_with_the_build(site: Site) -> None:
    build = _started(site, "gateway")

    site.gateway.kill()
    site.gateway.start()

    _is_whole(site, build)
