"""From a Jenkins that has nothing to the first green notebook, in the steps of docs/jenkins.md and in no others."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.jenkins_real.conftest import Site
from tests.jenkins_real.controller import Controller
from tests.jenkins_real.face import Build
from tests.jenkins_real.record import Record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OPTIONAL = ("junit", "htmlpublisher")


@pytest.fixture(scope="module")
def first(controllers: Callable[..., Controller], sites: Callable[..., Site], record: Record) -> Build:
    """The first build of an empty Jenkins without the optional plugins, on an agent that never saw a kernel gateway.

    Timed from the start of Jenkins: library, credential and node are entered by script, so a person adds their typing.
    """
    began = time.monotonic()
    controller = controllers(OPTIONAL)
    site = sites(controller.jenkins, controller, fresh=True)
    ready = time.monotonic()
    build = site.step("first", "code: 'print(\"hello\")', name: 'first'")
    build.wait(600)
    ended = time.monotonic()
    record.figure(
        "empty Jenkins to first green build", f"{ended - began:.0f} s, {ended - ready:.0f} s of them the build"
    )
    return build


def test_an_empty_jenkins_has_its_first_green_notebook_build_within_five_minutes(first: Build, record: Record) -> None:
    assert first.wait() == "SUCCESS", first.log()
    assert "\nhello\n" in first.log()
    seconds = float(record.figures["empty Jenkins to first green build"].split(" s")[0])
    assert seconds < 300


def test_without_the_optional_plugins_the_step_works_and_names_them(first: Build) -> None:
    assert not set(OPTIONAL) & first.jenkins.plugins().keys()
    assert first.wait() == "SUCCESS"
    for plugin in ("JUnit", "HTML Publisher"):
        assert first.log().count(plugin) == 1, first.log()
    assert "kernel-runs/first/report/index.html" in first.artifacts()
