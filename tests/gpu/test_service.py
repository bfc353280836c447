"""One machine shared between runs: GPUs, CPUs and memory go to one run at a time and come back, whatever is killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.command.conftest import Start
from tests.gpu.conftest import GIB, StandIn
from tests.service.conftest import Serve, Service
from tests.service.idle import wait_for_idle, wait_until

pytestmark = pytest.mark.slow

SEEN = "import os; print('sees', os.environ['CUDA_VISIBLE_DEVICES'] or 'none')\n"
SPAN = SEEN + "import time; begun = time.time(); time.sleep({}); print('span', begun, time.time())"
UNTIL = SEEN + (
    "import time; begun = time.time()\n"
    "while not os.path.exists({!r}) and time.time() < begun + 100: time.sleep(0.05)\n"
    "print('span', begun, time.time())"
)
HOLD = SEEN + "import time; time.sleep({})"


def agent(service: Service) -> dict[str, Any]:
    """What the service says of its machine."""
    view: dict[str, Any] = service.ask("GET", "/api/v1/agents").json["agents"][0]
    return view


def seen(service: Service, id: str) -> str:
    """The GPUs that a run's kernel saw."""
    found = re.search(r"^sees (\S+)$", service.text(id), re.MULTILINE)
    assert found, service.events(id)[-3:]
    return found[1]


def started(service: Service, id: str) -> float:
    """When a run's kernel began, by the kernel's own clock."""
    found = re.search(r"^span (\S+) \S+$", service.text(id), re.MULTILINE)
    assert found, service.events(id)[-3:]
    return float(found[1])


def overlaps(service: Service, ids: list[str]) -> list[tuple[str, str]]:
    """Pairs of runs whose kernels were on one GPU at one time, by what the kernels themselves wrote."""
    spans = {}
    for id in ids:
        found = re.search(r"^span (\S+) (\S+)$", service.text(id), re.MULTILINE)
        assert found, service.events(id)[-3:]
        spans[id] = (seen(service, id).split(","), float(found[1]), float(found[2]))
    return [
        (one, other)
        for (one, (mine, begun, ended)), (other, (theirs, start, end)) in itertools.combinations(spans.items(), 2)
        if set(mine) & set(theirs) and begun < end and start < ended
    ]


def test_four_runs_of_one_gpu_each_share_two_gpus_and_never_meet_on_one(serve: Serve) -> None:
    service = serve("--gpus", "0,1", "--slots", "4")
    ids = [service.submit(SPAN.format(1.5), gpus=1) for _ in range(4)]

    assert [service.wait_for(id) for id in ids] == ["succeeded"] * 4
    assert {seen(service, id) for id in ids} == {"0", "1"}
    assert overlaps(service, ids) == []
    first, second, third, fourth = sorted(ids, key=lambda id: started(service, id))
    assert seen(service, first) != seen(service, second)  # both GPUs were in use at once
    assert third != fourth


def test_a_waiting_run_of_two_gpus_is_not_passed_by_small_ones(serve: Serve) -> None:
    service = serve("--gpus", "0,1", "--slots", "4")
    first = service.submit(SPAN.format(2), gpus=1)
    service.wait_for(first, {"running"})
    large = service.submit(SPAN.format(0.2), gpus=2)
    small = [service.submit(SPAN.format(0.2), gpus=1) for _ in range(3)]
    plain = service.submit(SPAN.format(0.1))
    for id in (first, large, *small, plain):
        assert service.wait_for(id) == "succeeded"

    assert seen(service, large) == "0,1"
    assert all(started(service, large) < started(service, id) for id in small)
    assert started(service, plain) < started(service, large)  # it takes nothing that the large one waits for
    assert overlaps(service, [first, large, *small]) == []


