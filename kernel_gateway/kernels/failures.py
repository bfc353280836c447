"""Failures that a kernel's reply hides: how the runner still finds them.

A `Detector` lives as long as one cell. It is given the cell's output and asked at the end; `quirks` says
which kernel needs which.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .snippets import ERROR_NOTE, EXIT_NOTE


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error as the ``error`` event carries it. ``ends_program``: the cell asked for the program's end,
    with success if ``ename`` is empty. ``restarted``: the interpreter is a new one and lacks its setup.
    """

    ename: str
    evalue: str
    ends_program: bool = False
    restarted: bool = False


class Detector:
    """Believes the kernel's reply."""

    def feed(self, name: str, text: str) -> None:
        """Take in a piece of the cell's stdout or stderr."""

    def failure(self, folder: Path | None) -> Failure | None:
        """The failure that the reply did not tell, or None. `folder` is the kernel's private one."""
        return None


class BashDetector(Detector):
    """bash_kernel answers ok when bash itself ended (``exit 3``, ``set -e; false``) and says so in the text."""

    _SIGN = "Restarting Bash"

    def __init__(self) -> None:
        self._tail = ""

    def feed(self, name: str, text: str) -> None:
        """Keep the end of stdout, where the kernel's remark stands."""
        if name == "stdout":
            self._tail = (self._tail + text[-len(self._SIGN) - 2 :])[-len(self._SIGN) - 2 :]

    def failure(self, folder: Path | None) -> Failure | None:
        """An ended bash, with its exit code where the trap could note it."""
        code = take_note(folder, EXIT_NOTE)
        if code is None and not self._tail.rstrip().endswith(self._SIGN):
            return None
        code = (code or "").strip()
        if code == "0":
            return Failure(ename="", evalue="exit 0", ends_program=True, restarted=True)
        return Failure(
            ename="ExitCode", evalue=f"bash ended with exit code {code}" if code else "bash ended", restarted=True
        )


class ExitDetector(Detector):
    """A program that quits with a status: `snippets.R_SETUP` notes it."""

    def failure(self, folder: Path | None) -> Failure | None:
        """The end that the program asked for; a failure unless the status is 0."""
        code = take_note(folder, EXIT_NOTE)
        if code is None:
            return None
        if code.strip() == "0":
            return Failure(ename="", evalue="", ends_program=True)
        return Failure(ename="SystemExit", evalue=code.strip())


class OctaveDetector(Detector):
    """octave_kernel always answers ok; `snippets.octave_cell` leaves a note when a cell fails."""

    def failure(self, folder: Path | None) -> Failure | None:
        """The noted error: its identifier if it has one, and its message."""
        note = take_note(folder, ERROR_NOTE)
        if note is None:
            return None
        identifier, _, message = note.partition("\n")
        return Failure(ename=identifier or "error", evalue=message)


def take_note(folder: Path | None, name: str) -> str | None:
    """Read and remove a note that a snippet left; None if there is none."""
    if folder is None:
        return None
    try:
        text = (folder / name).read_text(errors="replace")
        (folder / name).unlink()
    except OSError:
        return None
    return text
