"""An agent that has only Python gets the command from the gateway, once, whatever comes in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.jenkins_library.conftest import BOOTSTRAP, SCRIPT, Pipeline
from tests.service.conftest import Service, service

__all__ = ["service"]

BASE_PYTHON = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
TOOLS = ("sh", "git", "env")
INSTALLER_VARIABLES = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
"""Where this machine gets packages from."""


@dataclass
class Agent:
    """A machine's user with an empty home and the few commands that its PATH finds."""

    home: Path
    bin: Path
    env: dict[str, str] = field(default_factory=dict)

    def command(self, name: str, text: str) -> None:
        """Put a command on the PATH."""
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    @property
    def environ(self) -> dict[str, str]:
        """The variables of its builds."""
        return {"PATH": str(self.bin), "HOME": str(self.home), "LANG": "C.UTF-8", **INSTALLER_VARIABLES, **self.env}

    def start(self, **options: object) -> subprocess.Popen[str]:
        """Start the step's script as Jenkins does, with a request of its own."""
        request = self.home / f"request-{time.monotonic_ns()}"
        request.mkdir()
        (request / "bootstrap.py").write_bytes(BOOTSTRAP.read_bytes())
        name = f"run-{time.monotonic_ns()}"
        (request / "request.json").write_text(json.dumps({"code": "print(6 * 7)", "name": name, **options}))
        environ = {**self.environ, "KERNEL_GATEWAY_REQUEST": str(request)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["/bin/sh", str(SCRIPT)], cwd=self.home, env=environ, text=True, stdout=pipe, stderr=subprocess.STDOUT
        )

    def run(self, **options: object) -> tuple[int, str]:
        """Run the step's script to its end: its exit code and what it said."""
        step = self.start(**options)
        said = step.communicate(timeout=110)[0]
        return step.returncode, said

    @property
    def environments(self) -> list[str]:
        """What lies in its cache, by name."""
        cache = self.home / ".cache" / "kernel-gateway"
        return sorted(path.name for path in cache.iterdir()) if cache.is_dir() else []


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """An agent with Python and nothing of this project."""
    made = Agent(tmp_path / "home", tmp_path / "bin")
    made.home.mkdir()
    made.bin.mkdir()
    (made.bin / "python3").symlink_to(BASE_PYTHON)
    for tool in TOOLS:
        found = next(Path(folder, tool) for folder in ("/usr/bin", "/bin") if Path(folder, tool).exists())
        (made.bin / tool).symlink_to(found)
    return made


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_agent_with_only_python_installs_the_command_once(service: Service, agent: Agent) -> None:
    agent.env["KERNEL_GATEWAY_TOKEN"] = service.token

    together = [agent.start(gateway=service.url) for _ in range(2)]
    ended = [(step.communicate(timeout=300)[0], step.returncode) for step in together]

    assert [code for _, code in ended] == [0, 0], ended
    assert all("42\n" in said for said, _ in ended)
    assert "".join(said for said, _ in ended).count("installing the command of http") == 1
    links = [name for name in agent.environments if (agent.home / ".cache/kernel-gateway" / name).is_symlink()]
    assert len(links) == 1
    assert links[0].startswith("client-0.1.0-")
    assert service.token not in "".join(said for said, _ in ended)
    before = agent.environments
    code, said = agent.run(gateway=service.url)
    assert (code, "installing" in said, "42\n" in said) == (0, False, True)
    assert agent.environments == before


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_aborted_installation_is_never_used(service: Service, agent: Agent) -> None:
    agent.env["KERNEL_GATEWAY_TOKEN"] = service.token
    step = agent.start(gateway=service.url)
    assert step.stdout is not None
    assert "installing the command" in step.stdout.readline()
    time.sleep(1)
    # As Jenkins does: every process of the step.
    for process in [*psutil.Process(step.pid).children(recursive=True), psutil.Process(step.pid)]:
        process.send_signal(signal.SIGTERM)
    step.communicate(timeout=30)
    assert step.returncode != 0
    assert not [name for name in agent.environments if (agent.home / ".cache/kernel-gateway" / name).is_symlink()]

    code, said = agent.run(gateway=service.url)

    assert (code, "42\n" in said) == (0, True), said
    left = [name for name in agent.environments if not name.endswith(".lock")]
    assert len(left) == 2  # the link and its folder: what was half made is gone


def test_a_command_on_the_path_is_used_if_it_is_of_the_gateways_version(service: Service, agent: Agent) -> None:
    agent.env["KERNEL_GATEWAY_TOKEN"] = service.token
    agent.command("kernel-gateway", f'exec {sys.executable} -m kernel_gateway "$@"')

    code, said = agent.run(gateway=service.url)

    assert (code, "42\n" in said) == (0, True), said
    assert agent.environments == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_command_of_another_version_is_left_alone(service: Service, agent: Agent) -> None:
    agent.env["KERNEL_GATEWAY_TOKEN"] = service.token
    agent.command("kernel-gateway", 'echo "kernel-gateway, version 0.0.1"')

    code, said = agent.run(gateway=service.url)

    assert (code, "42\n" in said) == (0, True), said


