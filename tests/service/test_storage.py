"""What a service does with files: blobs, workspaces, a full disk, and what becomes too old."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.service.conftest import FINAL, Serve, Service

pytestmark = pytest.mark.slow

LARGE = 300 << 20
PIECE = bytes(range(256)) * 4096


def digest_of(content: bytes) -> str:
    """A content's name as a blob."""
    return hashlib.sha256(content).hexdigest()


def send(service: Service, content: bytes, digest: str = "") -> int:
    """Send a blob; the answer's status."""
    return service.ask("PUT", f"/api/v1/blobs/{digest or digest_of(content)}", content).status


def blobs(service: Service) -> list[Path]:
    """All files of the blob store, also those under way."""
    return [path for path in (service.data / "blobs").rglob("*") if path.is_file()]


def web_worker(service: Service) -> psutil.Process:
    """The process that answers requests."""
    assert service.process is not None
    workers = [child for child in service.children("gunicorn") if child.ppid() != service.process.pid]
    assert len(workers) == 1
    return workers[0]


# -- blobs -------------------------------------------------------------------------------------------


def test_a_large_blob_is_taken_in_constant_memory(serve: Serve) -> None:
    service = serve()
    summed = hashlib.sha256()
    for _ in range(LARGE // len(PIECE)):
        summed.update(PIECE)
    send(service, b"warm")
    worker = web_worker(service)
    before = worker.memory_info().rss
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    headers = {"Authorization": f"Bearer {service.token}", "Content-Length": str(LARGE)}
    pieces = (PIECE for _ in range(LARGE // len(PIECE)))
    connection.request("PUT", f"/api/v1/blobs/{summed.hexdigest()}", pieces, headers)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["size"]) == (201, LARGE)
    connection.close()
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10
    assert peak - before < 16 << 20, (before, peak)


def test_an_upload_that_breaks_off_leaves_nothing_and_another_digest_is_refused(service: Service) -> None:
    there = set(blobs(service))
    assert send(service, b"content", digest_of(b"other")) == 422
    with socket.create_connection(("127.0.0.1", service.port)) as stream:
        head = (
            f"PUT /api/v1/blobs/{digest_of(b'x')} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n"
            f"Authorization: Bearer {service.token}\r\n\r\n"
        )
        stream.sendall(head.encode() + PIECE * 10)
        deadline = time.monotonic() + 10
        while set(blobs(service)) == there and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(set(blobs(service)) - there) == 1
    deadline = time.monotonic() + 10
    while set(blobs(service)) != there and time.monotonic() < deadline:
        time.sleep(0.05)
    assert set(blobs(service)) == there
    assert service.ask("POST", "/api/v1/blobs/missing", {"sha256": [digest_of(b"x")]}).json["missing"]


# -- workspaces --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../escaped.txt", "a/../../escaped.txt", "/tmp/escaped.txt", "..", "a\\..\\b", "a\0b", "", "."]
)
def test_a_name_that_could_leave_the_working_folder_is_refused(service: Service, name: str) -> None:
    assert send(service, b"content") in (200, 201)
    file = {"path": name, "sha256": digest_of(b"content"), "size": 7}
    for body in ({"workspace": [file]}, {"env": {"path": name, "sha256": file["sha256"]}}):
        answer = service.ask("POST", "/api/v1/runs", {"source": {"content": "1"}, **body})
        assert answer.status == 422, answer.body
    answer = service.ask("POST", "/api/v1/runs", {"source": {"content": "1", "path": name}})
    assert answer.status == 422, answer.body
    assert not list(service.data.parent.rglob("escaped.txt"))


def test_a_link_that_a_kernel_makes_brings_nothing_from_outside_back(service: Service) -> None:
    other = service.submit("print('secret of another run')")
    service.wait_for(other)
    code = (
        "import os\n"
        f"os.symlink({str(service.data / 'gateway.db')!r}, 'database')\n"
        "os.symlink('/etc/passwd', 'passwd')\n"
        f"os.symlink({str(service.data / 'runs')!r}, 'runs')\n"
        "os.symlink('/', 'root')\n"
        "os.mkfifo('pipe')\n"
        "open('fine', 'w').write('x')\n"
    )
    id = service.submit(code, artifacts=["*", f"runs/{other}/*", "root/etc/hostname"])
    assert service.wait_for(id) == "succeeded"
    names = [artifact["path"] for artifact in service.ask("GET", f"/api/v1/runs/{id}/artifacts").json["artifacts"]]
    assert names == ["fine"]


def test_a_working_folder_that_a_kernel_exchanged_for_a_link_brings_nothing_back(service: Service) -> None:
    data = service.data
    code = (
        "import os, pathlib\n"
        "work = pathlib.Path.cwd().parent.parent\n"
        "(work / 'a').rename(work / 'b')\n"
        f"(work / 'a').symlink_to({str(data.parent)!r})\n"
    )
    id = submit_file(service, code, f"a/{data.name}/train.py", ["gateway.db", "runs/*/events.jsonl"])
    service.wait_for(id)
    assert service.ask("GET", f"/api/v1/runs/{id}/artifacts").json["artifacts"] == []
    assert not list((data / "runs" / id / "artifacts").rglob("*.db"))


def submit_file(service: Service, code: str, path: str, artifacts: list[str]) -> str:
    """Submit a source that has a place in the working folder; returns the run's id."""
    answer = service.ask("POST", "/api/v1/runs", {"source": {"content": code, "path": path}, "artifacts": artifacts})
    assert answer.status == 201, answer.body
    id: str = answer.json["id"]
    return id


@pytest.mark.parametrize("make", ["os.mkfifo('metrics.json')", "os.symlink('/dev/zero', 'metrics.json')"])
def test_a_file_of_metrics_that_never_ends_does_not_hold_a_run(service: Service, make: str) -> None:
    id = service.submit(f"import os\n{make}")
    assert service.wait_for(id, seconds=30) == "succeeded"


def test_ten_thousand_small_files_are_laid_out_and_found_by_the_run(service: Service) -> None:
    contents = [f"content {number}".encode() for number in range(100)]
    digests = [digest_of(content) for content in contents]
    assert service.ask("POST", "/api/v1/blobs/missing", {"sha256": digests}).json["missing"] == digests
    for content in contents:
        assert send(service, content) == 201
    files = [
        {"path": f"d{n % 50}/f{n}.txt", "sha256": digests[n % 100], "size": len(contents[n % 100])}
        for n in range(10_000)
    ]
    code = (
        "import pathlib\n"
        "files = sorted(pathlib.Path('.').rglob('*.txt'))\n"
        "print(len(files), all(f.read_text() == f'content {int(f.stem[1:]) % 100}' for f in files))\n"
    )
    begun = time.monotonic()
    id = service.submit(code, workspace=files)
    assert time.monotonic() - begun < 5
    assert service.wait_for(id) == "succeeded"
    assert service.text(id) == "10000 True\n"


# -- a full disk -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Service]:
    """A service that is not started, whose data folder is a disk of 50 MB."""
    folder = tmp_path / "small" / "data"
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=50m,mode=0700", "small", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system can't be mounted here")
    service = Service(folder)
    try:
        yield service
        service.close()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the space that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    assert shutil.disk_usage(folder).free == 0
    return filler


