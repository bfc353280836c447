"""The benchmarks' harness: it runs, and what it computes from samples is right. No test here judges a time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import memory
from benchmarks.commands import CommandFailed, run
from benchmarks.contestants import CONTESTANTS, OURS, Contestant, gateway, peers
from benchmarks.lines import TEMPLATE, NumberedLines
from benchmarks.report import markdown
from benchmarks.samples import SCHEMA
from benchmarks.workloads import FULL, QUICK, SAY, workloads, write_notebook
from benchmarks.workloads.notebooks import ManyNotebooks, OneNotebook
from benchmarks.workloads.service import Memory
from kernel_gateway.kernels.guard import descendants

ROOT = Path(__file__).parent.parent
TINY = NumberedLines(3)
PRINTS = [f"for i in range(2):\n    print('{TEMPLATE}'.format(i))", f"print('{TEMPLATE}'.format(2))"]


def benchmarks(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks", *arguments]


# -- the whole ---------------------------------------------------------------------------------------


def test_a_quick_run_measures_checks_and_reports(tmp_path: Path) -> None:
    chosen = ["--only=hello", "--only=submit", "--only=lines", "--only=latency", "--contestant=embedded"]
    command = benchmarks("--quick", *chosen, "--contestant=cold", "--output", str(tmp_path))

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["schema"] == SCHEMA
    samples = {name: workload["samples"] for name, workload in found["workloads"].items()}
    assert samples["hello"]["embedded"][0]["seconds"] > samples["hello"]["embedded"][0]["first"] > 0
    assert samples["hello"]["cold"][0]["seconds"] > samples["hello"]["cold"][0]["first"] > 0
    assert [len(one["delays"]) for one in samples["submit"]["cold"]] == [QUICK.cold_submits]
    assert [len(one["delays"]) for one in samples["latency"]["cold"]] == [QUICK.stamps]
    for name in ("embedded", "cold"):
        (flood,) = samples["lines"][name]
        assert flood["lost"] == 0
        assert 20 < flood["runner_mb"] < flood["tree_mb"]
    assert (tmp_path / "results.md").read_text() == markdown(found)
    assert "A smoke test of small workloads" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind_when_it_is_stopped_in_mid_run(tmp_path: Path, number: int) -> None:
    command = benchmarks("--only=throughput", "--contestant=cold", "--output", str(tmp_path))
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        below = wait_for(lambda: below_with_kernel(process.pid))
        process.send_signal(number)
        code = process.wait(90)
    finally:
        process.kill()

    assert code == {signal.SIGINT: 130, signal.SIGTERM: 143}[signal.Signals(number)]
    wait_for(lambda: not [pid for pid in below if memory.command_line(pid)])


def below_with_kernel(pid: int) -> list[int]:
    found = descendants(pid)
    return found if any("ipykernel_launcher" in memory.command_line(one) for one in found) else []


def wait_for(told: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := told()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


# -- what is measured --------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """papermill's environment is this one, which has it and nbclient."""
    (tmp_path / "papermill").symlink_to(sys.prefix, target_is_directory=True)
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["embedded", "papermill", "nbclient", "bare loop", "socket loop", "script"])
def test_a_line_that_the_result_lacks_counts_as_lost(name: str, tmp_path: Path) -> None:
    contestant = CONTESTANTS[name]
    whole = flood_of(PRINTS)
    cut = flood_of([PRINTS[0]])

    assert contestant.obstacle() is None
    assert whole.measure(contestant, tmp_path / "whole").lost == 0
    assert cut.measure(contestant, tmp_path / "cut").lost == 1


def flood_of(cells: list[str]) -> OneNotebook:
    return OneNotebook(name="tiny", title="", contestants=(), cells=cells, lines=TINY)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["embedded", "papermill", "bare loop", "script"])
def test_first_output_and_late_lines_are_seen_where_output_is_live(name: str, tmp_path: Path) -> None:
    code = "import time\nfor _ in range(5):\n    print(time.time_ns(), flush=True)\n    time.sleep(0.1)"
    workload = OneNotebook(name="t", title="", contestants=(), cells=[SAY, code], first=True, stamps=5)

    found = workload.measure(CONTESTANTS[name], tmp_path)

    assert len(found.delays) == 5
    assert all(0 <= delay < 60_000 for delay in found.delays)
    assert found.first is not None
    assert found.seconds is not None
    assert 0 < found.first < found.seconds - 0.4  # the cell that follows sleeps for half a second


