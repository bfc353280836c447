"""A runner on another machine and what stands between it and the gateway: a proxy, or another runner of its run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kernel_gateway.agents.layout import DataFolder
from kernel_gateway.agents.remote import work
from kernel_gateway.agents.remote.home import Home, NotWantedError
from kernel_gateway.agents.remote.uploader import Uploader
from kernel_gateway.agents.remote.work import LOCK, Order, RemoteRun, limit_cache, sweep
from kernel_gateway.errors import UnreachableError

RUN = "20261121-120000-0123abcd"

Answering = Callable[[int, bytes], str]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Starts a server that gives one answer to every request, by status and body; returns its address."""
    started: list[ThreadingHTTPServer] = []

    def start(status: int, body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                if status == 301:
                    self.send_header("Location", "https://elsewhere.example/")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_GET

            def log_message(self, *words: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        started.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    try:
        yield start
    finally:
        for server in started:
            server.shutdown()
            server.server_close()


def test_what_is_too_large_for_the_gateway_or_a_proxy_is_not_sent_again_and_again(answering: Answering) -> None:
    home = Home(answering(413, b"<html>413 Request Entity Too Large</html>"), RUN, "kgr_pass")

    with pytest.raises(NotWantedError, match="too large for the gateway"):
        home.append(0, b"{}\n")
    home.close()


@pytest.mark.parametrize(
    ("status", "words"),
    [(301, r"refers to https://elsewhere\.example/: name the gateway's own address"), (200, "is no gateway")],
)
def test_what_answers_in_the_place_of_the_gateway_is_not_taken_for_it(
    answering: Answering, tmp_path: Path, status: int, words: str
) -> None:
    home = Home(answering(status, b"<html>Sign in</html>"), RUN, "kgr_pass")
    output = tmp_path / "output"
    output.write_text("x")

    for call in (home.begin, lambda: home.append(0, b"{}\n")):
        with pytest.raises(UnreachableError, match=words):
            call()
    if status != 200:
        with pytest.raises(UnreachableError, match=words):
            home.send("0" * 64, output)
    home.close()


def test_a_runner_that_is_refused_leaves_the_folder_of_the_one_that_has_the_run(
    answering: Answering, tmp_path: Path
) -> None:
    data = DataFolder(tmp_path)
    data.make()
    data.run(RUN).mkdir()
    (data.run(RUN) / "events.jsonl").write_text("{}\n")
    url = answering(401, b'{"detail": "The pass counts no more."}')

    why = RemoteRun(Order(RUN, url, "kgr_old", "gateway"), [], tmp_path).execute()

    assert why == "The pass counts no more."
    assert (data.run(RUN) / "events.jsonl").exists()


def test_a_runner_whose_events_can_not_be_sent_any_more_is_ended_at_once(
    answering: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RemoteRun(Order(RUN, answering(200, b'{"size": 0}'), "kgr_pass", "gateway"), [], tmp_path)
    lock = run._make_folder({"request": {}, "log": "{}\n"})
    log = run._folder / "events.jsonl"
    uploader = Uploader(run._home, log, run._blobs.path, run._folder / "artifacts")
    # Stands in for the runner: tells of an artifact whose file somebody has removed, and goes on.
    told = '{"type": "artifact", "path": "gone.bin", "sha256": "00"}'
    script = ["sh", "-c", f"echo '{told}' >> {log}; exec sleep 600"]
    monkeypatch.setattr(work, "RUNNER", script)
    uploader.start()

    why = run._run({"secrets": {}, "settings": {}}, uploader)

    assert "gone.bin" in why
    os.close(lock)


def test_the_files_used_longest_ago_leave_the_cache_of_a_node_first(tmp_path: Path) -> None:
    data = DataFolder(tmp_path)
    data.make()
    now = time.time()
    for name, hours in (("aa", 3), ("bb", 4), ("cc", 2), ("dd", 0)):
        file = data.blobs / name / (name * 32)
        file.parent.mkdir()
        file.write_bytes(bytes(1000))
        os.utime(file, (now - hours * 3600, now - hours * 3600))

    limit_cache(data.blobs, 2500)
    assert sorted(path.name[:2] for path in data.blobs.glob("??/*")) == ["cc", "dd"]
    limit_cache(data.blobs, 0)
    assert [path.name[:2] for path in data.blobs.glob("??/*")] == ["dd"]  # a run may be about to read it


def test_folders_of_dead_runs_are_removed_and_those_at_work_are_not(tmp_path: Path) -> None:
    data = DataFolder(tmp_path)
    data.make()
    dead = data.run(RUN)
    dead.mkdir()
    (dead / LOCK).touch()
    run = RemoteRun(Order(RUN[:-1] + "e", "http://127.0.0.1:1", "kgr_pass", "gateway"), [], tmp_path)
    lock = run._make_folder({"request": {}, "log": "{}\n"})

    sweep(data)

    assert not dead.exists()
    assert data.run(RUN[:-1] + "e").is_dir()
    os.close(lock)