@pytest.mark.parametrize("victim", ["runner", "dispatcher", "service"])
def test_gpus_come_back_when_something_is_killed_in_mid_run(serve: Serve, victim: str, tmp_path: Path) -> None:
    service = serve("--gpus", "0,1", "--slots", "4")
    holder = service.submit(UNTIL.format(str(tmp_path / "go")), gpus=2)
    service.wait_for_text(holder, "sees 0,1")
    waiting = service.submit(SPAN.format(0.1), gpus=1)
    if victim == "runner":
        _kill_runner(service, holder)
        assert service.wait_for(holder) == "lost"
    elif victim == "dispatcher":
        (dispatcher,) = service.children("agents.dispatcher")
        dispatcher.kill()
    else:
        service.kill()
        service.start()
    if victim != "runner":
        wait_until(lambda: agent(service)["gpus"] == {"0": holder, "1": holder}, "the GPUs are not held again")
        assert service.run(waiting)["status"] == "queued"
        (tmp_path / "go").touch()
        assert service.wait_for(holder) == "succeeded"

    assert service.wait_for(waiting) == "succeeded"
    if victim != "runner":
        assert overlaps(service, [holder, waiting]) == []
    wait_until(lambda: set(agent(service)["gpus"].values()) == {None}, "a GPU leaked")


def _kill_runner(service: Service, id: str) -> None:
    """Kill the runner of a run, by its note: one that was forked goes by another command line."""
    pid = int((service.data / "runs" / id / "runner.pid").read_text().split()[0])
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()


def test_what_a_run_holds_is_known_again_although_the_database_never_heard_of_it(serve: Serve, tmp_path: Path) -> None:
    service = serve("--gpus", "0,1", "--slots", "4")
    holder = service.submit(UNTIL.format(str(tmp_path / "go")), gpus=1, cpus=1)
    service.wait_for_text(holder, "sees 0")
    service.kill()
    # As if the dispatcher had been killed between the start of the runner and its note in the database.
    with contextlib.closing(sqlite3.connect(service.data / "gateway.db")) as database, database:
        database.execute("UPDATE runs SET gpu_ids = '[]', runner_pid = NULL")
    service.start()
    other = service.submit(SPAN.format(0.1), gpus=1)
    assert service.wait_for(other) == "succeeded"

    assert seen(service, other) == "1"
    (tmp_path / "go").touch()
    assert service.wait_for(holder) == "succeeded"


def test_cpus_and_memory_are_granted_like_gpus_and_told(serve: Serve) -> None:
    service = serve("--gpus", "none", "--cpus", "2", "--memory", "4G", "--slots", "4")
    code = "import os; print('threads', os.environ['OMP_NUM_THREADS']); " + SPAN.format(1.5)
    first = service.submit(code, cpus=1.5, memory="1G")
    second = service.submit(code, cpus=1, memory=GIB)
    service.wait_for_text(first, "sees none")

    view = agent(service)
    assert view["cpus"] == {"total": 2, "free": 0.5}
    assert view["memory"] == {"total": 4 * GIB, "free": 3 * GIB}
    assert view["holders"] == [{"run": first, "gpus": [], "cpus": 1.5, "memory": GIB}]
    figures = service.ask("GET", "/metrics").body.decode()
    assert "kernel_gateway_cpus_free 0.5" in figures
    page = service.ask("GET", "/").body.decode()
    assert "0.5 of 2 free" in page
    assert "1.5 CPUs, 1.0 GiB" in page
    assert [service.wait_for(id) for id in (first, second)] == ["succeeded"] * 2
    assert started(service, second) > started(service, first) + 1.5
    assert "threads 1\n" in service.text(first)
    resources = service.events(first)[0]["resources"]
    assert (resources["cpus"], resources["memory"]) == (1.5, GIB)
    assert {event["name"] for event in service.events(first) if event["type"] == "metric"} == {
        "memory.peak",
        "cpu.seconds",
    }
    for field, wish in (("cpus", 3), ("memory", "5G"), ("gpus", 1)):
        answer = service.ask("POST", "/api/v1/runs", {"source": {"content": "1"}, field: wish})
        assert (answer.status, answer.json["errors"][0]["field"]) == (422, field)


def test_a_run_over_its_memory_is_stopped_and_the_others_are_not(serve: Serve) -> None:
    service = serve("--gpus", "none", "--slots", "2")
    greedy = "print('begins', flush=True)\nheld = []\nwhile True:\n    held.append(b'x' * 20_000_000)"
    other = service.submit("import time; time.sleep(4); print('well')")
    id = service.submit(greedy, max_memory="400M")

    assert service.wait_for(id) == "failed"
    assert "more than the 0.3906 GiB that it may (--max-memory" in service.run(id)["reason"]
    assert "begins" in service.text(id)
    assert service.ask("GET", f"/api/v1/runs/{id}/notebook").status == 200
    assert service.wait_for(other) == "succeeded"


