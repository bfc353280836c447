"""What each kernel does unlike the others: the one table.

Everything here was measured on the kernels themselves; `kernel-gateway kernels doctor` measures it again
on whatever is installed. A kernel without an entry is taken at the protocol's word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jupyter_client.kernelspec import KernelSpec

from . import failures, snippets
from .failures import Detector


def _as_is(code: str, folder: Path | None) -> str:
    return code


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """How to treat one kernel implementation.

    ``transport``: ``ipc`` where the kernel can (private folder, no port, no delayed packets).
    ``interrupt``: overrides the kernelspec's ``interrupt_mode``.
    ``heartbeat``: whether it answers heartbeats while it computes.
    ``arguments``: added to its command line. ``environment``: added to its environment.
    ``warm_up``: code run silently, and waited for, before the first cell.
    ``setup``: code run silently just before the first cell.
    ``wrap``: turns a cell's source into what the kernel is sent; given the kernel's private folder too, or None
    where the kernel runs elsewhere.
    ``flush``: code run silently, and waited for, after each cell, where outputs may come later than the end.
    ``detector``: makes a `Detector` for each cell, where the kernel hides failures.
    ``raw_output``: which of ``stdout`` and ``stderr``, where its process writes outside the protocol, are
    output of the cell.
    ``exits``: whether the exit code of its process is the program's own, which a cell ended.
    ``hang_up``: whether it ends by SIGHUP, since it does not answer a request to shut down.
    """

    transport: Literal["ipc", "tcp"] = "tcp"
    interrupt: Literal["signal", "message"] | None = None
    heartbeat: bool = False
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    warm_up: str = ""
    setup: str = ""
    wrap: Callable[[str, Path | None], str] = _as_is
    flush: str = ""
    detector: Callable[[], Detector] = Detector
    raw_output: frozenset[str] = frozenset()
    exits: bool = False
    hang_up: bool = False


QUIET_DEBUGGER = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
"""ipykernel loads a debugger, which else warns about itself in the first cell's output."""

BOTH = frozenset({"stdout", "stderr"})

OWN_PIPES = "--IPKernelApp.capture_fd_output=False"
"""ipykernel sends on what child processes and C libraries write, but up to 0.2 s after the cell's end, and the
last words of a crash not at all. Left alone, they reach us at once."""

IPYKERNEL = Quirks(
    transport="ipc",
    heartbeat=True,
    environment=QUIET_DEBUGGER,
    arguments=("--HistoryManager.hist_file=:memory:", OWN_PIPES),
    detector=failures.IPythonDetector,
    raw_output=BOTH,
)

BY_MODULE: dict[str, Quirks] = {
    "ipykernel_launcher": IPYKERNEL,
    "ipykernel": IPYKERNEL,
    # Hides how bash ended (`exit 3`, `set -e; false`), and types cells into bash's terminal, which cells share.
    "bash_kernel": Quirks(
        transport="ipc",
        heartbeat=True,
        # Its process' own stdout is the cells': see `snippets.BASH_SETUP`.
        arguments=(OWN_PIPES,),
        raw_output=frozenset({"stdout"}),
        # Whatever asks on the terminal itself finds one here, unlike in other CI steps.
        environment=QUIET_DEBUGGER | {"GIT_TERMINAL_PROMPT": "0", "DEBIAN_FRONTEND": "noninteractive"},
        setup=snippets.BASH_SETUP,
        wrap=snippets.bash_cell,
        detector=failures.BashDetector,
        hang_up=True,
    ),
    # Errors come as text on stdout, and the reply is always ok.
    "octave_kernel": Quirks(
        transport="ipc",
        heartbeat=True,
        environment=QUIET_DEBUGGER,
        arguments=(OWN_PIPES,),  # Octave remarks at its start that it has no display
        setup=snippets.OCTAVE_SETUP,
        wrap=snippets.octave_cell,
        detector=failures.OctaveDetector,
    ),
    # What cells print on stdout stands in its raw output a second time.
    "run_kotlin_kernel": Quirks(
        warm_up=snippets.KOTLIN_SETUP, detector=failures.KotlinDetector, raw_output=frozenset({"stderr"})
    ),
}
"""Python module that the kernelspec's command runs (``-m MODULE``) → quirks."""

# Ignores SIGINT; every eighth output comes after the message that the cell has ended.
DENO = Quirks(
    interrupt="message",
    warm_up="null",
    setup=snippets.DENO_SETUP,
    flush=snippets.DENO_FLUSH,
    detector=failures.DenoDetector,
    raw_output=BOTH,
    exits=True,
)

BY_LANGUAGE: dict[str, Quirks] = {
    "typescript": DENO,
    "javascript": DENO,
    # `quit(status = 3)` answers ok and runs on.
    "r": Quirks(raw_output=BOTH, setup=snippets.R_SETUP, detector=failures.RDetector),
    # Child processes write past the kernel. Does not end when it is asked to.
    "java": Quirks(raw_output=BOTH, detector=failures.JavaDetector, exits=True, hang_up=True),
}
"""Kernelspec language, lower case → quirks, where the command names no module above."""

SQL = Quirks(
    transport="ipc",
    heartbeat=True,
    arguments=IPYKERNEL.arguments,
    detector=failures.IPythonDetector,
    raw_output=BOTH,
    # jupysql would report usage over the network otherwise.
    environment=QUIET_DEBUGGER | {"PLOOMBER_STATS_ENABLED": "false", "PLOOMBER_VERSION_CHECK_DISABLED": "true"},
    setup=snippets.SQL_SETUP,
    wrap=snippets.sql_cell,
)
"""SQL cells: jupysql's ``%%sql`` on an ipython kernel."""


def quirks_of(spec: KernelSpec, asked: str = "") -> Quirks:
    """The quirks of a kernelspec; `asked` is the name it was asked for by, which tells SQL from Python."""
    module = spec.argv[spec.argv.index("-m") + 1] if "-m" in spec.argv[:-1] else ""
    if asked.lower() == "sql" and module.startswith("ipykernel"):
        return SQL
    if module in BY_MODULE:
        return BY_MODULE[module]
    return BY_LANGUAGE.get(str(spec.language).lower(), Quirks())
