"""Kernels that are there before their run: they work as any other does, and nothing of one run is seen by the next."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from kernel_gateway.kernels.sandbox import works
from tests.conftest import REQUIRE_KERNELS
from tests.service.conftest import Service
from tests.service.idle import run, wait_for_fork_server, wait_for_idle, wait_until

pytestmark = pytest.mark.slow

MODES = {
    "warm": (("--warm", "python3=1"), "warm"),
    "forked": (("--preload", "numpy,random"), "forked"),
    "warm-forked": (("--warm", "python3=1", "--preload", "numpy"), "warm"),
}


@dataclass
class Kept:
    """A service with kernels of one mode. ``start``: how its kernels come to be."""

    service: Service
    start: str

    def run(self, code: str, **request: Any) -> str:
        """Run a snippet on such a kernel; what it printed."""
        if self.start == "warm":
            wait_for_idle(self.service)
        start, text = run(self.service, code, **request)
        assert start == self.start
        return text


@pytest.fixture(scope="module", params=["warm-on", "forked-on", "forked-off", "warm-forked-off"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    mode, _, sandbox = request.param.rpartition("-")
    if sandbox == "on" and not works():
        reason = "bubblewrap is not installed or may not make namespaces here"
        if os.environ.get(REQUIRE_KERNELS):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    options, start = MODES[mode]
    folder = tmp_path_factory.mktemp("warm")
    service = Service(folder / "data", (*options, "--slots", "1"), {"KERNEL_GATEWAY_SANDBOX": sandbox})
    service.start()
    try:
        if start == "forked":
            wait_for_fork_server(service)
        yield Kept(service, start)
    finally:
        service.close()


FIND_HISTORY = """
shell = get_ipython()
found = [line for *_, line in shell.history_manager.search("*first*", unique=True)]
print([line for line in found if "shell" not in line])
"""
FIND_FILES = """
import os
fds = ["/proc/self/fd/" + fd for fd in os.listdir("/proc/self/fd")]
print([os.readlink(fd) for fd in fds if os.path.lexists(fd) and "leaked" in os.readlink(fd)])
"""
LEAKS = {
    "variables": ("leaked = 1", "print('leaked' in globals() or 'leaked' in vars(__import__('builtins')))"),
    "cwd": (
        "import os; os.mkdir('sub'); os.chdir('sub')",
        "import os; print(os.listdir() or not os.getcwd().endswith('work'))",
    ),
    "environ": ("import os; os.environ['LEAKED'] = '1'", "import os; print('LEAKED' in os.environ)"),
    "history": ("'a line of the first run'", FIND_HISTORY),
    "open files": ("kept = open('leaked.txt', 'w')", FIND_FILES),
    "threads": (
        "import threading\nthreading.Thread(target=threading.Event().wait, name='leaked', daemon=True).start()",
        "import threading; print([thread.name for thread in threading.enumerate() if thread.name == 'leaked'])",
    ),
    "temporary files": (
        "import tempfile; tempfile.mkstemp()",
        "import os, tempfile; print(os.listdir(tempfile.gettempdir()))",
    ),
    "modules": (
        "import json, sys; json.dumps = None; sys.modules['leaked'] = json; sys.path.append('leaked')",
        "import json, sys; print(json.dumps is None or 'leaked' in sys.modules or 'leaked' in sys.path)",
    ),
    "settings of libraries": (
        "import numpy; numpy.set_printoptions(precision=2); numpy.seterr(all='raise')",
        "import numpy; print(numpy.get_printoptions()['precision'] == 2 or 'raise' in numpy.geterr().values())",
    ),
    "signal handlers": (
        "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)",
        "import signal; print(signal.getsignal(signal.SIGUSR1) != signal.SIG_DFL)",
    ),
    "workspace": ("open('left.txt', 'w').close()", "import os; print(os.path.exists('left.txt'))"),
    "execution count": ("1", "print(In[1:-1] or bool(Out))"),
}


@pytest.mark.parametrize("what", LEAKS)
def test_nothing_of_one_run_is_seen_by_the_next(kept: Kept, what: str) -> None:
    pollute, probe = LEAKS[what]
    kept.run(pollute)
    assert kept.run(probe).strip() in ("False", "[]")


def test_a_secret_is_gone_with_its_run(kept: Kept) -> None:
    here = "import os, pathlib\nvalue = 'hunter2' + '-of-run-one'\n"
    assert kept.run("import os; print(len(os.environ['KEY']))", secrets={"KEY": "hunter2-of-run-one"}) == "18\n"
    probe = "print('KEY' in os.environ, value.encode() in pathlib.Path('/proc/self/environ').read_bytes())"
    assert kept.run(here + probe) == "False False\n"


def test_random_numbers_differ_between_kernels(kept: Kept) -> None:
    code = (
        "import multiprocessing, os, random, uuid\nimport numpy\n"
        "print(random.random(), numpy.random.rand(), uuid.uuid4(), multiprocessing.current_process().authkey.hex())"
    )
    first, second = kept.run(code).split(), kept.run(code).split()
    assert not set(first) & set(second)


def test_a_process_left_behind_ends_with_its_run(kept: Kept) -> None:
    code = "import subprocess\nchild = subprocess.Popen(['sleep', '{0}'], start_new_session=True)"
    mark = str(86400 + hash(kept.service.url) % 1000)
    kept.run(code.format(mark))
    wait_until(lambda: not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", mark]], mark)


FIND_RUN = """
import os
print(open("input.txt").read(), os.environ["KERNEL_GATEWAY_RUN_ID"], os.environ["KEY"] == "x" * 12)
open("helper.py", "w").write("answer = 42")
import helper
print(helper.answer, os.path.basename(os.getcwd()))
"""


def test_a_run_finds_its_workspace_environment_and_folder(kept: Kept) -> None:
    content = b"data of the step"
    digest = hashlib.sha256(content).hexdigest()
    kept.service.ask("PUT", f"/api/v1/blobs/{digest}", content)
    cell: dict[str, Any] = {
        "cell_type": "code",
        "source": FIND_RUN,
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    source = json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4})
    if kept.start == "warm":
        wait_for_idle(kept.service)
    request = {
        "name": "deep",
        "source": {"content": source, "path": "notebooks/deep.ipynb"},
        "workspace": [{"path": "notebooks/input.txt", "sha256": digest, "size": len(content)}],
        "secrets": {"KEY": "x" * 12},
    }
    answer = kept.service.ask("POST", "/api/v1/runs", request)
    assert answer.status == 201, answer.body
    id = answer.json["id"]
    assert kept.service.wait_for(id) == "succeeded", kept.service.events(id)
    assert kept.service.text(id) == f"data of the step {id} True\n42 notebooks\n"
    assert next(e for e in kept.service.events(id) if e["type"] == "run_started")["start"] == kept.start


def test_a_cell_can_not_take_the_sandbox_down(kept: Kept) -> None:
    data = str(kept.service.data)
    attack = (
        "import ctypes, os, subprocess\n"
        f"data = {data!r}\n"
        "subprocess.run(['umount', '-l', data], stderr=subprocess.DEVNULL)\n"
        "ctypes.CDLL(None).umount2(data.encode(), 2)\n"
        "subprocess.run(['sh', '-c', f'umount -l {data}; unshare -m umount -l {data}'], stderr=subprocess.DEVNULL)\n"
        "print(os.path.exists(os.path.join(data, 'gateway.db')))\n"
    )
    sandboxed = kept.service.env["KERNEL_GATEWAY_SANDBOX"] == "on"
    assert kept.run(attack) == ("False\n" if sandboxed else "True\n")


def test_figures_errors_and_interrupts_work_as_in_any_kernel(kept: Kept) -> None:
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()"
    id = kept.service.submit(code)
    assert kept.service.wait_for(id) == "succeeded"
    assert [event["type"] for event in kept.service.events(id)].count("display") == 1
    id = kept.service.submit("1 / 0")
    assert kept.service.wait_for(id) == "failed"
    assert "ZeroDivisionError" in kept.service.run(id)["reason"]
    id = kept.service.submit("import time\nprint('on', flush=True)\ntime.sleep(100)", timeout=60)
    kept.service.wait_for_text(id, "on")
    kept.service.ask("POST", f"/api/v1/runs/{id}/cancel")
    assert kept.service.wait_for(id) == "cancelled"
    assert any(event.get("ename") == "KeyboardInterrupt" for event in kept.service.events(id))


BREAK = """
import resource, socket
here, there = socket.socketpair()
there.close()
try:
    here.send(b"x")