def test_of_many_notebooks_each_result_is_checked(tmp_path: Path) -> None:
    many = ManyNotebooks(name="many", title="", contestants=(), cells=[SAY], count=3, at_once=2)
    silent = ManyNotebooks(name="silent", title="", contestants=(), cells=["1"], count=1, at_once=1)

    assert (many.measure(CONTESTANTS["embedded"], tmp_path / "many").seconds or 0) > 0
    assert len(list((tmp_path / "many").glob("work-*/results/run.json"))) == 3
    with pytest.raises(CommandFailed, match="lacks what the kernel printed"):
        silent.measure(CONTESTANTS["embedded"], tmp_path / "silent")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["embedded", "nbclient"])
def test_the_memory_of_a_run_is_measured_while_it_waits(name: str, tmp_path: Path) -> None:
    found = Memory(name="memory", title="", contestants=(), alone=True).measure(CONTESTANTS[name], tmp_path)

    assert found.running_mb is not None
    assert 20 < found.running_mb < 1000
    assert found.idle_mb is None


@pytest.mark.usefixtures("here")
def test_a_contestant_whose_result_lacks_output_or_images_is_refused(tmp_path: Path) -> None:
    silent = OneNotebook(name="silent", title="", contestants=(), cells=["1"])
    blind = OneNotebook(name="blind", title="", contestants=(), cells=["print('kernel-says-' 'hello')"], images=1)

    with pytest.raises(CommandFailed, match="lacks what the kernel printed"):
        silent.measure(CONTESTANTS["embedded"], tmp_path / "silent")
    with pytest.raises(CommandFailed, match="0 of 1 images"):
        blind.measure(CONTESTANTS["nbclient"], tmp_path / "blind")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["embedded", "papermill", "nbclient", "bare loop"])
def test_a_cell_that_fails_fails_the_contestant(name: str, tmp_path: Path) -> None:
    workload = OneNotebook(name="bad", title="", contestants=(), cells=["raise ValueError('gone wrong')"])

    with pytest.raises(CommandFailed, match="gone wrong"):
        workload.measure(CONTESTANTS[name], tmp_path)


def test_a_command_that_fails_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="ended with 3: gone wrong"):
        run([sys.executable, "-c", "print('gone wrong'); exit(3)"], tmp_path, os.environ)
    with pytest.raises(CommandFailed, match=r'File "…/x\.py", line 1, a/b'):
        run([sys.executable, "-c", "print('File \"/home/me/x.py\", line 1, a/b'); exit(3)"], tmp_path, os.environ)


def test_the_time_a_line_takes_is_measured_where_it_arrives(tmp_path: Path) -> None:
    code = "import time; print(time.time_ns(), flush=True); time.sleep(0.2); print(time.time_ns() - 10**9, flush=True)"

    outcome = run([sys.executable, "-c", code], tmp_path, os.environ, stamps=True)

    assert len(outcome.delays) == 2
    assert 0 <= outcome.delays[0] < 1000 <= outcome.delays[1]


def test_a_word_that_arrives_in_two_pieces_is_seen(tmp_path: Path) -> None:
    code = "import sys, time\nfor part in ('ear', 'ly\\n'): sys.stdout.write(part); sys.stdout.flush(); time.sleep(0.1)"

    assert run([sys.executable, "-c", code], tmp_path, os.environ, marker="early").first is not None
    assert run([sys.executable, "-c", code], tmp_path, os.environ, marker="late").first is None


def test_memory_is_that_of_the_process_that_is_asked_for_and_of_all(tmp_path: Path) -> None:
    child = "import time; hog = bytearray(100_000_000); time.sleep(1)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    roots: list[int] = []
    watch = memory.MemoryWatch(lambda pid: pid in roots)

    def begun(pid: int) -> None:
        roots.append(pid)
        watch.watch(roots)

    run([sys.executable, "-c", code], tmp_path, os.environ, begun=begun)
    watch.stop()

    assert watch.runner is not None
    assert watch.runner < 100 < watch.tree
    assert memory.MemoryWatch(lambda pid: False).runner is None


# -- the lists ---------------------------------------------------------------------------------------


