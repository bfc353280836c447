"""`python -m tests.peers`: runs the table on checkouts of the peers and says where we differ. See docs/peers.md."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from papermill.iorw import read_yaml_file

from .checks import problems
from .compare import differences
from .execute import Command, Done, nbclient_run, papermill_run
from .table import ENGINES, Case, Table, load_table


@dataclass
class Verdict:
    """How one case went. ``excused``: differences that the table lists, with their reasons."""

    case: Case
    seconds: float = 0.0
    peer_seconds: float = 0.0
    peer_error: str = ""
    problems: list[str] = field(default_factory=list)
    excused: dict[str, str] = field(default_factory=dict)
    skipped: str = ""

    @property
    def word(self) -> str:
        """The verdict for the table."""
        if self.skipped:
            return "left out"
        if self.problems:
            return "DIFFERS"
        return "as listed" if self.case.difference or self.excused else "same"


class Suite:
    """A peer's checkout, copied, so that notebooks may write where they are. ``excuses``: place → reason."""

    def __init__(self, name: str, checkout: Path, scratch: Path, excuses: dict[str, str]) -> None:
        self._excuses = excuses
        self.root = scratch / name
        shutil.copytree(checkout, self.root, ignore=shutil.ignore_patterns(".git"), symlinks=True)
        self._scratch = scratch

    def run(self, case: Case) -> Verdict:
        """Run a case with our command and with the peer, and compare."""
        verdict = Verdict(case)
        if missing := set(case.needs) - set(KernelSpecManager().find_kernel_specs()):
            verdict.skipped = f"the kernelspec {', '.join(sorted(missing))} is not installed"
            return verdict
        parameters = dict(case.parameters)
        if case.parameter_file:
            parameters |= read_yaml_file(str(self.root / case.parameter_file))
        with self._prepared(case) as environ:
            started = time.monotonic()
            runs = self._ours(case, environ)
            verdict.seconds = time.monotonic() - started
            for done, path in zip(runs, case.notebooks, strict=True):
                verdict.problems += problems(case, done, self.root / path)
            if case.compare and runs[0].notebook.is_file():
                self._theirs(verdict, runs[0], parameters)
        return verdict

    @contextlib.contextmanager
    def _prepared(self, case: Case) -> Iterator[dict[str, str]]:
        """The case's files beside its notebook, and its environment."""
        made = [(self.root / case.path).parent / name for name in case.files]
        for path, content in zip(made, case.files.values(), strict=True):
            path.write_text(content, encoding="utf-8")
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            yield {name: value.replace("{tmp}", folder) for name, value in case.environ.items()}
        for path in made:
            path.unlink()

    def _ours(self, case: Case, environ: dict[str, str]) -> list[Done]:
        arguments = list(case.options)
        if case.parameters_by == "--params":
            file = self._scratch / f"{case.id}.json"
            file.write_text(json.dumps(case.parameters), encoding="utf-8")
            arguments += ["--params", str(file)]
        else:
            arguments += [word for name, value in case.parameters.items() for word in ("-p", name, str(value))]
        if case.parameter_file:
            arguments += ["--params", str(self.root / case.parameter_file)]
        commands = []
        for number, path in enumerate(case.notebooks):
            commands.append(
                Command(
                    "-" if case.stdin else str(self.root / path),
                    arguments,
                    folder=self._scratch / "ours" / f"{case.id}-{number}",
                    environ=environ,
                    stdin=self.root / path if case.stdin else None,
                )
            )
        if case.interrupt:
            commands[0].interrupt()
        return [command.wait() for command in commands]

    def _theirs(self, verdict: Verdict, done: Done, parameters: dict[str, Any]) -> None:
        """Let the peer run the notebook; the papermill suite also goes through both tools one after the other."""
        case, source = verdict.case, self.root / verdict.case.path
        started = time.monotonic()
        if case.suite == "nbclient":
            theirs, verdict.peer_error = nbclient_run(source, case.engine)
        else:
            output = self._scratch / "theirs" / f"{case.id}.ipynb"
            output.parent.mkdir(exist_ok=True)
            theirs, verdict.peer_error = papermill_run(source, parameters, output)
        verdict.peer_seconds = time.monotonic() - started
        if bool(verdict.peer_error) != (case.status != "succeeded"):
            verdict.problems.append(f"{case.suite} itself ends with {verdict.peer_error or 'success'}")
        if theirs is None:
            verdict.problems.append(f"{case.suite} left no notebook")
            return
        ours = nbformat.read(done.notebook, as_version=4)
        found = differences(ours, theirs, papermill=case.suite == "papermill")
        for place, what in found.items():
            if reason := _reason(case.differences, place):
                verdict.excused[place] = reason
            elif not _reason(self._excuses, place):
                verdict.problems.append(f"{place}: {what}")
        for pattern in case.differences:
            if not any(re.fullmatch(pattern, place) for place in found):
                verdict.problems.append(f"the table excuses {pattern!r}, where nothing differs any more")
        if case.suite == "papermill":
            verdict.problems += self._round_trip(case, done, output, source.parent)

    def _round_trip(self, case: Case, done: Done, papermills: Path, folder: Path) -> list[str]:
        """papermill runs our result again, we run papermill's: both must end as the first run did."""
        found = []
        copy = folder / "our-executed.ipynb"
        shutil.copyfile(done.notebook, copy)
        again, error = papermill_run(copy, {}, self._scratch / "theirs" / f"{case.id}-again.ipynb")
        if bool(error) != (case.status != "succeeded"):
            found.append(f"papermill ends our result with {error or 'success'}")
        elif case.status == "succeeded" and again is not None:
            first = nbformat.read(done.notebook, as_version=4)
            found += [
                f"papermill on our result, {place}: {what}"
                for place, what in differences(first, again).items()
                if place.endswith(("source", "outputs", "of cells")) and not _reason(case.differences, place)
            ]
        shutil.copyfile(papermills, copy)
        third = Command(str(copy), [], folder=self._scratch / "ours" / f"{case.id}-again", environ={}).wait()
        if third.exit_code != case.exit_code:
            found.append(f"we end papermill's result with {third.exit_code}: {third.output[-300:]}")
        copy.unlink()
        return found


