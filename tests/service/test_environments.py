"""Environments on a service: what a file refers to travels along, builds are in the sandbox, and cancels reach them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local_package import write_package

from .conftest import Serve, Service

LOOK = """\
data = {data!r}
environ = [name for name in os.environ if name == "TOKEN" or name.startswith("KERNEL_GATEWAY_")]
seen = [sorted(os.listdir(data)), environ]
"""


def submit(service: Service, folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`kernel-gateway run` against the service."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return subprocess.run(
        [sys.executable, "-m", "kernel_gateway", "run", *arguments, "--output-dir", str(folder / "out")],
        env={**inherited, "KERNEL_GATEWAY_URL": service.url, "KERNEL_GATEWAY_TOKEN": service.token, **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("require_sandbox")
def test_included_files_travel_along_and_the_build_and_the_kernel_are_in_the_sandbox(
    serve: Serve, tmp_path: Path
) -> None:
    data = tmp_path / "service" / "data"
    data.parent.mkdir()
    # Below the data folder, which is hidden from kernels: the one that is used has to be there all the same.
    service = serve(
        "--data", str(data), KERNEL_GATEWAY_SANDBOX="on", KERNEL_GATEWAY_ENV_CACHE=str(data / "environments")
    )
    folder = tmp_path / "job"
    write_package(folder / "envs" / "pkg", LOOK.format(data=str(data)))
    (folder / "envs" / "requirements.txt").write_text("-r ../more/six.txt\n./pkg\n")
    (folder / "more").mkdir()
    (folder / "more" / "six.txt").write_text("six==1.16.0\n")
    (folder / "train.py").write_text(
        "import json, os, six, sys, tiny\n"
        "try:\n    open(os.path.join(sys.prefix, 'new'), 'w'); wrote = True\n"
        "except OSError:\n    wrote = False\n"
        "print(json.dumps([six.__version__, tiny.seen, wrote, 'TOKEN' in os.environ]))\n"
    )
    arguments = ("train.py", "--env", "envs/requirements.txt", "--secret", "TOKEN")

    first = submit(service, folder, *arguments, TOKEN="a-secret-value")
    second = submit(service, folder, *arguments, TOKEN="a-secret-value")

    for finished in (first, second):
        assert finished.returncode == 0, (finished.stdout, finished.stderr)
        line = next(line for line in finished.stdout.splitlines() if line.startswith('["1.16.0"'))
        version, (listing, environ), wrote, has_secret = json.loads(line)
        assert version == "1.16.0"
        hidden = {path.name for path in data.iterdir()} - {"environments", "runs"}
        assert hidden
        assert not set(listing) & hidden
        assert environ == []
        assert not wrote
        assert has_secret
    assert "Building the environment" in first.stdout
    assert "Building the environment" not in second.stdout
    record = json.loads((folder / "out" / "run.json").read_text())
    assert (record["packages"]["six"], record["packages"]["tiny"]) == ("1.16.0", "1.0")


def test_what_lies_outside_of_the_workspace_is_never_sent_along(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    (tmp_path / "private.txt").write_text("six\n")
    (folder / "requirements.txt").write_text("-r ../private.txt\n")

    finished = submit(serve(), folder, "-c", "1", "--env", "requirements.txt")

    assert finished.returncode == 2
    assert "is not below" in finished.stderr


def test_a_cancel_reaches_a_build_on_the_service(serve: Serve, tmp_path: Path) -> None:
    service = serve(KERNEL_GATEWAY_ENV_CACHE=str(tmp_path / "cache"))
    write_package(tmp_path / "pkg", "time.sleep(300)")
    blobs = {}
    for name in ("pyproject.toml", "backend.py"):
        blobs[f"pkg/{name}"] = (tmp_path / "pkg" / name).read_bytes()
    blobs["requirements.txt"] = b"./pkg\n"
    files = []
    for name, content in blobs.items():
        digest = hashlib.sha256(content).hexdigest()
        service.ask("PUT", f"/api/v1/blobs/{digest}", content)
        files.append({"path": name, "sha256": digest, "size": len(content)})
    env = {"path": "requirements.txt", "sha256": files.pop()["sha256"]}
    id = service.submit("1", env=env, workspace=files)
    while not any("./pkg" in str(event) or "pkg" in event.get("message", "") for event in service.events(id)[1:]):
        assert service.run(id)["status"] in ("queued", "starting", "running")

    service.ask("POST", f"/api/v1/runs/{id}/cancel")

    assert service.wait_for(id, seconds=15) == "cancelled"
    assert service.children("backend") == []


def test_an_environment_file_of_no_known_format_is_refused_at_once(serve: Serve) -> None:
    service = serve()
    digest = "0" * 64
    answer = service.ask(
        "POST", "/api/v1/runs", {"source": {"content": "1"}, "env": {"path": "packages.json", "sha256": digest}}
    )
    assert answer.status == 422
    assert "is no environment file" in answer.body.decode()