@pytest.mark.parametrize(
    ("options", "start"),
    [(("--warm", "python3=1"), "warm"), (("--warm", "python3=1", "--preload", "numpy"), "warm"), ((), "cold")],
    ids=["warm", "warm-forked", "cold"],
)
def test_kernels_that_were_there_before_their_run_see_its_gpus_by_uuid(
    serve: Serve, nvml: StandIn, options: tuple[str, ...], start: str
) -> None:
    service = serve("--slots", "2", *options, **nvml.env)
    if start == "warm":
        wait_for_idle(service)
    code = SEEN + (
        "import numpy, threadpoolctl\n"
        "print('pools', sorted({pool['num_threads'] for pool in threadpoolctl.threadpool_info()}))"
    )
    id = service.submit(code, gpus=1, cpus=1)
    assert service.wait_for(id) == "succeeded", service.events(id)

    assert seen(service, id) == nvml.uuids[0]
    assert "pools [1]" in service.text(id)
    events = {event["type"]: event for event in service.events(id)}
    assert events["run_started"]["start"] == start
    assert events["run_finished"]["usage"]["gpu.memory.peak"] == GIB
    plain = service.submit(SEEN)
    assert service.wait_for(plain) == "succeeded"
    assert seen(service, plain) == "none"
    devices = agent(service)["devices"]
    assert [(device["id"], device["index"]) for device in devices] == [(nvml.uuids[0], 0), (nvml.uuids[1], 1)]


def test_a_service_leaves_a_gpu_alone_that_a_run_without_it_has(serve: Serve, start: Start, nvml: StandIn) -> None:
    service = serve("--slots", "2", **nvml.env)
    single = start("-c", HOLD.format(6), "--gpus", "1", env=nvml.env)
    single.wait_for('"text":"sees GPU-')
    both = service.submit(SPAN.format(0.1), gpus=2)
    id = service.submit(SPAN.format(0.1), gpus=1, priority=1)
    assert service.wait_for(id) == "succeeded"

    assert seen(service, id) == nvml.uuids[1]
    assert agent(service)["elsewhere"] == [nvml.uuids[0]]
    assert service.run(both)["status"] == "queued"
    single.finish()
    assert service.wait_for(both) == "succeeded"
    wait_until(lambda: agent(service)["elsewhere"] == [], "the GPU is still said to be in use")


def test_nvml_that_fails_is_a_warning_and_the_service_runs(serve: Serve, nvml: StandIn) -> None:
    nvml.says(f"gpu {nvml.uuids[0]} {80 * GIB} 0 0", "lost")
    service = serve("--slots", "1", **nvml.env)

    assert list(agent(service)["gpus"]) == [nvml.uuids[0]]
    assert "GPU 1 is left out: NVML says: GPU is lost" in agent(service)["gpu_problem"]
    assert "not all GPUs of this machine can be used" in service.log()
    id = service.submit(SEEN, gpus=1)
    assert service.wait_for(id) == "succeeded"


def test_a_kernel_in_which_cuda_was_in_use_already_is_not_given_gpus(serve: Serve, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        if os.environ.get("KERNEL_GATEWAY_REQUIRE_KERNELS"):
            pytest.fail("there is no C compiler; scripts/setup --kernels installs one", pytrace=False)
        pytest.skip("there is no C compiler for a library that goes by the name of CUDA's driver")
    (tmp_path / "empty.c").write_text("int nothing;\n")
    library = tmp_path / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-o", str(library), str(tmp_path / "empty.c")], check=True)
    (tmp_path / "module_with_cuda.py").write_text(f"import ctypes\nctypes.CDLL({str(library)!r})\n")
    options = ("--warm", "python3=1", "--preload", "module_with_cuda", "--gpus", "0")
    service = serve("--slots", "1", *options, PYTHONPATH=str(tmp_path))
    wait_for_idle(service)
    id = service.submit(SEEN, gpus=1)
    assert service.wait_for(id) == "succeeded"

    assert seen(service, id) == "0"
    events = service.events(id)
    assert next(event for event in events if event["type"] == "run_started")["start"] == "cold"
    assert any("another one is started" in event.get("message", "") for event in events)
    wait_for_idle(service)
    plain = service.submit(SEEN)
    assert service.wait_for(plain) == "succeeded"
    assert next(event for event in service.events(plain) if event["type"] == "run_started")["start"] == "warm"
