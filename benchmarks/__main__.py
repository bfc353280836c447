"""`python -m benchmarks`: every workload with every contender in turns. `benchmarks/run` makes what it needs."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .measure import Sample
from .report import markdown, plot, renew_page
from .workloads import CONTENDERS, PEERS, WORKLOADS, Workload, write_notebook

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Measure, and write ``results.json``, ``results.md`` and ``results.svg``."""
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument("--only", action="append", choices=[known.name for known in WORKLOADS], help="repeatable")
    parser.add_argument("--contender", action="append", choices=list(CONTENDERS), help="only these; repeatable")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds of every workload, instead of its own number")
    parser.add_argument("--papermill-cells", action="store_true", help="also let papermill run the 1,000 cells, once")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "benchmarks", metavar="DIR")
    parser.add_argument("--docs", action="store_true", help="also renew docs/performance.md")
    arguments = parser.parse_args()
    os.environ["PYTHONHASHSEED"] = "0"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    result: dict[str, Any] = {"about": about(), "workloads": {}}
    for workload in WORKLOADS:
        if arguments.only and workload.name not in arguments.only:
            continue
        contenders = [name for name in workload.contenders if not arguments.contender or name in arguments.contender]
        samples = rounds(workload, contenders, arguments.repeats or workload.repeats)
        if arguments.papermill_cells:
            samples |= {name: [once(workload, name)] for name in workload.once}
        result["workloads"][workload.name] = {
            "title": workload.title,
            "samples": {name: [asdict(sample) for sample in found] for name, found in samples.items()},
        }
    result["about"]["load_after"] = os.getloadavg()[0]
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    text = markdown(result)
    (arguments.output / "results.md").write_text(text, encoding="utf-8")
    plot(result, arguments.output / "results.svg")
    print(text)
    if arguments.docs:
        renew_page(ROOT / "docs" / "performance.md", text)
        shutil.copyfile(arguments.output / "results.svg", ROOT / "docs" / "performance.svg")
        shutil.copyfile(arguments.output / "results.json", ROOT / "docs" / "performance.json")
    return 0


def rounds(workload: Workload, contenders: list[str], repeats: int) -> dict[str, list[Sample]]:
    """`repeats` rounds after one that does not count; in each, everyone once, in a new order."""
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    shuffled = random.Random(0)
    # One round to warm the caches; what takes half a minute is not made faster by them.
    for number in range(0 if repeats > 3 else 1, repeats + 1):
        order = shuffled.sample(contenders, len(contenders))
        for name in order:
            sample = once(workload, name)
            if number:
                samples[name].append(sample)
            print(f"{workload.name} {number}/{repeats} {name}: {sample.seconds:.2f} s", file=sys.stderr, flush=True)
    return samples


def once(workload: Workload, name: str) -> Sample:
    """One run, in a fresh folder."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        return CONTENDERS[name](workload, write_notebook(workload, Path(folder, "work")))


def about() -> dict[str, Any]:
    """Where and with what: machine, versions, command, date."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    versions = {"kernel-gateway": importlib.metadata.version("kernel-gateway"), "python": platform.python_version()}
    if (PEERS / "python").exists():
        names = ["papermill", "nbclient", "jupyter-client", "ipykernel", "numpy", "pandas", "scikit-learn"]
        code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names}}}))"
        versions |= json.loads(subprocess.check_output([str(PEERS / "python"), "-c", code], text=True))
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": " ".join(["benchmarks/run", *sys.argv[1:]]),
        "commit": _commit(),
        "machine": f"{cpu or platform.machine()}, {os.cpu_count()} cores, {memory / 1e6:.0f} GB, {platform.platform()}",
        "versions": versions,
        "load_before": os.getloadavg()[0],
    }


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


if __name__ == "__main__":
    sys.exit(main())