def test_an_installed_environment_needs_no_gateway_and_no_network(agent: Agent) -> None:
    agent.command("kernel-gateway", f'exec {sys.executable} -m kernel_gateway "$@"')

    assert agent.run()[0] == 0


@pytest.mark.parametrize(
    ("options", "prepare", "code", "told"),
    [
        ({}, None, 127, "there is no command kernel-gateway on this agent. Name a gateway"),
        ({"gateway": "nonsense"}, None, 6, "'nonsense' is no address of a gateway"),
        ({}, lambda agent: (agent.bin / "python3").unlink(), 127, "there is no python3 on this agent"),
        (
            {},
            lambda agent: (
                (agent.bin / "python3").unlink(),
                agent.command("python3", 'case "$*" in *--version*) echo Python 3.9.2;; *) exit 1;; esac'),
            ),
            127,
            "needs Python 3.11 or later, and this agent has Python 3.9.2.",
        ),
    ],
    ids=["nothing", "address", "no python", "old python"],
)
def test_what_an_agent_lacks_is_told(
    agent: Agent,
    options: dict[str, str],
    prepare: Callable[[Agent], object] | None,
    code: int,
    told: str,
) -> None:
    if prepare is not None:
        prepare(agent)

    ended, said = agent.run(**options)

    assert (ended, told in said) == (code, True), said
    assert "Traceback" not in said


def test_a_gateway_that_is_not_there_is_told(agent: Agent) -> None:
    code, said = agent.run(gateway="http://user:secret@127.0.0.1:9")

    assert code == 6
    assert "the gateway http://127.0.0.1:9 can't be reached: " in said
    assert "secret" not in said


def test_a_python_without_venv_is_told(service: Service, agent: Agent) -> None:
    (agent.bin / "python3").unlink()
    # Debian's python3 without python3-venv lacks ensurepip.
    hide = "import sys; sys.modules['ensurepip'] = None; import runpy; sys.argv = sys.argv[1:]; "
    hide += "runpy.run_path(sys.argv[0], run_name='__main__')"
    agent.command("python3", f'[ "$2" = -c ] && exit 0\nshift\nexec {BASE_PYTHON} -I -c "{hide}" "$@"')

    code, said = agent.run(gateway=service.url)

    assert code == 127
    assert "apt install python3-venv" in said
    assert "Traceback" not in said


def test_an_index_that_does_not_have_the_packages_is_told(service: Service, agent: Agent, tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nno-index = true\n")
    agent.env |= {"PIP_CONFIG_FILE": str(config), "PIP_FIND_LINKS": str(tmp_path), "PIP_EXTRA_INDEX_URL": ""}

    code, said = agent.run(gateway=service.url)

    assert code == 127
    assert "the command could not be installed; the installer's last words:" in said
    assert "No matching distribution found for" in said
    assert not [name for name in agent.environments if not name.endswith(".lock")]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_branches_that_ask_for_the_same_have_a_run_each_on_the_gateway(service: Service, pipeline: Pipeline) -> None:
    script = """
        def both = parallel(
            a: { kernelRun code: 'print(6 * 7)', gateway: inputs.url, credentialsId: 'kg' },
            b: { kernelRun code: 'print(6 * 7)', gateway: inputs.url, credentialsId: 'kg' })
        return [both.a, both.b]
    """

    ran = pipeline(script, inputs={"url": service.url}, credentials={"kg": service.token}).succeeded()

    ids = {one["runId"] for one in ran.value}
    assert len(ids) == 2
    assert {one["runUrl"] for one in ran.value} == {f"{service.url}/runs/{id}" for id in ids}
    builds = [service.run(id)["build"] for id in ids]
    assert {build["tag"] for build in builds} == {"jenkins-train-12"}
    assert service.token not in ran.console + json.dumps(ran.steps)


def test_a_script_that_is_run_again_goes_on_with_its_run(service: Service, agent: Agent, tmp_path: Path) -> None:
    request = tmp_path / "request"
    request.mkdir()
    (request / "bootstrap.py").write_bytes(BOOTSTRAP.read_bytes())
    options = {"code": "print(6 * 7)", "gateway": service.url, "step": "snippet#1"}
    (request / "request.json").write_text(json.dumps(options))
    agent.command("kernel-gateway", f'exec {sys.executable} -m kernel_gateway "$@"')
    environ = {**agent.environ, "KERNEL_GATEWAY_TOKEN": service.token, "BUILD_TAG": "jenkins-train-13"}
    environ |= {"KERNEL_GATEWAY_REQUEST": str(request), "JOB_NAME": "train", "BUILD_NUMBER": "13"}

    for _ in range(2):
        subprocess.run(["/bin/sh", str(SCRIPT)], cwd=agent.home, env=environ, timeout=60, check=True)

    assert len(service.ask("GET", "/api/v1/runs?build=train%2313").json["runs"]) == 1
