"""Every workload with every contestant in turns. `benchmarks/run` makes what this needs and starts it."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kernel_gateway.errors import GatewayError

from . import commands
from .about import QUIET, ROOT, about
from .commands import CommandFailed
from .contestants import CONTESTANTS, Contestant
from .plot import plot
from .report import markdown, renew_page
from .samples import SCHEMA, Sample
from .workloads import FULL, QUICK, Workload, workloads


class Session:
    """Measures; keeps the contestants' servers between workloads and ends them with the ``with`` block.

    Whoever failed takes no further part in that workload; whose server did not start, in none.
    """

    def __init__(self) -> None:
        self._servers = ExitStack()
        self._started: set[str] = set()
        self._broken: dict[str, str] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self._servers.close()

    def measure(self, workload: Workload, contestants: Sequence[Contestant], rounds: int | None) -> dict[str, Any]:
        """All rounds of a workload, in each everyone once and in a new order; its entry of the JSON."""
        if workload.alone:
            self._servers.close()
            self._started.clear()
        samples: dict[str, list[Sample]] = {contestant.name: [] for contestant in contestants}
        failures: dict[str, str] = {}
        due = {name: rounds or workload.fewer.get(name, workload.rounds) for name in samples}
        due |= {name: 1 for name in samples if name in workload.once}
        shuffled = random.Random(0)
        for number in range(0 if workload.warm_up and rounds is None else 1, max(due.values(), default=0) + 1):
            for contestant in shuffled.sample(contestants, len(contestants)):
                name = contestant.name
                if number > due[name] or name in failures:
                    continue
                try:
                    sample = self._once(workload, contestant)
                except (CommandFailed, GatewayError, OSError) as error:
                    failures[name] = str(error)
                    _say(f"{workload.name}: {name} FAILED: {error}")
                    continue
                if number:
                    samples[name].append(sample)
                _say(f"{workload.name} {number}/{due[name]} {name}: {_shown(sample)}")
        return {
            "title": workload.title,
            "samples": {name: [asdict(sample) for sample in of] for name, of in samples.items() if of},
            "failures": failures,
        }

    def _once(self, workload: Workload, contestant: Contestant) -> Sample:
        """One round in a fresh folder. What a service does afterwards is waited for, so that it burdens nobody else."""
        if not workload.alone:
            if contestant.name not in self._started:
                self._start(contestant)
            contestant.settle()
        with tempfile.TemporaryDirectory(prefix="kg-", ignore_cleanup_errors=True) as folder:
            sample = workload.measure(contestant, Path(folder))
        if not workload.alone:
            contestant.settle()
        return sample

    def _start(self, contestant: Contestant) -> None:
        if contestant.name in self._broken:
            raise CommandFailed(self._broken[contestant.name])
        folder = self._servers.enter_context(tempfile.TemporaryDirectory(prefix="kg-", ignore_cleanup_errors=True))
        self._servers.callback(contestant.stop)
        try:
            contestant.start(Path(folder))
        except CommandFailed as error:
            self._broken[contestant.name] = str(error)
            raise
        self._started.add(contestant.name)


def main() -> int:
    """Measure, and write ``results.json``, ``results.md`` and ``results.svg``. Ends with 1 if a contestant failed."""
    arguments = _arguments()
    os.environ["PYTHONHASHSEED"] = "0"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts it in the background ignores it
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.report is not None:
        result = json.loads(arguments.report.read_text(encoding="utf-8"))
        if result.get("schema") != SCHEMA:
            sys.exit(f"{arguments.report} is of another schema than {SCHEMA}: measure again.")
    else:
        try:
            result = _measured(arguments)
        except KeyboardInterrupt:
            _say("stopped; results.json has the workloads that were done by then")
            return 130
        finally:
            commands.stop_all()
    text = markdown(result)
    (arguments.output / "results.md").write_text(text, encoding="utf-8")
    plot(result, arguments.output / "results.svg")
    print(text)
    if arguments.docs:
        renew_page(ROOT / "docs" / "performance.md", text)
        shutil.copyfile(arguments.output / "results.svg", ROOT / "docs" / "performance.svg")
        (ROOT / "docs" / "performance.json").write_text(_json(result), encoding="utf-8")
    return int(any(workload["failures"] for workload in result["workloads"].values()))


def _measured(arguments: argparse.Namespace) -> dict[str, Any]:
    chosen = [CONTESTANTS[name] for name in arguments.contestant or CONTESTANTS]
    obstacles = {contestant.name: contestant.obstacle() for contestant in chosen}
    able = [contestant for contestant in chosen if obstacles[contestant.name] is None]
    for name, obstacle in obstacles.items():
        if obstacle:
            _say(f"{name} does not take part. {obstacle}")
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "about": {**about(), "quick": arguments.quick},
        "contestants": {
            contestant.name: {
                "title": contestant.title,
                "ours": contestant.ours,
                "obstacle": obstacles[contestant.name],
            }
            for contestant in chosen
        },
        "workloads": {},
    }
    if result["about"]["load_before"] > QUIET:
        _say(f"the machine is not quiet (load {result['about']['load_before']:.1f}): the figures will be wrong")
    begun = time.monotonic()
    with Session() as session:
        for workload in workloads(QUICK if arguments.quick else FULL):
            if arguments.only and workload.name not in arguments.only:
                continue
            takes_part = {*workload.contestants, *(workload.once if arguments.papermill_cells else ())}
            part = [contestant for contestant in able if contestant.name in takes_part]
            rounds = arguments.repeats or (1 if arguments.quick else None)
            result["workloads"][workload.name] = session.measure(workload, part, rounds)
            result["about"] |= {"load_after": os.getloadavg()[0], "took": time.monotonic() - begun}
            (arguments.output / "results.json").write_text(_json(result), encoding="utf-8")
    return result


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    names = [workload.name for workload in workloads(FULL)]
    parser.add_argument("--quick", action="store_true", help="everything once and small: does it still work?")
    parser.add_argument("--only", action="append", choices=names, help="this workload; repeatable")
    parser.add_argument("--contestant", action="append", choices=list(CONTESTANTS), help="only these; repeatable")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds of every workload, instead of its own number")
    parser.add_argument("--papermill-cells", action="store_true", help="also let papermill run the 1,000 cells, once")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "benchmarks", metavar="DIR")
    parser.add_argument("--docs", action="store_true", help="also renew docs/performance.md")
    parser.add_argument("--report", type=Path, metavar="FILE", help="measure nothing; show an earlier results.json")
    arguments = parser.parse_args()
    if arguments.docs and (arguments.quick or arguments.only or arguments.contestant):
        parser.error("--docs goes with all workloads and contestants at full size only")
    return arguments


def _json(result: dict[str, Any]) -> str:
    rounded = json.loads(json.dumps(result), parse_float=lambda text: round(float(text), 5))
    return json.dumps(rounded, indent=1, ensure_ascii=False) + "\n"


def _shown(sample: Sample) -> str:
    shown = {key: value for key, value in asdict(sample).items() if value is not None and value != []}
    if sample.delays:
        shown["delays"] = f"{len(sample.delays)}, middle {sorted(sample.delays)[len(sample.delays) // 2]:.1f} ms"
    return ", ".join(
        f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}" for key, value in shown.items()
    )


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
