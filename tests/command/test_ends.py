"""Every end of a run, caused for real: its status, its exit code, and the results it leaves."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command.conftest import Run, Running, Start

pytestmark = pytest.mark.slow

DEAF = """\
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(90)
"""


def test_a_notebook_that_works_succeeds(run: Run, notebook: Callable[..., str]) -> None:
    finished = run(notebook("print('one')", "2 + 2"))
    finished.assert_results("succeeded", 0)
    assert finished.text() == "one\n"
    assert finished.of("result")[0]["data"]["text/plain"] == "4"
    assert "one" in finished.stdout


def test_a_failing_cell_fails_the_run_and_later_cells_do_not_run(run: Run, notebook: Callable[..., str]) -> None:
    finished = run(notebook("print('before')", "raise ValueError('bad model')", "print('after')"))
    finished.assert_results("failed", 1)
    assert "ValueError: bad model" in finished.record["reason"]
    assert [cell["status"] for cell in finished.record["cells"]] == ["ok", "error", "not_run"]
    assert finished.text() == "before\n"


def test_allow_errors_goes_on_and_says_how_many_failed(run: Run, notebook: Callable[..., str]) -> None:
    finished = run(notebook("1 / 0", "print('after')"), "--allow-errors")
    finished.assert_results("succeeded", 0)
    assert finished.text() == "after\n"
    assert "1 cell failed" in finished.record["reason"]


def test_a_missed_gate_makes_the_run_unstable(run: Run) -> None:
    code = "print('::metric name=accuracy value=0.81')"
    finished = run("-c", code, "--require", "accuracy >= 0.92")
    finished.assert_results("unstable", 3)
    assert finished.of("gate")[0]["passed"] is False
    assert "accuracy >= 0.92" in finished.record["reason"]


def test_a_met_gate_succeeds(run: Run) -> None:
    finished = run("-c", "print('::metric name=accuracy value=0.95')", "--require", "accuracy >= 0.92")
    finished.assert_results("succeeded", 0)


def test_the_runs_time_limit_ends_it_as_timed_out(run: Run, notebook: Callable[..., str]) -> None:
    finished = run(notebook("print('begun', flush=True)", "import time; time.sleep(60)"), "--timeout", "3")
    finished.assert_results("timed_out", 4)
    assert finished.seconds < 12
    assert [cell["status"] for cell in finished.record["cells"]] == ["ok", "aborted"]
    assert finished.of("error")[0]["ename"] == "KeyboardInterrupt"


def test_a_cells_time_limit_ends_the_run_and_names_the_cell(run: Run, notebook: Callable[..., str]) -> None:
    finished = run(notebook("1", "# Train\nimport time; time.sleep(60)"), "--cell-timeout", "1")
    finished.assert_results("timed_out", 4)
    assert "Cell 2 (Train) exceeded its limit of 1 s" in finished.record["reason"]


def test_a_cell_that_ignores_interrupts_is_killed_after_the_grace(run: Run) -> None:
    finished = run("-c", DEAF, "--cell-timeout", "1", env={"KERNEL_GATEWAY_INTERRUPT_GRACE": "1"})
    finished.assert_results("timed_out", 4)
    assert finished.text() == "deaf\n"
    assert finished.seconds < 15


def test_a_kernel_that_ignores_interrupts_is_killed_after_the_grace(run: Run) -> None:
    finished = run(
        "-c",
        "x",
        "--kernel",
        "ignores-interrupts",
        "--cell-timeout",
        "1",
        env={"KERNEL_GATEWAY_INTERRUPT_GRACE": "1"},
    )
    finished.assert_results("timed_out", 4)


def test_a_killed_kernel_is_named_and_its_output_kept(run: Run, notebook: Callable[..., str]) -> None:
    finished = run(notebook("print('first', flush=True)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    finished.assert_results("kernel_died", 5)
    assert "SIGKILL" in finished.record["reason"]
    assert finished.text() == "first\n"
    assert [cell["status"] for cell in finished.record["cells"]] == ["ok", "aborted"]


def test_a_kernel_that_exits_by_itself_is_named_with_its_exit_code(run: Run) -> None:
    finished = run("-c", "import os; os._exit(7)")
    finished.assert_results("kernel_died", 5)
    assert "exit code 7" in finished.record["reason"]


def test_a_crashing_kernel_shows_its_last_words(run: Run) -> None:
    finished = run("-c", "import ctypes; ctypes.string_at(0)")
    finished.assert_results("kernel_died", 5)
    assert "SIGSEGV" in finished.record["reason"]
    assert any("Segmentation fault" in event["message"] for event in finished.of("log"))


def test_a_kernel_that_another_restarts_is_noticed(run: Run) -> None:
    finished = run("-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "--kernel", "restarted")
    finished.assert_results("kernel_died", 5)
    assert "restarted" in finished.record["reason"]
    assert finished.seconds < 20


def test_a_kernel_that_ends_while_starting_shows_its_stderr(run: Run) -> None:
    finished = run("-c", "1", "--kernel", "exits-at-start")
    finished.assert_results("kernel_died", 5)
    assert "ended while starting (exit code 3)" in finished.record["reason"]
    assert "libcudart.so.12" in finished.stdout


def test_a_kernel_whose_command_is_missing_is_named(run: Run) -> None:
    finished = run("-c", "1", "--kernel", "missing-command")
    finished.assert_results("kernel_died", 5)
    assert "no-such-kernel" in finished.record["reason"]


def test_a_kernel_that_never_answers_ends_the_run(run: Run) -> None:
    finished = run("-c", "1", "--kernel", "never-answers", env={"KERNEL_GATEWAY_START_TIMEOUT": "2"})
    finished.assert_results("kernel_died", 5)
    assert "did not answer within 2 s" in finished.record["reason"]
    assert "loading a very large model" in finished.stdout


def test_a_kernel_that_never_replies_ends_the_run(run: Run) -> None:
    finished = run("-c", "1", "--kernel", "never-replies", env={"KERNEL_GATEWAY_ANSWER_TIMEOUT": "2"})
    finished.assert_results("kernel_died", 5)
    assert "did not reply" in finished.record["reason"]


def test_a_stopped_kernel_does_not_hang_the_run(run: Run) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    finished = run("-c", code, env={"KERNEL_GATEWAY_ANSWER_TIMEOUT": "3"})
    finished.assert_results("kernel_died", 5)
    assert "within 3 s" in finished.record["reason"] or "for 3 s" in finished.record["reason"]
    assert finished.seconds < 20


def test_a_kernel_that_never_says_idle_costs_patience_not_the_run(run: Run) -> None:
    finished = run("-c", "1", "--kernel", "never-idle")
    finished.assert_results("succeeded", 0)


def test_a_kernel_that_speaks_nonsense_is_survived(run: Run) -> None:
    finished = run("-c", "1", "--kernel", "speaks-nonsense")
    finished.assert_results("succeeded", 0)
    assert finished.text() == "as stdout\n"


def test_every_message_of_a_flood_arrives_in_order(run: Run) -> None:
    finished = run("-c", "20000", "--kernel", "floods")
    finished.assert_results("succeeded", 0)
    assert finished.text() == "".join(f"line {number}\n" for number in range(20000))


def test_input_is_refused_at_once(run: Run) -> None:
    finished = run("-c", "input('name? ')")
    finished.assert_results("failed", 1)
    assert "StdinNotImplementedError" in finished.record["reason"]
    assert finished.seconds < 10


def test_a_kernel_that_asks_for_input_all_the_same_is_told_no(run: Run) -> None:
    finished = run("-c", "x", "--kernel", "asks-for-input", env={"KERNEL_GATEWAY_INTERRUPT_GRACE": "1"})
    finished.assert_results("failed", 1)
    assert "nobody can answer" in finished.record["reason"]


def test_an_unknown_kernelspec_is_bad_usage_and_lists_the_known_ones(run: Run) -> None:
    finished = run("-c", "1", "--kernel", "pyton3")
    finished.assert_results("failed", 2)
    assert "Did you mean 'python3'" in finished.stdout
    assert "never-answers" in finished.record["reason"]


def test_out_of_memory_in_a_cell_is_a_failed_cell(run: Run) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))

    finished = run("-c", "print('allocating')\nx = bytearray(8 << 30)", preexec_fn=limit)
    finished.assert_results("failed", 1)
    assert "MemoryError" in finished.record["reason"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_cancels_the_run_within_seconds(start: Start, number: signal.Signals) -> None:
    running = start("-c", "import time\nprint('begun', flush=True)\ntime.sleep(60)")
    running.wait_for('"begun')
    running.process.send_signal(number)
    finished = running.finish()
    finished.assert_results("cancelled", 130)
    assert number.name in finished.record["reason"]
    assert finished.of("error")[0]["ename"] == "KeyboardInterrupt"
    assert finished.seconds < 15


def test_a_signal_during_the_kernels_start_cancels_too(start: Start) -> None:
    running = start("-c", "1", "--kernel", "never-answers")
    running.wait_for("run_queued")
    running.process.terminate()
    running.finish().assert_results("cancelled", 130)


def test_cancelling_a_deaf_cell_takes_less_than_twenty_seconds(start: Start) -> None:
    running = start("-c", DEAF)
    running.wait_for('"deaf')
    begun = time.monotonic()
    running.process.terminate()
    finished = running.finish()
    finished.assert_results("cancelled", 130)
    assert time.monotonic() - begun < 20


def pids_of(running: Running) -> tuple[int, int]:
    """Pids that the kernel printed: its own and that of a grandchild in a session of its own."""
    running.wait_for("pids ")
    text = (running.folder / "events.jsonl").read_text()
    kernel, grandchild = text.split("pids ")[1].split("\\n")[0].split()[:2]
    return int(kernel), int(grandchild)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def assert_gone(*pids: int, within: float = 5) -> None:
    deadline = time.monotonic() + within
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if alive(pid)]


DAEMON = """\
import os, subprocess, time
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
double = int(subprocess.check_output(["sh", "-c", "setsid sleep 301 >/dev/null 2>&1 & echo $!"]))
print("pids", os.getpid(), child.pid, double, "end", flush=True)
"""


def test_when_the_command_is_killed_no_kernel_and_no_grandchild_survives(start: Start) -> None:
    running = start("-c", DAEMON + "time.sleep(120)")
    kernel, grandchild = pids_of(running)
    assert alive(kernel)
    assert alive(grandchild)
    running.process.kill()
    running.process.communicate()
    assert_gone(kernel, grandchild)


def test_when_the_guard_is_killed_no_kernel_and_no_grandchild_survives(start: Start) -> None:
    running = start("-c", DAEMON + "time.sleep(120)")
    kernel, grandchild = pids_of(running)
    guard = int(Path(f"/proc/{kernel}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(guard, signal.SIGKILL)
    finished = running.finish()
    finished.assert_results("kernel_died", 5)
    assert_gone(kernel, grandchild)


def test_a_finished_run_leaves_no_daemon_behind(start: Start) -> None:
    running = start("-c", DAEMON)
    running.finish().assert_results("succeeded", 0)
    kernel, grandchild = pids_of_log(running.folder)
    assert_gone(kernel, grandchild, within=0.5)


def pids_of_log(folder: Path) -> tuple[int, int]:
    text = (folder / "events.jsonl").read_text()
    kernel, grandchild = text.split("pids ")[1].split("\\n")[0].split()[:2]
    return int(kernel), int(grandchild)


def test_no_temporary_folder_is_left_after_a_kill(start: Start, tmp_path: Path) -> None:
    temporary = tmp_path / "t"
    temporary.mkdir()
    running = start("-c", DAEMON + "time.sleep(120)", env={"TMPDIR": str(temporary)})
    kernel, grandchild = pids_of(running)
    running.process.kill()
    running.process.communicate()
    assert_gone(kernel, grandchild)
    deadline = time.monotonic() + 5
    while list(temporary.glob("kernel-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list(temporary.glob("kernel-*"))
