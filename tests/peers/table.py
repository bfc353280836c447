"""The table of what must come out: one `Case` for each notebook (or way to run it) of a peer's test suite."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

TABLE = Path(__file__).with_name("expectations.toml")

ENGINES = ("nbclient", "papermill")

OUTCOMES = {
    "succeeds": {("succeeded", 0)},
    "fails": {("failed", 1)},
    "times out": {("timed_out", 4)},
    "dies": {("kernel_died", 5)},
    # Notebooks that the peer's tests only read, inspect or prepare: any outcome of ours that has a reason.
    "not executed": {("succeeded", 0), ("failed", 1), ("cancelled", 130)},
}
"""What a peer's test expects → the statuses and exit codes of ours that mean the same."""

CHECKS = ("sleep", "rerun")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One notebook, how to run it, and what must come out.

    ``path`` is relative to the peer's repository, ``asserted_by`` names the test there. Cell numbers in
    ``texts``, ``errors`` and ``sources`` count the executed notebook's cells from 0, without the cells that
    announce an error; in ``counts`` (execution counts of the code cells) 0 stands for none.
    """

    id: str
    suite: str
    path: str
    asserted_by: str
    peer: str
    status: str
    exit_code: int
    options: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    parameters_by: str = "-p"
    """``-p``, or ``--params`` for values that must arrive exactly as they stand here: ``-p`` reads YAML."""
    parameter_file: str = ""
    """A YAML or JSON file of the peer's repository that holds parameters."""
    stdin: bool = False
    """Whether the notebook is handed in through standard input."""
    together: list[str] = field(default_factory=list)
    """Notebooks that run at the same time and must come out alike."""
    environ: dict[str, str] = field(default_factory=dict)
    """More environment variables; ``{tmp}`` stands for a fresh folder."""
    files: dict[str, str] = field(default_factory=dict)
    """Files to put beside the notebook: name → content."""
    interrupt: bool = False
    """Whether the command gets SIGINT while the first cell runs."""
    stored_outputs: bool = False
    """Whether outputs and counts must equal those that the notebook already holds."""
    counts: list[int] = field(default_factory=list)
    texts: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    """What the command's output must contain."""
    check: str = ""
    """One more check of `checks.CHECKS`."""
    compare: bool = True
    """Whether the peer runs the notebook too, and the two results are compared."""
    engine: dict[str, Any] = field(default_factory=dict)
    """Options for the peer's own run."""
    needs: list[str] = field(default_factory=list)
    """Kernelspecs without which the case is left out."""
    difference: str = ""
    """Why our outcome is not the one that the peer's test expects."""
    differences: dict[str, str] = field(default_factory=dict)
    """Places (regular expressions) where our notebook differs from the peer's → why."""

    @property
    def notebooks(self) -> list[str]:
        """All notebooks of the case."""
        return [self.path, *self.together]


@dataclass(frozen=True)
class Table:
    """The cases, in the order of the file, and ``everywhere``: suite → place → why all of its results differ there."""

    cases: list[Case]
    everywhere: dict[str, dict[str, str]]


def load_table(path: Path = TABLE) -> Table:
    """The table. Raises ValueError that names the case and the field."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    if set(content) != {"case", "everywhere"}:
        raise ValueError(f"{path.name} must hold [everywhere] and [[case]] tables only; it has {sorted(content)}")
    everywhere = content["everywhere"]
    if not _fits(everywhere, dict[str, dict[str, str]]) or not set(everywhere) <= set(ENGINES):
        raise ValueError("everywhere must be a table of suite, place and reason")
    return Table([_case(number, item) for number, item in enumerate(content["case"], 1)], everywhere)


def _case(number: int, item: dict[str, Any]) -> Case:
    name = item.get("id", f"number {number}")
    types = get_type_hints(Case)
    if unknown := sorted(set(item) - set(types)):
        raise ValueError(f"case {name}: there is no field {', '.join(unknown)}")
    required = {known.name for known in fields(Case) if known.default is MISSING and known.default_factory is MISSING}
    if missing := sorted(required - set(item)):
        raise ValueError(f"case {name}: {', '.join(missing)} is missing")
    for key, value in item.items():
        if not _fits(value, types[key]):
            raise ValueError(f"case {name}: {key} must be {types[key]}, not {value!r}")
    return Case(**item)


def _fits(value: Any, wanted: Any) -> bool:
    if wanted is Any:
        return True
    origin = get_origin(wanted)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, get_args(wanted)[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(item, get_args(wanted)[1]) for item in value.values())
    return type(value) is wanted