PRINTS = (
    "import time\nprint('begun', flush=True)\n"
    "for i in range(100):\n    print('x' * 50_000, flush=True)\n    time.sleep(0.1)\n"
)


def test_on_a_full_disk_runs_fail_with_that_reason_and_the_service_lives(small_disk: Service) -> None:
    service = small_disk
    service.start()
    pids = {process.pid for process in service.children("kernel_gateway")}
    running = service.submit(PRINTS)
    service.wait_for_text(running, "begun")
    filler = fill(service.data)
    assert service.ask("GET", "/healthz").status == 200
    assert send(service, PIECE) == 507
    refused = service.ask("POST", "/api/v1/runs", {"source": {"content": "#" * (2 << 20)}})
    assert refused.status in (503, 507), refused.body
    deadline = time.monotonic() + 30
    while service.runners() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not service.runners()
    time.sleep(3)  # the dispatcher meets the full disk too
    assert service.ask("GET", "/healthz").status == 200
    filler.unlink()
    assert service.wait_for(running, seconds=20) == "failed"
    assert "No space left" in service.run(running)["reason"]
    assert service.events(running)[-1]["type"] == "run_finished"
    assert service.wait_for(service.submit("print('again')")) == "succeeded"
    assert {process.pid for process in service.children("kernel_gateway")} == pids, service.log()[-3000:]


def test_a_run_killed_on_a_full_disk_is_entered_as_lost_once_there_is_space(small_disk: Service) -> None:
    service = small_disk
    service.start()
    dispatchers = [process.pid for process in service.children("agents.dispatcher")]
    id = service.submit("import time; print('begun', flush=True); time.sleep(100)")
    service.wait_for_text(id, "begun")
    filler = fill(service.data)
    service.runners()[0].kill()
    time.sleep(3)
    filler.unlink()
    assert service.wait_for(id, seconds=20) == "lost"
    assert [process.pid for process in service.children("agents.dispatcher")] == dispatchers, service.log()[-3000:]
    assert service.wait_for(service.submit("1")) == "succeeded"


# -- what becomes too old ----------------------------------------------------------------------------


def test_old_runs_go_while_others_run(serve: Serve) -> None:
    service = serve("--slots", "2", KERNEL_GATEWAY_RETENTION_RUNS="1", KERNEL_GATEWAY_RETENTION_INTERVAL="0.2")
    live = service.submit("import time\nfor i in range(60):\n    print(i, flush=True)\n    time.sleep(0.1)")
    ids = [service.submit(f"print({number})") for number in range(3)]
    deadline = time.monotonic() + 60
    while service.run(live)["status"] not in FINAL:
        assert time.monotonic() < deadline
        assert (service.data / "runs" / live / "events.jsonl").exists()
        time.sleep(0.1)
    service.wait_for(live)
    while len(left := listed(service)) > 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(left) == 1
    folders = {path.name for path in (service.data / "runs").iterdir()}
    assert folders == {run["id"] for run in left} <= {live, *ids}
    gone = ({live, *ids} - folders).pop()
    assert service.ask("GET", f"/api/v1/runs/{gone}").status == 404


def listed(service: Service) -> list[dict[str, Any]]:
    """All runs."""
    runs: list[dict[str, Any]] = service.ask("GET", "/api/v1/runs").json["runs"]
    return runs


def test_a_second_service_on_the_same_data_folder_is_refused(service: Service) -> None:
    command = [sys.executable, "-m", "kernel_gateway", "serve", "--port", "0", "--data", str(service.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "Another service" in done.stderr
    assert service.wait_for(service.submit("1")) == "succeeded"


def test_a_blob_sent_by_many_at_once_is_there_once(service: Service) -> None:
    content = os.urandom(1 << 20)
    before = len(blobs(service))
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(send(service, content))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 201}
    assert len(blobs(service)) == before + 1