def test_every_workload_names_known_contestants_and_ours_is_among_them() -> None:
    for scale in (FULL, QUICK):
        for workload in workloads(scale):
            known = {*workload.contestants, *workload.once, *workload.fewer}
            assert known <= CONTESTANTS.keys()
            assert set(OURS) & set(workload.contestants)
            assert len(set(workload.contestants)) == len(workload.contestants)


def test_a_quick_run_has_everyone_once_at_least() -> None:
    assert {name for workload in workloads(QUICK) for name in workload.contestants} == CONTESTANTS.keys()


def test_the_floods_are_100_mb() -> None:
    floods = [workload.lines for workload in workloads(FULL) if isinstance(workload, OneNotebook) and workload.lines]

    assert [flood.characters for flood in floods] == [100_000_000] * 2


def test_cells_that_print_the_marker_do_not_hold_it() -> None:
    for workload in workloads(FULL):
        if isinstance(workload, OneNotebook):
            assert "kernel-says-hello" not in "".join(workload.cells)


def test_a_build_without_an_option_is_told_and_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    forked = CONTESTANTS["forked"]

    monkeypatch.setattr(gateway, "options_of_serve", lambda: frozenset(["--slots"]))
    assert forked.obstacle() == "This build's `kernel-gateway serve` has no option --warm, --preload."
    monkeypatch.setattr(gateway, "options_of_serve", lambda: frozenset(["--slots", "--warm", "--preload"]))
    assert forked.obstacle() is None


class Pools:
    """A client whose agent tells of one pool after the other, the last one for ever."""

    def __init__(self, *pools: list[dict[str, Any]] | None) -> None:
        self.pools = list(pools)

    def agents(self) -> list[dict[str, Any]]:
        return [{"name": "local", "pool": self.pools.pop(0) if len(self.pools) > 1 else self.pools[0]}]


def service_with(*pools: list[dict[str, Any]] | None) -> tuple[gateway.Service, Pools]:
    service, client = gateway.Service.__new__(gateway.Service), Pools(*pools)
    vars(service)["client"] = client
    return service, client


def pool(idle: int, starting: int, target: int = 4) -> list[dict[str, Any]]:
    return [{"kernel": "python3", "idle": idle, "starting": starting, "target": target}]


def test_a_round_waits_until_all_kernels_are_ready_and_none_is_being_started() -> None:
    service, client = service_with(None, [], pool(0, 4), pool(3, 1), pool(4, 1), pool(4, 0), pool(0, 0))

    service.wait_for_pool(4)

    assert client.pools == [pool(0, 0)]


def test_a_pool_that_the_service_keeps_smaller_is_waited_for_no_longer() -> None:
    service, client = service_with(pool(1, 1, target=2), pool(2, 0, target=2), pool(0, 0))

    service.wait_for_pool(4)

    assert client.pools == [pool(0, 0)]


def test_a_pool_without_a_ready_kernel_fails_the_contestant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "READY_SECONDS", 0.2)

    service_with(pool(1, 1))[0].wait_for_pool(4)
    with pytest.raises(CommandFailed, match="no kernel was ready"):
        service_with(pool(0, 1))[0].wait_for_pool(4)


def test_the_options_of_this_build_are_read_from_its_help() -> None:
    assert {"--slots", "--port"} <= gateway.options_of_serve()


def test_every_command_gets_the_same_environment_without_settings_of_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KERNEL_GATEWAY_URL", "http://elsewhere")
    monkeypatch.setenv("JUPYTER_PATH", "/elsewhere")
    mine: Iterator[Contestant] = (one for one in CONTESTANTS.values() if not isinstance(one, gateway.ByService))

    environs = [contestant.environ() for contestant in mine]

    assert all(environ == environs[0] for environ in environs)
    assert not re.search(r"elsewhere", str(environs[0]))


def test_a_notebook_and_its_script_hold_the_same_code(tmp_path: Path) -> None:
    path = write_notebook("n", ["a = 1", "print(a)"], tmp_path / "n")

    cells = json.loads(path.read_text())["cells"]
    assert "\n".join(cell["source"] for cell in cells) == path.with_suffix(".py").read_text().strip()


def test_the_commands_may_be_run() -> None:
    assert all(os.access(ROOT / name, os.X_OK) for name in ("benchmarks/run", "scripts/peers"))
