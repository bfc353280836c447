"""What `kernel-gateway kernels doctor` tries on a kernel, and what it says about what doesn't work.

Nothing runs here: the command runs the probes as cells, the way any run does, and hands the outcome in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

GREETING = "héllo 世界"
"""What each output probe prints; it shows whether text beyond ASCII survives."""


@dataclass(frozen=True)
class Probes:
    """Cells in one language. ``output`` prints `GREETING`, ``display`` shows something richer than text
    (empty where the kernel can't), ``failure`` must fail, ``endless`` runs until it is interrupted (or is empty).
    """

    output: str
    display: str
    failure: str
    endless: str


_PYTHON = Probes(
    f"print('{GREETING}')",
    "from IPython.display import HTML, display\ndisplay(HTML('<b>hello</b>'))",
    "raise RuntimeError('as it should')",
    "import time\nwhile True:\n    time.sleep(0.1)",
)
_DENO = Probes(
    f"console.log('{GREETING}')",
    "await Deno.jupyter.display({'text/html': '<b>hello</b>'}, {raw: true})",
    "throw new Error('as it should')",
    "while (true) {}",
)

PROBES: dict[str, Probes] = {
    "python": _PYTHON,
    "r": Probes(f"cat('{GREETING}\\n')", "plot(1:3)", "stop('as it should')", "while (TRUE) Sys.sleep(0.1)"),
    "bash": Probes(f"echo '{GREETING}'", "displayHTML <<< '<b>hello</b>'", "exit 3", "sleep 600"),
    "octave": Probes(f"disp('{GREETING}')", "plot(1:3)", "error('as it should')", "while true, pause(0.1); end"),
    "typescript": _DENO,
    "javascript": _DENO,
    "java": Probes(
        f'System.out.println("{GREETING}");',
        'display("<b>hello</b>", "text/html");',
        'throw new RuntimeException("as it should");',
        "while (true) Thread.sleep(100);",
    ),
    "kotlin": Probes(
        f'println("{GREETING}")',
        'HTML("<b>hello</b>")',
        'throw RuntimeException("as it should")',
        "while (true) Thread.sleep(100)",
    ),
    "sql": Probes(
        f"select '{GREETING}' as greeting",
        "select 1 as one",
        "select * from a_table_that_is_not_there",
        "",  # what interrupts a query is up to the database's driver
    ),
}
"""Kernelspec language, lower case → its probes. The one table; a language without a row is started and stopped only."""

STEPS = ("run", "display", "fail", "interrupt", "stop")
"""What is tried after the start, in this order."""

OK, NOT_TRIED, FORCED = "ok", "-", "by force"

_PIP = "pip install {}"
INSTALL: dict[str, str] = {
    "python": _PIP.format("ipykernel"),
    "bash": _PIP.format("bash_kernel") + " && python -m bash_kernel.install --sys-prefix",
    "r": "apt-get install r-base-core r-cran-irkernel, or in R: install.packages('IRkernel'); IRkernel::installspec()",
    "octave": "apt-get install octave && " + _PIP.format("octave_kernel"),
    "java": "apt-get install openjdk-17-jdk-headless && " + _PIP.format("jjava"),
    "kotlin": "apt-get install openjdk-17-jre-headless && " + _PIP.format("kotlin-jupyter-kernel"),
    "typescript": _PIP.format("deno") + " && deno jupyter --install",
    "javascript": _PIP.format("deno") + " && deno jupyter --install",
    "sql": _PIP.format("jupysql duckdb duckdb-engine"),
}
"""Language → how its kernel is installed; `docs/kernels.md` says more."""

_PACKAGES = {"sql": "jupysql", "sqlalchemy": "jupysql"}
_DISPLAY_ADVICE = {"octave": "Octave draws with gnuplot: apt-get install gnuplot-nox ghostscript fonts-freefont-otf"}


@dataclass
class Checkup:
    """What was found about one kernel. ``start``: seconds until it answered, None if it never did.
    ``steps``: step → `OK`, `NOT_TRIED`, for the stop `FORCED` (killed, but gone), or a few words about what went
    wrong. ``remarks``: sentences.
    ``stderr``: the end of what its process printed.
    """

    name: str
    language: str
    start: float | None = None
    steps: dict[str, str] = field(default_factory=lambda: dict.fromkeys(STEPS, NOT_TRIED))
    remarks: list[str] = field(default_factory=list)
    stderr: str = ""

    @property
    def works(self) -> bool:
        """Whether it started and nothing that was tried went wrong."""
        return self.start is not None and all(result in (OK, NOT_TRIED, FORCED) for result in self.steps.values())


def advice(checkup: Checkup) -> list[str]:
    """What to do about a kernel that doesn't work: its remarks, a likely remedy, and the end of its stderr."""
    lines = list(checkup.remarks)
    if not checkup.works:
        remedy = _remedy(checkup)
        if remedy:
            lines.append(remedy)
        if checkup.stderr:
            lines.append("Its process said:")
            lines += [f"  {line}" for line in checkup.stderr.splitlines()[-10:]]
    return lines


def _remedy(checkup: Checkup) -> str:
    text = "\n".join([*checkup.remarks, checkup.stderr])
    install = INSTALL.get(checkup.language)
    if missing := re.search(r"No module named '?([\w.]+)", text):
        module = missing[1].split(".")[0]
        return f"A Python module is missing. Install it into the kernel's environment: {_PIP.format(_package(module))}"
    if re.search(r"can't be executed|command not found|No such file or directory", text):
        known = f" To install it: {install}" if install else " Install the program, or correct the kernelspec."
        return f"The kernel's program is missing, or not on the PATH.{known}"
    if checkup.start is None and install:
        return f"To install the kernel anew: {install}"
    if checkup.steps["display"] not in (OK, NOT_TRIED) and checkup.language in _DISPLAY_ADVICE:
        return _DISPLAY_ADVICE[checkup.language]
    return ""


def _package(module: str) -> str:
    return _PACKAGES.get(module, module)


HEADINGS: Mapping[str, str] = {"fail": "fails when it should"}


def table(checkups: list[Checkup]) -> str:
    """The checkups as a table of plain text, with advice on each kernel that needs it below."""
    rows = [["kernel", "language", "start s", *(HEADINGS.get(step, step) for step in STEPS)]]
    for checkup in checkups:
        start = "failed" if checkup.start is None else f"{checkup.start:.1f}"
        rows.append([checkup.name, checkup.language, start, *checkup.steps.values()])
    parts = [columns(rows)]
    for checkup in checkups:
        if lines := advice(checkup):
            parts.append("\n".join([f"{checkup.name}:", *(f"  {line}" for line in lines)]))
    return "\n\n".join(parts)


def columns(rows: list[list[str]]) -> str:
    """Rows of text in columns, two blanks apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
