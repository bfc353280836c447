"""MLflow that is dead, dies, is slow or says nonsense: no run fails or waits for it, and nothing is lost."""

from __future__ import annotations

import http.server
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from kernel_gateway.tracking.note import Note

from .conftest import Run, Server, Start, client_of, free_port, send

CODE = "# %%\nprint('::metric name=accuracy value=0.5')\n"
NOBODY_KNOWS = "send it with: kernel-gateway mlflow send"


@pytest.mark.slow
def test_a_dead_server_fails_no_run_and_gets_it_later(run: Run, own_server: Server) -> None:
    done = run(CODE + "# %%\nimport time; time.sleep(8)\n", "--mlflow", own_server.uri, "--require", "accuracy > 0.1")

    assert done.exit_code == 0, done.stdout + done.stderr
    assert "can't be reached" in done.remarks + done.stderr
    assert "Connection refused" in done.note["problem"]
    assert NOBODY_KNOWS in done.stderr
    assert done.record["seconds"] < 30
    still_dead = send(done.folder)
    assert still_dead.returncode == 6
    assert "can't be reached" in still_dead.stderr

    own_server.start()
    sent, again = send(done.folder), send(done.folder)

    assert sent.returncode == again.returncode == 0, sent.stderr + again.stderr
    assert "already" in again.stdout
    client = client_of(own_server.uri)
    (found,) = client.search_runs(["1"])
    assert found.info.status == "FINISHED"
    assert len(client.get_metric_history(found.info.run_id, "accuracy")) == 1
    assert "executed.ipynb" in {file.path for file in client.list_artifacts(found.info.run_id)}


@pytest.mark.slow
def test_a_server_killed_in_mid_run_gets_each_point_once(start: Start, own_server: Server) -> None:
    own_server.start()
    running = start(
        "# %%\nimport time\nfor step in range(60):\n    print(f'::metric name=loss value={step} step={step}')\n"
        "    time.sleep(0.1)\n",
        *("--mlflow", own_server.uri),
    )
    running.wait_for("step=20")
    own_server.kill()
    done = running.join()

    assert done.exit_code == 0, done.stdout + done.stderr
    assert not done.note["complete"]
    own_server.start()
    assert send(done.folder).returncode == 0
    client = client_of(own_server.uri)
    (found,) = client.search_runs(["1"])
    history = client.get_metric_history(found.info.run_id, "loss")
    assert sorted(metric.step for metric in history) == list(range(60))
    assert found.info.status == "FINISHED"


class Proxy:
    """Stands before a server; lets each request wait ``delay`` seconds, or answers with the status ``answer``."""

    def __init__(self, target: str) -> None:
        self.delay = 0.0
        self.answer: int | None = None
        self.asked = 0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                proxy.asked += 1
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                time.sleep(proxy.delay)
                if proxy.answer is not None:
                    self.reply(proxy.answer, b"no")
                    return
                request = urllib.request.Request(target + self.path, body or None, method=self.command)
                for name in ("Content-Type", "Accept"):
                    if value := self.headers.get(name):
                        request.add_header(name, value)
                try:
                    with urllib.request.urlopen(request, timeout=30) as answer:
                        self.reply(answer.status, answer.read())
                except urllib.error.HTTPError as error:
                    self.reply(error.code, error.read())

            do_GET = do_POST = do_PUT = do_PATCH = handle_any

            def reply(self, status: int, body: bytes) -> None:
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # the caller has given up

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.uri)
    yield proxy
    proxy.close()


def test_a_server_that_sleeps_does_not_hold_up_the_cells(run: Run, proxy: Proxy) -> None:
    proxy.delay = 60
    done = run(CODE, "--mlflow", proxy.uri, "--require", "accuracy > 0.1", KERNEL_GATEWAY_MLFLOW_SEND_SECONDS="1")

    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.record["seconds"] < proxy.delay
    assert NOBODY_KNOWS in done.stderr
    proxy.delay = 0
    assert send(done.folder).returncode == 0


def test_a_server_that_answers_500_is_tried_again(start: Start, proxy: Proxy, mlflow: Any) -> None:
    proxy.answer = 500
    running = start(CODE + "# %%\nimport time; time.sleep(8)\n", "--mlflow", proxy.uri)
    deadline = time.monotonic() + 60
    while not proxy.asked:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    proxy.answer = None
    done = running.join()

    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.note["complete"], done.stderr
    assert mlflow.get_run(done.note["run_id"]).data.metrics == {"accuracy": 0.5}


def test_a_wrong_password_is_named_as_such_and_the_run_is_sent_with_the_right_one(
    run: Run, proxy: Proxy, mlflow: Any
) -> None:
    proxy.answer = 401
    done = run(CODE, "--mlflow", proxy.uri, KERNEL_GATEWAY_MLFLOW_SEND_SECONDS="10", MLFLOW_TRACKING_PASSWORD="wr0ng")
    refused = send(done.folder, "--timeout", "10")

    assert done.exit_code == 0, done.stdout + done.stderr
    for told in (done.remarks + done.stderr, refused.stderr):
        assert "lets nobody in with what MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in told
        assert "wr0ng" not in told
    proxy.answer = None
    assert send(done.folder).returncode == 0
    assert mlflow.get_run(Note.read(done.folder).run_id).info.status == "FINISHED"  # type: ignore[union-attr]


def test_what_only_mlflow_knows_is_not_taken_for_met(run: Run) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    done = run(CODE, "--mlflow", uri, "--baseline", "models:/nobody@champion", "--require", "accuracy >= baseline")

    assert done.exit_code == 3, done.stdout + done.stderr
    assert "could not tell the metrics of models:/nobody@champion" in done.remarks


def test_a_cancelled_run_is_killed_in_mlflow_too(start: Start, server: Server, mlflow: Any) -> None:
    running = start("# %%\nprint('::metric name=a value=1')\nimport time; time.sleep(100)\n", "--mlflow", server.uri)
    running.wait_for('"name":"a"')
    deadline = time.monotonic() + 60
    while not (running.folder / "mlflow.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.process.terminate()
    done = running.join()

    assert done.exit_code == 130
    if not done.note["complete"]:  # a busy machine needs longer than a cancelled command waits
        assert send(done.folder).returncode == 0
    assert mlflow.get_run(done.note["run_id"]).info.status == "KILLED"


def test_a_tracker_that_is_killed_costs_the_run_nothing(start: Start, server: Server, mlflow: Any) -> None:
    running = start(
        "# %%\nprint('::metric name=a value=1')\nimport time; time.sleep(4)\n" + CODE, "--mlflow", server.uri
    )
    running.wait_for('"name":"a"')
    (tracker,) = [
        child
        for child in psutil.Process(running.process.pid).children()
        if "kernel_gateway.tracking.process" in child.cmdline()
    ]
    tracker.kill()
    done = running.join()

    assert done.exit_code == 0, done.stdout + done.stderr
    assert NOBODY_KNOWS in done.stderr
    assert send(done.folder).returncode == 0
    assert mlflow.get_run(done.note["run_id"]).data.metrics == {"a": 1.0, "accuracy": 0.5}
