"""A Jenkins controller of the tests' own, from a war: on loopback, in a home of its own, with an agent of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.jenkins_real.face import MAYBE, Jenkins, poll

CONFIGURATION = Path(__file__).parent / "configuration"
"""Groovy: `init.groovy` runs in the controller at its start, the others by its script console."""

AGENT_PATH = "/usr/local/bin:/usr/bin:/bin"
"""An agent finds what a bare Linux has: Python, git, a shell; nothing of this project."""

OFFLINE = (
    "-Djenkins.install.runSetupWizard=false",
    "-Dhudson.model.UpdateCenter.never=true",
    "-Dhudson.model.DownloadService.never=true",
    "-Dhudson.model.UsageStatistics.disabled=true",
    "-Djenkins.telemetry.Telemetry.disabled=true",
)
"""A controller that talks to nobody."""

GIVEN_UP = "-Dorg.jenkinsci.plugins.workflow.support.pickles.ExecutorPickle.timeoutForNodeMillis=8000"
"""A node that was removed is given up soon; by default a build waits five minutes for it."""


def free_port() -> int:
    """A port of loopback that is free now: a controller keeps its port over restarts, so it can't choose one itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def java() -> str:
    """The Java to run with: JAVA_HOME's, else the first on the PATH."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"


def needs(plugin: Path) -> set[str]:
    """Names of the plugins that a plugin can't be without."""
    manifest = zipfile.ZipFile(plugin).read("META-INF/MANIFEST.MF").decode().replace("\r", "").replace("\n ", "")
    for line in manifest.split("\n"):
        if line.startswith("Plugin-Dependencies: "):
            parts = line.partition(": ")[2].split(",")
            return {part.partition(":")[0] for part in parts if "resolution:=optional" not in part}
    return set()


def plugins_without(folder: Path, names: Iterable[str]) -> list[Path]:
    """The plugins of a folder but some, and but those that need these."""
    files = sorted([*folder.glob("*.jpi"), *folder.glob("*.hpi")])
    gone = set(names)
    while more := {file.stem for file in files if file.stem not in gone and needs(file) & gone}:
        gone |= more
    return [file for file in files if file.stem not in gone]


@dataclass
class Agent:
    """An inbound agent's process: in a folder of its own, with `AGENT_PATH`, a home, and no variable of the tests."""

    jenkins: Jenkins
    folder: Path
    home: Path
    name: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until the controller has it."""
        jar = self.folder / "agent.jar"
        jar.write_bytes(self.jenkins.ask("GET", "/jnlpJars/agent.jar").content)
        secret = self.jenkins.script(f"print Jenkins.get().getComputer('{self.name}').jnlpMac")
        command = [java(), "-Xmx128m", "-jar", str(jar), "-url", f"{self.jenkins.url}/", "-name", self.name]
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "-secret", secret.strip(), "-webSocket", "-workDir", str(self.folder)],
                env={"PATH": AGENT_PATH, "HOME": str(self.home), "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait()

    def wait(self, seconds: float = 60) -> None:
        """Wait until the controller has it."""

        def online() -> bool:
            try:
                return not self.jenkins.json(f"/computer/{self.name}", tree="offline")["offline"]
            except (*MAYBE, AssertionError):
                return False

        poll(online, seconds, f"the agent {self.name}")

    def kill(self) -> None:
        """Kill the agent's own process with -9; what it started lives on, as on a machine whose agent crashed."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def close(self) -> None:
        """Stop it and all that still works in its folder."""
        self.kill()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(self.folder):
                    process.kill()


@dataclass
class Controller:
    """A controller's process. `home` lives over its restarts; so do port, user and token."""

    war: Path
    home: Path
    port: int = field(default_factory=free_port)
    token: str = field(default_factory=lambda: "11" + secrets.token_hex(16))
    process: subprocess.Popen[bytes] | None = None
    started_in: float = 0.0

    def prepare(self, plugins: Iterable[Path]) -> None:
        """Fill an empty home: plugins, and the configuration that a controller starts with."""
        (self.home / "plugins").mkdir(parents=True)
        for plugin in plugins:
            shutil.copy(plugin, self.home / "plugins" / f"{plugin.stem}.jpi")
        (self.home / "init.groovy.d").mkdir()
        shutil.copy(CONFIGURATION / "init.groovy", self.home / "init.groovy.d")

    @property
    def jenkins(self) -> Jenkins:
        """Its face, to its administrator."""
        return Jenkins(f"http://127.0.0.1:{self.port}", "admin", self.token)

    def command(self) -> list[str]:
        """How a war is started: a file by itself, an exploded one by the servlet container that it brings along."""
        options = [java(), "-Xmx1g", "-Djava.awt.headless=true", *OFFLINE, GIVEN_UP]
        if self.war.is_dir():
            container = self.war / "executable" / "winstone.jar"
            # What the manifest of the war says, which nobody reads when it is started so.
            options += [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("lang", "io", "util")]
            options += ["-cp", str(container), "winstone.Launcher", f"--webroot={self.war}"]
        else:
            options += ["-jar", str(self.war), f"--webroot={self.home / 'war'}"]
        return [*options, "--httpListenAddress=127.0.0.1", f"--httpPort={self.port}"]

    def start(self) -> None:
        """Start it and wait until it answers its administrator."""
        began = time.monotonic()
        with (self.home / "jenkins.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env={
                    "PATH": AGENT_PATH,
                    "HOME": str(self.home),
                    "LANG": "C.UTF-8",
                    "JENKINS_HOME": str(self.home),
                    "TESTS_URL": f"http://127.0.0.1:{self.port}/",
                    "TESTS_TOKEN": self.token,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        poll(self.ready, 240, f"the start of Jenkins (its log: {self.home / 'jenkins.log'})", 0.2)
        self.started_in = time.monotonic() - began

    def ready(self) -> bool:
        """Whether it answers. One that ended by itself is an error with its last lines."""
        assert self.process is not None
        assert self.process.poll() is None, self.log()[-4000:]
        try:
            self.jenkins.ask("GET", "/api/json")
        except (*MAYBE, AssertionError):
            return False
        return True

    def log(self) -> str:
        """Its own log."""
        return (self.home / "jenkins.log").read_text(errors="replace")

    def stop(self) -> None:
        """Stop it as a service manager does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it with -9, as a power cut does."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None
