"""GPUs of a run without a gateway: which ones it gets, that nobody else has them, and what it used of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.command.conftest import Run, Start
from tests.gpu.conftest import GIB, StandIn

TELL = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
HOLD = TELL + "; import time; time.sleep({})"


def test_a_run_gets_whole_gpus_by_uuid_in_the_order_of_the_bus(run: Run, nvml: StandIn) -> None:
    assert run("-c", TELL, "--gpus", "1", env=nvml.env).text() == f"{nvml.uuids[0]}\n"
    assert run("-c", TELL, "--gpus", "2", env=nvml.env).text() == ",".join(nvml.uuids) + "\n"


def test_a_list_in_the_environment_is_respected_and_its_numbers_become_uuids(run: Run, nvml: StandIn) -> None:
    env = {**nvml.env, "CUDA_VISIBLE_DEVICES": f"1,{nvml.uuids[0][:12]}"}
    done = run("-c", TELL, "--gpus", "2", env=env)

    assert done.text() == f"{nvml.uuids[1]},{nvml.uuids[0]}\n"


@pytest.mark.parametrize("inherited", [None, "0,1"])
def test_a_run_that_asks_for_no_gpu_sees_none(run: Run, nvml: StandIn, inherited: str | None) -> None:
    env = nvml.env | ({"CUDA_VISIBLE_DEVICES": inherited} if inherited else {})

    assert run("-c", TELL, env=env).text() == "\n"


def test_two_runs_at_once_take_different_gpus_and_a_third_waits(
    run: Run, start: Start, nvml: StandIn, tmp_path: Path
) -> None:
    running = [
        start("-c", HOLD.format(4), "--gpus", "1", "--output-dir", str(tmp_path / name), env=nvml.env)
        for name in ("one", "two")
    ]
    for each in running:
        each.wait_for('"text":"GPU-')
    third = run("-c", TELL, "--gpus", "1", env=nvml.env)
    done = [each.finish() for each in running]

    assert {each.text().strip() for each in done} == set(nvml.uuids)
    assert "waiting for GPUs that others have: GPU-" in third.stderr
    assert third.exit_code == 0


def test_a_killed_run_gives_its_gpu_back(run: Run, start: Start, nvml: StandIn) -> None:
    holder = start("-c", HOLD.format(60), "--gpus", "2", env=nvml.env)
    holder.wait_for('"text":"GPU-')
    holder.process.kill()
    holder.finish()
    begun = time.monotonic()
    done = run("-c", TELL, "--gpus", "2", env=nvml.env)

    assert done.exit_code == 0
    assert time.monotonic() - begun < 30  # it slept for 60


def test_waiting_for_a_gpu_counts_as_time_of_the_run(run: Run, start: Start, nvml: StandIn, tmp_path: Path) -> None:
    holder = start("-c", HOLD.format(30), "--gpus", "2", "--output-dir", str(tmp_path / "holder"), env=nvml.env)
    holder.wait_for('"text":"GPU-')
    done = run("-c", TELL, "--gpus", "1", "--timeout", "1", env=nvml.env)
    holder.process.terminate()
    holder.finish()

    done.assert_results("timed_out", 4)
    assert "while it waited for GPUs" in done.record["reason"]


def test_peak_memory_and_utilization_become_metrics_before_gates_are_judged(run: Run, nvml: StandIn) -> None:
    nvml.two_gpus(used=3 * GIB, percent=75)
    gates = ("gpu.memory.peak <= 4e9", "gpu.utilization.mean > 70", "gpu.hours < 0.1", "memory.peak < 64e9")
    done = run("-c", "1", "--gpus", "1", *(word for gate in gates for word in ("--require", gate)), env=nvml.env)

    done.assert_results("succeeded", 0)
    metrics = {event["name"]: event["value"] for event in done.of("metric")}
    assert metrics["gpu.memory.peak"] == 3 * GIB
    assert metrics["gpu.utilization.mean"] == 75
    assert {event["source"] for event in done.of("metric")} == {"gateway"}
    assert done.record["resources"]["used"]["gpu.utilization.peak"] == 75
    types = [event["type"] for event in done.events]
    assert types.index("metric") < types.index("gate")


def test_memory_on_a_gpu_is_that_of_the_runs_own_processes_where_nvml_tells(run: Run, nvml: StandIn) -> None:
    line = f"gpu {nvml.uuids[0]} {80 * GIB} {50 * GIB} 10 1:{40 * GIB}"
    code = (
        "import os, time\n"
        f"with open({str(nvml.file)!r}, 'w') as file:\n"
        f"    file.write({line!r} + f' {{os.getpid()}}:{2 * GIB}\\n')\n"
        "time.sleep(1.5)"
    )
    nvml.says(f"gpu {nvml.uuids[0]} {80 * GIB} 0 0")
    done = run("-c", code, "--gpus", "1", env=nvml.env)

    assert done.exit_code == 0, done.stderr
    assert done.record["resources"]["used"]["gpu.memory.peak"] == 2 * GIB


def test_a_gpu_that_is_lost_in_mid_run_is_a_warning(run: Run, nvml: StandIn) -> None:
    code = f"import time; time.sleep(1.2); open({str(nvml.file)!r}, 'w').write('lost\\n'); time.sleep(1.2)"
    done = run("-c", code, "--gpus", "1", env=nvml.env)

    done.assert_results("succeeded", 0)
    (remark,) = done.of("log")
    assert remark["level"] == "warning"
    assert "NVML says: GPU is lost" in remark["message"]


def test_a_driver_that_does_not_match_is_named_when_gpus_are_asked_for(run: Run, nvml: StandIn) -> None:
    nvml.says("error 18")
    done = run("-c", "1", "--gpus", "1", env=nvml.env)

    done.assert_results("failed", 2)
    assert (
        "none is visible on this machine (NVML says: RM has detected an NVML/RM version mismatch)."
        in done.record["reason"]
    )
    assert run("-c", "1", env=nvml.env).exit_code == 0


def test_gpu_hours_stop_a_run_as_a_time_limit_does(run: Run, nvml: StandIn) -> None:
    done = run("-c", "import time; time.sleep(60)", "--gpus", "2", "--max-gpu-hours", "0.0012", env=nvml.env)

    done.assert_results("timed_out", 4)
    assert "limit of 0.0012 GPU-hours: it held 2 GPUs for 2.16 s" in done.record["reason"]
    assert done.record["resources"]["used"]["gpu.hours"] >= 0.0012


def test_the_report_says_what_was_used_and_the_headlines_do_not(run: Run, nvml: StandIn) -> None:
    done = run("-c", "print('::metric name=accuracy value=0.9')", "--gpus", "1", env=nvml.env)
    page = (done.folder / "report" / "index.html").read_text()
    resources = page[page.index('id="resources"') :].partition("</section>")[0]
    metrics = page[page.index('id="metrics"') :].partition("</section>")[0]

    for part in ("GPU-hours", "GPU memory, peak", "1.0 GiB", "50 %", "Memory, peak", "CPU time"):
        assert part in resources, part
    assert "accuracy" in metrics
    assert "gpu." not in metrics
    assert "gpu." not in done.stdout
    assert next(iter(json.loads((done.folder / "metrics.json").read_text()))) == "accuracy"


@pytest.mark.parametrize(("option", "value"), [("--cpus", "9999"), ("--memory", "900T")])
def test_more_than_the_machine_has_is_refused_with_words(run: Run, option: str, value: str) -> None:
    done = run("-c", "print('ran')", option, value)

    done.assert_results("failed", 2)
    assert "but there are" in done.record["reason"]
    assert done.text() == ""


@pytest.mark.parametrize(("option", "value"), [("--max-memory", "much"), ("--memory", "0"), ("--cpus", "0")])
def test_what_is_no_amount_is_bad_usage(run: Run, option: str, value: str) -> None:
    done = run("-c", "1", option, value)

    assert done.exit_code == 2
    assert option in done.stderr


def test_a_run_that_allocates_without_end_is_stopped_and_keeps_what_it_had(run: Run) -> None:
    code = "print('begins', flush=True)\nheld = []\nwhile True:\n    held.append(b'x' * 20_000_000)"
    done = run("-c", code, "--max-memory", "400M")

    done.assert_results("failed", 1)
    assert "its processes held" in done.record["reason"]
    assert done.text() == "begins\n"
    assert "its processes held" in (done.folder / "junit.xml").read_text()
    assert done.record["metrics"]["memory.peak"]["last"] > 400 * 2**20


def test_a_run_that_asks_for_nothing_has_the_metrics_of_its_program_alone(run: Run) -> None:
    done = run("-c", "print('::metric name=accuracy value=0.9')")

    assert json.loads((done.folder / "metrics.json").read_text()) == {"accuracy": 0.9}
    assert done.record["resources"]["used"]["memory.peak"] > 10 * 2**20
    assert done.record["resources"]["used"]["cpu.seconds"] > 0.1