def _reason(excuses: dict[str, str], place: str) -> str:
    """Why a difference in this place is as it should be; the places of the table are regular expressions."""
    for pattern, reason in excuses.items():
        if re.fullmatch(pattern, place):
            return reason
    return ""


def main() -> int:
    """Run what there is a checkout of; 1 if anything differs without a reason, 2 if there is nothing to run."""
    parser = argparse.ArgumentParser(prog="scripts/peers", description=__doc__)
    for name in ENGINES:
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=f"a checkout of {name}'s repository")
    parser.add_argument("--only", metavar="TEXT", default="", help="run only the cases whose id contains this")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables of docs/peers.md")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep all that was written in this new folder")
    arguments = parser.parse_args()
    checkouts = {name: path for name in ENGINES if (path := getattr(arguments, name))}
    if not checkouts:
        parser.error("name at least one checkout")
    table = load_table()
    cases = [case for case in table.cases if case.suite in checkouts and arguments.only in case.id]
    for name, path in checkouts.items():
        if absent := [case.path for case in cases if case.suite == name and not (path / case.path).is_file()]:
            parser.error(f"{path} is no checkout of {name}: it lacks {absent[0]}")
    strangers = [f"{name}: {path}" for name in checkouts for path in unlisted(table, name, checkouts[name])]
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch:
        root = arguments.keep or Path(scratch)
        root.mkdir(parents=True, exist_ok=True)
        suites = {name: Suite(name, path, root, table.everywhere[name]) for name, path in checkouts.items()}
        verdicts = []
        for case in cases:
            verdict = suites[case.suite].run(case)
            verdicts.append(verdict)
            print(f"{verdict.word:9} {case.id}{f' ({verdict.skipped})' if verdict.skipped else ''}", flush=True)
            for problem in verdict.problems:
                print(f"    {problem}", flush=True)
    if arguments.markdown:
        arguments.markdown.write_text(markdown(verdicts, table.everywhere), encoding="utf-8")
    differing = [verdict for verdict in verdicts if verdict.problems]
    left_out = sum(1 for verdict in verdicts if verdict.skipped)
    print(f"{len(verdicts) - len(differing) - left_out} as expected, {len(differing)} differ, {left_out} left out")
    for stranger in strangers:
        print(f"the table has no row for {stranger}")
    return 1 if differing or strangers or not verdicts else 0


def unlisted(table: Table, suite: str, checkout: Path) -> list[str]:
    """Notebooks of a peer's tests that no row of the table runs."""
    listed = {path for case in table.cases if case.suite == suite for path in case.notebooks}
    found = {path.relative_to(checkout).as_posix() for path in checkout.rglob("tests/**/*.ipynb")}
    return sorted(found - listed)


def markdown(verdicts: list[Verdict], everywhere: dict[str, dict[str, str]]) -> str:
    """The result as Markdown: a table, and the differences with their reasons, as docs/peers.md has them."""
    rows = ["| case | notebook | their test expects | ours | verdict |", "| --- | --- | --- | --- | --- |"]
    reasons = ["| where | what differs | why |", "| --- | --- | --- |"]
    for suite, places in everywhere.items():
        reasons += [f"| every {suite} case | {place} | {reason} |" for place, reason in places.items()]
    for verdict in verdicts:
        case = verdict.case
        name = Path(case.path).name
        rows.append(f"| {case.id} | {name} | {case.peer} | {case.status} ({case.exit_code}) | {verdict.word} |")
        if case.difference:
            reasons.append(f"| {case.id} | the end | {case.difference} |")
        for place, reason in case.differences.items():
            shown = place.replace("|", ", ").replace(r"cell \d+", "cell")
            reasons.append(f"| {case.id} | {shown} | {reason} |")
    return "\n".join([*rows, "", *reasons]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
