"""The client against the service itself: a run on it is the run that it would be here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway import GatewayClient
from kernel_gateway.client import find_files, hash_files

SOURCE = """\
# %% tags=["parameters"]
epochs = 1
# %%
import os
import lib
for epoch in range(epochs):
    print("epoch", epoch, lib.NAME)
print("::metric name=accuracy value=0.93")
os.makedirs("model", exist_ok=True)
open("model/m.bin", "wb").write(b"x" * 300_000)
# %%
from IPython.display import HTML, display
print(os.environ["KEY"])
display(HTML("<p>" + "y" * 100_000 + "</p>"))
# %%
1 / 0
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A service of its own; the environment that names it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("KERNEL_GATEWAY_")}
    environ["KERNEL_GATEWAY_MLFLOW"] = "off"
    command = [sys.executable, "-m", "kernel_gateway", "serve", "--port", "0", "--data", str(tmp_path / "data")]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url, token = re.search(r"(http://\S+)", line), re.search(r"kg_[\w-]+", line)
        assert url is not None, line
        assert token is not None, line
        yield {**environ, "KERNEL_GATEWAY_URL": url[0], "KERNEL_GATEWAY_TOKEN": token[0]}
    finally:
        process.terminate()
        process.communicate(timeout=30)


def run(folder: Path, out: str, environ: dict[str, str]) -> tuple[int, str, dict[str, Any]]:
    arguments = ["nb/train.py", "-p", "epochs", "2", "--require", "accuracy > 0.9", "--artifact", "model/*"]
    arguments += ["--secret", "KEY", "--input", "nb/lib.py", "--output-dir", out]
    done = subprocess.run(
        [sys.executable, "-m", "kernel_gateway", "run", *arguments],
        cwd=folder,
        env={**environ, "KEY": "hunter2-hunter2"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return done.returncode, done.stdout, json.loads((folder / out / "run.json").read_text())


@pytest.mark.slow
def test_a_run_on_a_service_is_the_run_that_it_would_be_here(tmp_path: Path, service: dict[str, str]) -> None:
    (tmp_path / "nb").mkdir()
    (tmp_path / "nb" / "train.py").write_text(SOURCE)
    (tmp_path / "nb" / "lib.py").write_text("NAME = 'lib'\n")
    here_environ = {name: value for name, value in service.items() if not name.startswith("KERNEL_GATEWAY_")}

    code, text, there = run(tmp_path, "there", service)
    here_code, here_text, here = run(tmp_path, "here", here_environ)

    assert code == here_code == 1
    for name in ("name", "status", "reason", "exit_code", "kernels", "source", "parameters", "secrets", "gates"):
        assert there[name] == here[name], name
    for name in ("cells", "metrics", "artifacts"):
        assert _untimed(there[name]) == _untimed(here[name]), name
    assert _plain(text) == _plain(here_text)
    assert (tmp_path / "there" / "artifacts" / "model" / "m.bin").stat().st_size == 300_000
    assert sorted(path.name for path in (tmp_path / "there" / "blobs").rglob("*")) == sorted(
        path.name for path in (tmp_path / "here" / "blobs").rglob("*")
    )


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _untimed(item) for name, item in value.items() if name not in ("seconds", "time")}
    return [_untimed(item) for item in value] if isinstance(value, list) else value


def _plain(text: str) -> list[str]:
    """The console without times, paths and the run's id."""
    lines = re.sub(r"[\d.]+ s\b|\x1b\[[\d;]*m", "", text).splitlines()
    return [line for line in lines if not line.startswith(("run ", "results ", "report "))]


@pytest.mark.slow
def test_scripts_use_a_service_by_the_python_client(tmp_path: Path, service: dict[str, str]) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "lib.py").write_text("NAME = 'lib'\n")
    files = hash_files(find_files(tmp_path / "project", ["*"]).files)

    with GatewayClient.from_environ(service) as gateway:
        run = gateway.submit("import lib; print(lib.NAME); open('out.txt', 'w').write('done')", workspace=files,
                             artifacts=["out.txt"], idempotency_key="once")  # fmt: skip
        printed = [event["text"] for event in gateway.events(run.id) if event["type"] == "stream"]
        again = gateway.submit("import lib; print(lib.NAME); open('out.txt', 'w').write('done')", workspace=files,
                               artifacts=["out.txt"], idempotency_key="once")  # fmt: skip
        (artifact,) = gateway.artifacts(run.id)

        assert "".join(printed).startswith("lib\n")
        assert again.id == run.id
        assert gateway.download_artifact(run.id, artifact, tmp_path / "back").read_text() == "done"
        assert "lib" in gateway.console(run.id).text
        assert gateway.metrics(run.id) == {}
        assert "python3" in {kernel["name"] for kernel in gateway.kernelspecs()}
        assert gateway.agents()[0]["alive"]
        assert [found.id for found in gateway.runs(name="snippet")] == [run.id]
        assert gateway.wait(run.id).status == "succeeded"
