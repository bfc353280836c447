"""The service as its users see it, with real gunicorn, runners and kernels."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_gateway.kernels.sandbox import works
from tests.service.conftest import Serve, Service

pytestmark = pytest.mark.slow


def test_a_snippet_runs_and_its_results_are_there(service: Service) -> None:
    id = service.submit("print('hello')\n6 * 7", name="hello")
    assert service.wait_for(id) == "succeeded"
    assert service.text(id) == "hello\n"
    for part in ("notebook", "junit", "metrics", "console", "report/index.html", "artifacts"):
        answer = service.ask("GET", f"/api/v1/runs/{id}/{part}")
        assert answer.status == 200, part
        assert answer.body


def test_a_failing_cell_and_a_missed_gate_are_told_apart(service: Service) -> None:
    failed = service.submit("1 / 0")
    unstable = service.submit("print('::metric name=f1 value=0.5')", require=["f1 > 0.9"])
    assert service.wait_for(failed) == "failed"
    assert service.wait_for(unstable) == "unstable"
    assert service.run(unstable)["exit_code"] == 3


def test_runs_wait_their_turn_by_priority_then_age(serve: Serve) -> None:
    service = serve("--slots", "1")
    first = service.submit("import time; time.sleep(1.5)")
    service.wait_for(first, {"running", "starting"})
    ids = {name: service.submit("1", priority=priority) for name, priority in (("a", 0), ("b", 5), ("c", 0))}
    for id in ids.values():
        service.wait_for(id)
    started = {name: service.run(id)["started"] for name, id in ids.items()}
    assert started["b"] < started["a"] < started["c"]


def test_a_queued_run_can_be_cancelled(serve: Serve) -> None:
    service = serve("--slots", "1")
    first = service.submit("import time; time.sleep(30)")
    second = service.submit("print('never')")
    assert service.ask("POST", f"/api/v1/runs/{second}/cancel").status in (200, 202)
    assert service.wait_for(second, seconds=5) == "cancelled"
    assert service.events(second)[-1]["status"] == "cancelled"
    service.ask("POST", f"/api/v1/runs/{first}/cancel")
    assert service.wait_for(first, seconds=15) == "cancelled"


def test_gpus_are_held_by_one_run_at_a_time(serve: Serve) -> None:
    service = serve("--slots", "4", "--gpus", "0,1")
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(1)"
    ids = [service.submit(code, gpus=1) for _ in range(4)]
    plain = service.submit("import os; print(repr(os.environ['CUDA_VISIBLE_DEVICES']))")
    spans = []
    for id in ids:
        assert service.wait_for(id) == "succeeded"
        view = service.run(id)
        spans.append((service.text(id).strip(), view["started"], view["finished"]))
    assert {gpu for gpu, _, _ in spans} == {"0", "1"}
    for gpu, start, end in spans:
        for other, begin, finish in spans:
            if gpu == other and (start, end) != (begin, finish):
                assert end <= begin or finish <= start
    assert service.wait_for(plain) == "succeeded"
    assert service.text(plain) == "''\n"


def test_secrets_reach_the_kernel_and_no_file(service: Service) -> None:
    secret = "pa55-word/with+signs"
    id = service.submit("import os; print(os.environ['TOKEN'], len(os.environ['TOKEN']))", secrets={"TOKEN": secret})
    assert service.wait_for(id) == "succeeded"
    assert service.text(id) == f"**** {len(secret)}\n"
    for path in (path for path in service.data.rglob("*") if path.is_file()):
        assert secret.encode() not in path.read_bytes(), path
    assert secret not in service.log()


def test_kernels_do_not_see_the_data_folder_where_the_sandbox_works(service: Service) -> None:
    if not works():
        pytest.skip("bubblewrap can't make namespaces here")
    code = (
        "import os, pathlib\n"
        f"data = pathlib.Path({str(service.data)!r})\n"
        "print(sorted(path.name for path in data.iterdir()))\n"
        "print((data / 'gateway.db').exists(), os.getcwd().startswith(str(data)))\n"
        "pathlib.Path('mine.txt').write_text('x')\n"
        "print(len([name for name in os.listdir('/proc') if name.isdigit()]) < 10)"
    )
    id = service.submit(code, artifacts=["mine.txt"])
    assert service.wait_for(id) == "succeeded", service.events(id)
    assert "False True" in service.text(id)
    assert "gateway.db" not in service.text(id)
    assert service.text(id).endswith("True\n")
    assert service.ask("GET", f"/api/v1/runs/{id}/artifacts/mine.txt").body == b"x"


def test_a_cell_in_the_sandbox_can_be_interrupted_and_its_traceback_kept(service: Service) -> None:
    id = service.submit("import time\nprint('begun', flush=True)\ntime.sleep(60)")
    service.wait_for_text(id, "begun")
    service.ask("POST", f"/api/v1/runs/{id}/cancel")
    assert service.wait_for(id, seconds=15) == "cancelled"
    assert [event["ename"] for event in service.events(id) if event["type"] == "error"] == ["KeyboardInterrupt"]


def test_a_request_without_a_token_is_refused(service: Service) -> None:
    answer = service.ask("GET", "/api/v1/runs", Authorization="")
    assert answer.status == 401
    assert answer.headers["Content-Type"].startswith("application/problem+json")


def test_the_service_refuses_another_address_without_a_token(service: Service, tmp_path: object) -> None:
    command = [
        sys.executable,
        "-m",
        "kernel_gateway",
        "serve",
        "--host",
        "0.0.0.0",
        "--port",
        "0",
        "--data",
        f"{tmp_path}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "token create" in done.stderr


def test_a_port_that_is_taken_is_named_and_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "kernel_gateway", "serve", "--port", port, "--data", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 2
    assert f"127.0.0.1:{port} can't be listened on" in done.stderr
    assert "Name another with --port" in done.stderr


@pytest.mark.parametrize(
    ("options", "env", "told"),
    [
        (["--tls-cert", "/no/such/file", "--tls-key", "/no/such/file"], {}, "TLS certificate"),
        ([], {"KERNEL_GATEWAY_SANDBOX": "maybe"}, "auto, on or off"),
        ([], {"KERNEL_GATEWAY_PORT": "99999"}, "at most 65535"),
        (["--port", "99999"], {}, "99999"),
    ],
)
def test_a_service_that_cannot_work_as_asked_says_so_and_does_not_start(
    tmp_path: Path, options: list[str], env: dict[str, str], told: str
) -> None:
    command = [sys.executable, "-m", "kernel_gateway", "serve", "--data", str(tmp_path / "data"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env={**os.environ, **env})
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_kernel_that_needs_the_network_is_refused_where_the_sandbox_takes_it_away(
    serve: Serve, require_kernel: Callable[[str], str]
) -> None:
    if not works():
        pytest.skip("bubblewrap can't make namespaces here")
    require_kernel("ir")
    service = serve(KERNEL_GATEWAY_SANDBOX_NETWORK="false")
    id = service.submit("1", kernel="ir")
    assert service.wait_for(id) == "kernel_died"
    assert "sandbox_network" in service.run(id)["reason"]
    python = service.submit("import socket; print(socket.create_connection(('127.0.0.1', 9), 2))")
    assert service.wait_for(python) == "failed"


def test_a_kernel_in_the_sandbox_is_held_to_its_memory(serve: Serve) -> None:
    if not works():
        pytest.skip("bubblewrap can't make namespaces here")
    service = serve(KERNEL_GATEWAY_MAX_MEMORY_MB="1024")
    small = service.submit("print(len(bytearray(100 << 20)))")
    large = service.submit("print(len(bytearray(3 << 30)))")
    assert service.wait_for(small) == "succeeded"
    assert service.wait_for(large) == "failed"
    assert "MemoryError" in service.run(large)["reason"]


def test_health_readiness_and_metrics(service: Service) -> None:
    assert service.ask("GET", "/healthz").status == 200
    assert service.ask("GET", "/readyz").status == 200
    text = service.ask("GET", "/metrics").body.decode()
    assert "kernel_gateway" in text


def test_fifty_followers_get_every_event(service: Service) -> None:
    import http.client

    id = service.submit("import time\nfor i in range(200):\n    print(i, flush=True)\n    time.sleep(0.01)")
    counts: list[list[int]] = []

    def follow() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        connection.request("GET", f"/api/v1/runs/{id}/events", headers={"Authorization": f"Bearer {service.token}"})
        response = connection.getresponse()
        seen = [int(line[3:]) for line in response if line.startswith(b"id:")]
        counts.append(seen)
        connection.close()

    threads = [threading.Thread(target=follow) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    total = len(service.events(id))
    assert total > 200
    assert len(counts) == 50
    assert all(seen == list(range(1, total + 1)) for seen in counts)


def test_a_stuck_runner_is_killed_after_a_cancel_and_its_slot_is_free_again(serve: Serve) -> None:
    service = serve("--slots", "1")
    id = service.submit("import time; print('begun', flush=True); time.sleep(100)", retries=1)
    service.wait_for_text(id, "begun")
    os.kill(service.runners()[0].pid, signal.SIGSTOP)
    service.ask("POST", f"/api/v1/runs/{id}/cancel")
    begun = time.monotonic()
    assert service.wait_for(id, seconds=60) == "cancelled"
    assert time.monotonic() - begun < 45
    assert service.run(id)["retried_as"] is None  # who cancels a run wants no other in its place
    assert service.wait_for(service.submit("1")) == "succeeded"


def test_a_secret_that_stands_in_the_source_still_runs_as_written_and_is_masked_in_the_log(service: Service) -> None:
    id = service.submit("print(len('open-sesame'))", secrets={"WORD": "open-sesame"})
    assert service.wait_for(id) == "succeeded"
    assert service.text(id) == "11\n"
    assert "open-sesame" not in str(service.events(id))


def test_a_secret_in_a_parameter_is_refused_since_parameters_are_kept(service: Service) -> None:
    request = {"source": {"content": "1"}, "parameters": {"a": ["open-sesame"]}, "secrets": {"WORD": "open-sesame"}}
    answer = service.ask("POST", "/api/v1/runs", request)
    assert answer.status == 422
    assert "open-sesame" not in answer.body.decode()


def test_parameters_are_injected_and_the_working_folder_goes_with_the_run(service: Service) -> None:
    id = service.submit("print(x, y)", parameters={"x": 1, "y": "ü'"})
    assert service.wait_for(id) == "succeeded"
    assert service.text(id) == "1 ü'\n"
    assert not (service.data / "runs" / id / "work").exists()
