"""A real Jenkins, a real agent and a real gateway on loopback. `scripts/test-jenkins` says what they are given.

Without a Jenkins these tests are skipped: it is no Python package, so nothing here could install it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from kernel_gateway import __version__
from tests.jenkins_real.controller import CONFIGURATION, Agent, Controller, java, plugins_without
from tests.jenkins_real.face import Build, Jenkins
from tests.jenkins_real.jobs import pipeline
from tests.jenkins_real.record import Record
from tests.jenkins_real.repository import Repository
from tests.service.conftest import Service

ROOT = Path(__file__).parent.parent.parent
RECORD_PAGE = "KERNEL_GATEWAY_JENKINS_RECORD"
"""Environment variable that `scripts/test-jenkins` sets: the page that the results are written into."""

NAME = "kernel-gateway-tests"
"""What everything that the tests make in a Jenkins is called: library, credential, node, jobs begin with it."""

NO_JENKINS = (
    "no Jenkins is given: set JENKINS_WAR (a jenkins.war, or the folder of one) and JENKINS_PLUGINS (a folder of *.jpi "
    "or *.hpi), or JENKINS_URL, JENKINS_USER and JENKINS_TOKEN; see scripts/test-jenkins"
)

HEAD = f"@Library('{NAME}') _\n"

_record = Record()


def groovy(name: str, **values: str) -> str:
    """A script of `configuration/` with values put in as Groovy strings."""
    texts = {key: "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for key, value in values.items()}
    lines = (CONFIGURATION / name).read_text(encoding="utf-8").splitlines()
    imports = [line for line in lines if line.startswith("import ")]
    rest = [line for line in lines if not line.startswith("import ")]
    return "\n".join([*imports, *(f"def {key} = {text}" for key, text in texts.items()), *rest])


@dataclass
class Site:
    """All that a build needs: a Jenkins with the library, an agent of label `python`, a gateway and its credential."""

    jenkins: Jenkins
    agent: Agent
    gateway: Service
    library: Repository
    controller: Controller | None = None

    @property
    def own(self) -> Controller:
        """The controller's process, for tests that end it."""
        if self.controller is None:
            pytest.skip("a Jenkins that is given by JENKINS_URL is not stopped by tests")
        return self.controller

    def configure(self) -> None:
        """Make library, credential and node known to Jenkins."""
        self.jenkins.script(groovy("library.groovy", NAME=NAME, REMOTE=self.library.url))
        self.jenkins.script(groovy("secret.groovy", ID=NAME, SECRET=self.gateway.token))
        mode = "NORMAL" if self.controller else "EXCLUSIVE"  # a Jenkins that is not ours has builds that are not ours
        self.jenkins.script(groovy("agent.groovy", NAME=NAME, FOLDER=str(self.agent.folder), MODE=mode))

    def tidy(self) -> None:
        """Take away what `configure` and the tests made."""
        self.jenkins.script(groovy("tidy.groovy", NAME=NAME))

    @property
    def where(self) -> str:
        """The arguments of a step that name the gateway."""
        return f"gateway: '{self.gateway.url}', credentialsId: '{NAME}'"

    def run(self, name: str, script: str, **parameters: str) -> Build:
        """Start a build of a new pipeline job that loads the library."""
        return self.jenkins.run(f"{NAME}-{name}", pipeline(HEAD + script, *parameters), **parameters)

    def step(self, name: str, arguments: str, before: str = "", after: str = "") -> Build:
        """Start a build of a scripted pipeline with one step; its answer is `result` in what comes after."""
        return self.run(
            name, f"node('{NAME}') {{\n{before}\ndef result = kernelRun {self.where}, {arguments}\n{after}\n}}"
        )

    def runs(self, build: Build) -> list[dict[str, object]]:
        """The gateway's runs of a build."""
        key = quote(f"{unquote(build.job)}#{build.number}", safe="")
        views: list[dict[str, object]] = self.gateway.ask("GET", f"/api/v1/runs?limit=100&build={key}").json["runs"]
        return views


