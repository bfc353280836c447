"""Where and with what it was measured."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .contestants.peers import ENVIRONMENTS

ROOT = Path(__file__).parent.parent
QUIET = 0.5
"""Load average above which the machine counts as busy with something else."""

PACKAGES = ("jupyter-client", "ipykernel", "numpy", "pandas", "scikit-learn", "matplotlib")
PEERS = ("papermill", "nbclient", "jupyter-kernel-gateway", "jupyter-server")


def about() -> dict[str, Any]:
    """Machine, versions, commit, command, date, load; for the JSON."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": " ".join(["benchmarks/run", *_telling(sys.argv[1:])]),
        "commit": _commit(),
        "machine": f"{cpu or platform.machine()}, {os.cpu_count()} cores, {memory / 1e6:.0f} GB, {platform.platform()}",
        "cores": os.cpu_count(),
        "sandbox": shutil.which("bwrap") is not None,
        "versions": {
            "kernel-gateway": importlib.metadata.version("kernel-gateway"),
            "python": platform.python_version(),
            **versions(Path(sys.executable), PACKAGES),
        },
        "environments": {
            folder.name: versions(folder / "bin" / "python", PACKAGES + PEERS)
            for folder in sorted(ENVIRONMENTS.glob("*"))
            if (folder / "bin" / "python").exists()
        },
        "load_before": os.getloadavg()[0],
    }


def _telling(arguments: list[str]) -> list[str]:
    """The options that say what is measured: where the results go is nobody's business but the caller's."""
    if "--output" not in arguments:
        return arguments
    at = arguments.index("--output")
    return arguments[:at] + arguments[at + 2 :]


def versions(python: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Of the packages that an environment has."""
    code = (
        "import importlib.metadata as m, json, sys\n"
        "have = {d.name.lower().replace('_', '-'): d.version for d in m.distributions()}\n"
        "print(json.dumps({n: have[n] for n in sys.argv[1:] if n in have}))"
    )
    said = subprocess.run([str(python), "-c", code, *names], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(said.stdout)
    return found


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return said.stdout.strip()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
