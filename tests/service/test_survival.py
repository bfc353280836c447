"""What a service survives, each fault caused for real while a run prints."""

from __future__ import annotations

import time

import pytest

from tests.command.test_ends import alive, assert_gone
from tests.service.conftest import Serve, Service

pytestmark = pytest.mark.slow

PRINTS = "import time\nfor i in range(60):\n    print('line', i, flush=True)\n    time.sleep(0.1)\n"
LINES = "".join(f"line {i}\n" for i in range(60))


def assert_whole(service: Service, id: str) -> None:
    """Every line is in the log once and in order, and the log has no gaps."""
    events = service.events(id)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert service.text(id) == LINES
    assert events[-1]["type"] == "run_finished"


@pytest.mark.parametrize("victim", ["gunicorn", "agents.dispatcher"])
def test_a_killed_web_server_or_dispatcher_costs_a_run_nothing(serve: Serve, victim: str) -> None:
    service = serve()
    id = service.submit(PRINTS)
    service.wait_for_text(id, "line 3")
    victims = service.children(victim)
    assert victims
    for process in victims:
        process.kill()
    assert service.wait_for(id) == "succeeded"
    assert_whole(service, id)
    assert service.wait_for(service.submit("1")) == "succeeded"


def test_a_killed_web_worker_is_replaced(serve: Serve) -> None:
    service = serve()
    id = service.submit(PRINTS)
    service.wait_for_text(id, "line 3")
    workers = [process for process in service.children("gunicorn") if process.ppid() != service.process.pid]  # type: ignore[union-attr]
    assert workers
    for worker in workers:
        worker.kill()
    assert service.wait_for(id) == "succeeded"
    assert_whole(service, id)


def test_a_service_killed_whole_finds_its_runs_again(serve: Serve) -> None:
    service = serve("--slots", "2")
    running = service.submit(PRINTS)
    waiting = [service.submit("print('waited')") for _ in range(4)]
    service.wait_for_text(running, "line 3")
    service.kill()
    assert service.runners()
    service.start()
    assert service.wait_for(running) == "succeeded"
    assert_whole(service, running)
    for id in waiting:
        assert service.wait_for(id) == "succeeded"
        assert service.text(id) == "waited\n"


def test_a_run_that_ended_while_the_service_was_down_is_entered_when_it_is_back(serve: Serve) -> None:
    service = serve()
    id = service.submit("import time; time.sleep(2); print('done')")
    service.wait_for(id, {"running"})
    service.kill()
    deadline = time.monotonic() + 20
    while service.runners() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not service.runners()
    service.start()
    assert service.wait_for(id) == "succeeded"


def test_a_killed_runner_makes_its_run_lost_with_what_it_had(serve: Serve) -> None:
    service = serve()
    code = "import os, subprocess\nchild = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
    id = service.submit(code + "print('pids', os.getpid(), child.pid, flush=True)\nimport time; time.sleep(100)")
    service.wait_for_text(id, "pids")
    runner = service.runners()[0]
    below = [process.pid for process in runner.children(recursive=True)]
    assert len(below) >= 3
    runner.kill()
    assert service.wait_for(id) == "lost"
    assert_gone(*below)
    assert "SIGKILL" in service.run(id)["reason"]
    assert service.events(id)[-1]["type"] == "run_finished"
    assert service.ask("GET", f"/api/v1/runs/{id}/notebook").status == 200
    assert b"pids" in service.ask("GET", f"/api/v1/runs/{id}/console").body


def test_a_lost_run_is_tried_again_as_often_as_it_asked(serve: Serve) -> None:
    service = serve()
    id = service.submit("import time; print('begun', flush=True); time.sleep(100)", retries=1)
    service.wait_for_text(id, "begun")
    service.runners()[0].kill()
    assert service.wait_for(id) == "lost"
    again = service.events(id)[-1]["retried_as"]
    assert service.run(again)["retry_of"] == id
    service.wait_for_text(again, "begun")
    service.runners()[0].kill()
    assert service.wait_for(again) == "lost"
    assert service.events(again)[-1]["retried_as"] is None


def test_a_stopped_service_leaves_runners_to_the_next_one(serve: Serve) -> None:
    service = serve()
    id = service.submit(PRINTS)
    service.wait_for_text(id, "line 3")
    service.stop()
    assert service.runners()
    service.start()
    assert service.wait_for(id) == "succeeded"
    assert_whole(service, id)


def test_a_draining_service_waits_for_its_runs(serve: Serve) -> None:
    service = serve("--drain-timeout", "30")
    id = service.submit(PRINTS)
    service.wait_for_text(id, "line 3")
    service.stop()
    assert not service.runners()
    service.start()
    assert service.run(id)["status"] == "succeeded"


def test_no_process_of_the_service_outlives_it(serve: Serve) -> None:
    service = serve()
    pids = [process.pid for process in service.children("")]
    assert len(pids) >= 3
    assert service.process is not None
    service.process.kill()
    service.process.wait()
    assert_gone(*pids)
    assert not [pid for pid in pids if alive(pid)]


def test_a_kernel_that_dies_in_the_service_has_its_own_status(serve: Serve) -> None:
    service = serve()
    id = service.submit("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert service.wait_for(id) == "kernel_died"
    assert "SIGKILL" in service.run(id)["reason"]