def given() -> tuple[Path, Path] | Jenkins | None:
    """What the environment gives: a war and its plugins, or a Jenkins that runs already; None for neither."""
    if war := os.environ.get("JENKINS_WAR"):
        plugins = os.environ.get("JENKINS_PLUGINS")
        assert plugins, "JENKINS_PLUGINS is missing: the folder with the plugins that the JENKINS_WAR is to have"
        return Path(war).absolute(), Path(plugins).absolute()
    if url := os.environ.get("JENKINS_URL"):
        return Jenkins(url, os.environ.get("JENKINS_USER", ""), os.environ.get("JENKINS_TOKEN", ""))
    return None


@pytest.fixture(scope="session")
def parts() -> tuple[Path, Path] | Jenkins:
    """What is given; without anything the test is skipped."""
    found = given()
    if found is None:
        pytest.skip(NO_JENKINS)
    return found


@pytest.fixture(scope="session")
def record() -> Record:
    """Where measured figures go."""
    return _record


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, parts: object) -> Iterator[Service]:
    """A gateway that runs four at once."""
    service = Service(tmp_path_factory.mktemp("gateway") / "data", ("--slots", "4"))
    service.start()
    yield service
    service.close()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory, parts: object) -> Iterator[Repository]:
    """The shared library of this checkout, in a git repository."""
    repository = Repository(tmp_path_factory.mktemp("library"))
    for room in ("vars", "src", "resources"):
        repository.put_folder(ROOT / "jenkins-plugin" / room, f"jenkins-plugin/{room}")
    repository.commit()
    yield repository
    repository.close()


@pytest.fixture(scope="session")
def controllers(tmp_path_factory: pytest.TempPathFactory, parts: object) -> Iterator[Callable[..., Controller]]:
    """Starts controllers, each in an empty home, with all plugins but some."""
    started: list[Controller] = []

    def start(without: tuple[str, ...] = (), more: tuple[Path, ...] = ()) -> Controller:
        if isinstance(parts, Jenkins):
            pytest.skip("an empty home needs JENKINS_WAR")
        assert isinstance(parts, tuple)
        war, plugins = parts
        started.append(Controller(war, tmp_path_factory.mktemp("jenkins") / "home"))
        started[-1].prepare([*plugins_without(plugins, without), *more])
        started[-1].start()
        return started[-1]

    yield start
    for controller in started:
        controller.kill()


@pytest.fixture(scope="session")
def sites(
    tmp_path_factory: pytest.TempPathFactory, gateway: Service, library: Repository
) -> Iterator[Callable[..., Site]]:
    """Makes a Jenkins ready for builds: its own, or that of JENKINS_URL."""
    made: list[Site] = []
    # One for all agents but fresh ones: the step keeps its command there, and installing it takes a while.
    home = tmp_path_factory.mktemp("home")

    def make(jenkins: Jenkins, controller: Controller | None = None, *, fresh: bool = False) -> Site:
        own = tmp_path_factory.mktemp("home") if fresh else home
        agent = Agent(jenkins, tmp_path_factory.mktemp("agent"), own, NAME)
        site = Site(jenkins, agent, gateway, library, controller)
        made.append(site)
        site.configure()
        site.agent.start()
        return site

    yield make
    for site in made:
        site.agent.close()
        if site.controller is None:
            site.tidy()


@pytest.fixture(scope="session")
def site(
    parts: tuple[Path, Path] | Jenkins, controllers: Callable[..., Controller], sites: Callable[..., Site]
) -> Site:
    """The Jenkins that the tests share."""
    if isinstance(parts, Jenkins):
        made = sites(parts)
    else:
        controller = controllers()
        made = sites(controller.jenkins, controller)
    said = subprocess.run([java(), "-version"], capture_output=True, text=True, check=True).stderr
    _record.java = "Java " + said.split('"')[1]
    _record.jenkins, _record.plugins = made.jenkins.version, made.jenkins.plugins()
    return made


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep each outcome of a test of this folder."""
    if "tests/jenkins_real/" in report.nodeid and (report.when == "call" or not report.passed):
        _record.case(report.nodeid, report.outcome)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures."""
    if _record.figures:
        terminalreporter.section("measured in Jenkins")
        for what, measured in _record.figures.items():
            terminalreporter.write_line(f"{what}: {measured}")


def pytest_sessionfinish(exitstatus: int) -> None:
    """Write the results where `scripts/test-jenkins` wants them, good or bad; not those of half a session."""
    page = os.environ.get(RECORD_PAGE)
    if page and _record.jenkins and exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        _record.write(Path(page), __version__)
