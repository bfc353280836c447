"""Kernels that are started elsewhere, as a provisioner of their kernelspec says: runs on them are runs as any other.

The provisioner here is the test's own. It starts kernels as a container or another machine would: with an interpreter
that the gateway knows nothing of, a folder of its own, and nothing of the gateway's processes as their parent.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

PROVISIONER = """
import json, os, signal, subprocess, sys
from jupyter_client.connect import LocalPortCache
from jupyter_client.provisioning import KernelProvisionerBase

class Elsewhere(KernelProvisionerBase):
    pid = 0
    place = os.environ["ELSEWHERE"]

    def note(self, word):
        with open(os.path.join(self.place, "notes"), "a") as file:
            file.write(word + "\\n")

    @property
    def has_process(self):
        return self.pid > 0

    async def pre_launch(self, **kwargs):
        manager = self.parent
        manager.ip = "127.0.0.1"
        for name in ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port"):
            setattr(manager, name, LocalPortCache.instance().find_available_port(manager.ip))
        info = manager.get_connection_info()
        self.connection_info = info
        path = os.path.join(self.place, "connection.json")
        with open(path, "w") as file:
            json.dump({**info, "key": info["key"].decode()}, file)
        command = [word.format(connection_file=path) for word in self.kernel_spec.argv]
        self.note("command " + " ".join(command))
        return {**await super().pre_launch(cmd=command, **kwargs)}

    async def launch_kernel(self, cmd, **kwargs):
        assert cmd[0] == "python"  # of the place where it is started, not of the gateway
        double = [sys.executable, "-c", "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], "
                  "start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)"]
        environ = {**os.environ, **{name: value for name, value in kwargs["env"].items() if name == "KERNEL_ID"}}
        done = subprocess.run([*double, sys.executable, *cmd[1:]], cwd=self.place, env=environ, text=True,
                              stdout=subprocess.PIPE, check=True)
        self.pid = int(done.stdout)
        self.note(f"pid {self.pid}")
        return self.connection_info

    async def poll(self):
        try:
            with open(f"/proc/{self.pid}/stat") as file:
                return 1 if file.read().rpartition(")")[2].split()[0] == "Z" else None
        except OSError:
            return 1

    async def wait(self):
        return 0

    async def send_signal(self, signum):
        self.note(f"signal {int(signum)}")
        try:
            os.kill(self.pid, signum)
        except ProcessLookupError:
            pass

    async def kill(self, restart=False):
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart=False):
        await self.send_signal(signal.SIGTERM)

    async def cleanup(self, restart=False):
        self.note("cleanup")
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts `kernel-gateway run` with a kernelspec whose provisioner is registered by an entry point, as pip would."""
    site = tmp_path / "site"
    info = site / "elsewhere-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "elsewhere.py").write_text(PROVISIONER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[jupyter_client.kernel_provisioners]\nelsewhere = elsewhere:Elsewhere\n")
    spec = tmp_path / "jupyter" / "kernels" / "far"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        json.dumps(
            {
                "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": "Far",
                "language": "python",
                "metadata": {"kernel_provisioner": {"provisioner_name": "elsewhere"}},
            }
        )
    )
    (tmp_path / "place").mkdir()
    environ = {
        **os.environ,
        "PYTHONPATH": str(site),
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "ELSEWHERE": str(tmp_path / "place"),
    }

    def start(code: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "kernel_gateway", "run", "-c", code, "--kernel", "far", "--output-dir", "out"]
        return subprocess.Popen(
            [*command, *options],
            cwd=tmp_path,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def notes(folder: Path) -> list[str]:
    """What the provisioner was told to do."""
    file = folder / "place" / "notes"
    return file.read_text().splitlines() if file.exists() else []


def kernel_pid(folder: Path) -> int:
    """The kernel's pid, as soon as it is there."""
    deadline = time.monotonic() + 60
    while not (found := [note for note in notes(folder) if note.startswith("pid ")]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(found[0].split()[1])


def wait_for_output(folder: Path, text: str) -> None:
    """Wait until the run has printed something."""
    log = folder / "out" / "events.jsonl"
    deadline = time.monotonic() + 60
    while not log.exists() or not any('"stream"' in line and text in line for line in log.read_text().splitlines()):
        assert time.monotonic() < deadline, notes(folder)
        time.sleep(0.05)


def test_a_run_on_it_is_a_run_as_any_other(start: Start, tmp_path: Path) -> None:
    run = start("import os\nprint('from', os.path.basename(os.getcwd()))\n6 * 7", "--require", "accuracy >= 0.5")
    output = run.communicate(timeout=90)[0]

    assert run.returncode == 3, output  # there is no such metric, so the gate can't be met
    assert "from place" in output
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["gates"][0]["passed"] is False
    assert "42" in (tmp_path / "out" / "executed.ipynb").read_text()
    assert f"command python -m ipykernel_launcher -f {tmp_path}/place/connection.json" in notes(tmp_path)
    assert not psutil.pid_exists(kernel_pid(tmp_path))


def test_its_death_is_noticed_and_named(start: Start, tmp_path: Path) -> None:
    run = start("import time\nprint('begun', flush=True)\ntime.sleep(600)")
    wait_for_output(tmp_path, "begun")

    os.kill(kernel_pid(tmp_path), signal.SIGKILL)
    output = run.communicate(timeout=60)[0]

    assert run.returncode == 5, output
    assert "Kernel 'far' died" in output


def test_a_cancel_and_a_kill_go_by_the_provisioner(start: Start, tmp_path: Path) -> None:
    run = start(
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('begun', flush=True)\ntime.sleep(600)"
    )
    wait_for_output(tmp_path, "begun")

    run.terminate()
    output = run.communicate(timeout=60)[0]

    assert run.returncode == 130, output
    told = notes(tmp_path)
    assert told.index(f"signal {signal.SIGINT:d}") < told.index(f"signal {signal.SIGKILL:d}")
    assert not psutil.pid_exists(kernel_pid(tmp_path))