except BrokenPipeError as error:
    print(type(error).__name__)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    with open("full", "wb", 0) as file:
        while True:
            file.write(b"x" * 20)
except OSError as error:
    print(error.strerror)
"""


def test_broken_pipes_and_full_files_are_errors_as_in_any_kernel(kept: Kept) -> None:
    assert kept.run(BREAK) == "BrokenPipeError\nFile too large\n"


FIND_PIPES = """
import os
try:
    found = {os.readlink(f"/proc/1/fd/{fd}") for fd in os.listdir("/proc/1/fd")}
except PermissionError:
    found = set()  # it can't even be looked at
print(found <= {os.devnull})
"""


def test_the_process_above_a_kernel_holds_nothing_that_it_could_open(kept: Kept) -> None:
    if "kernel-init" in kept.run("print(open('/proc/1/comm').read())"):
        assert kept.run(FIND_PIPES) == "True\n"
    else:
        assert kept.start == "warm" or kept.service.env["KERNEL_GATEWAY_SANDBOX"] == "off"  # bubblewrap's, or none


def test_a_kernel_that_is_killed_names_the_signal(kept: Kept) -> None:
    id = kept.service.submit("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert kept.service.wait_for(id) == "kernel_died"
    assert "SIGKILL" in kept.service.run(id)["reason"]
