"""Failures that a kernel's reply hides or garbles: how the runner still finds and words them.

A `Detector` lives as long as one cell. It is given the cell's output and errors, and asked at the end; `quirks`
says which kernel needs which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .snippets import ERROR_NOTE, EXIT_NOTE, NO_INPUT, STATUS_NOTE

EXIT_CODE = "ExitCode"
"""Name of the error of a program or command that ended with a code other than 0."""

INPUT_REFUSED = "InputRefused"
"""Name of the error of a cell that asked for input."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error as the ``error`` event carries it. ``ends_program``: the cell asked for the program's end,
    with success if ``ename`` is empty. ``restarted``: the interpreter is a new one and lacks its setup.
    """

    ename: str
    evalue: str
    ends_program: bool = False
    restarted: bool = False


def exit_failure(code: str | int, *, restarted: bool = False) -> Failure:
    """What a cell's asking for the program's end comes to, by the code that it gave."""
    text = str(code).strip()
    if text == "0":
        return Failure(ename="", evalue="", ends_program=True, restarted=restarted)
    return Failure(ename=EXIT_CODE, evalue=f"exit code {text}" if text else "no exit code", restarted=restarted)


class Detector:
    """Believes the kernel's reply.

    ``decided`` is true after `failure` if its answer counts whatever the reply says.
    """

    decided = False

    def feed(self, name: str, text: str) -> None:
        """Take in a piece of the cell's stdout or stderr."""

    def raw(self, name: str, text: str) -> str:
        """The part that is the cell's of what the kernel's process wrote outside the protocol meanwhile."""
        return text

    def error(self, content: Mapping[str, Any]) -> dict[str, Any] | None:
        """An error message or reply of the kernel as the event log shall have it: with ``ename``, ``evalue``
        and ``traceback`` that a person can read; None to leave it to `failure`.
        """
        return dict(content)

    def failure(self, folder: Path | None) -> Failure | None:
        """The failure that the reply did not tell, or None. `folder` is the kernel's private one."""
        return None


class IPythonDetector(Detector):
    """ipython tells ``sys.exit(0)`` as an error."""

    def error(self, content: Mapping[str, Any]) -> dict[str, Any] | None:
        """Leaves out an exit with success, which the reply tells too."""
        succeeded = content.get("ename") == "SystemExit" and str(content.get("evalue")) in ("", "0", "None")
        return None if succeeded else dict(content)


class BashDetector(Detector):
    """bash_kernel answers ok when bash itself ended, and takes background jobs' output for an exit status.

    So what counts are the notes of `snippets.bash_cell` and `snippets.BASH_SETUP`.
    """

    _SIGN = "Restarting Bash"

    def __init__(self) -> None:
        self._tail = ""
        self._status = ""

    def feed(self, name: str, text: str) -> None:
        """Keep the end of stdout, where the kernel's remark stands."""
        if name == "stdout":
            self._tail = (self._tail + text[-len(self._SIGN) - 2 :])[-len(self._SIGN) - 2 :]

    def error(self, content: Mapping[str, Any]) -> dict[str, Any] | None:
        """Keep the status, which is all that the kernel's errors hold."""
        self._status = str(content.get("evalue") or "")
        return None

    def failure(self, folder: Path | None) -> Failure | None:
        """The cell's exit status, or an ended bash."""
        self.decided = True
        code, status = take_note(folder, EXIT_NOTE), take_note(folder, STATUS_NOTE)
        if code is not None:
            return exit_failure(code, restarted=True)
        if status is not None:
            return None if status.strip() == "0" else exit_failure(status)
        if self._tail.rstrip().endswith(self._SIGN):
            return Failure(ename=EXIT_CODE, evalue="bash ended", restarted=True)
        if self._status:
            # Without a note bash gave up the cell by itself, e.g. for an unset variable under `set -u`.
            return exit_failure(self._status) if self._status.isdigit() else Failure(ename="", evalue=self._status)
        return None if folder is None else Failure(ename="Aborted", evalue="bash did not run the cell to its end")


class ExitDetector(Detector):
    """A program that asks for its end: a snippet notes the code."""

    def failure(self, folder: Path | None) -> Failure | None:
        """The end that the program asked for; a failure unless the code is 0."""
        code = take_note(folder, EXIT_NOTE)
        return None if code is None else exit_failure(code)


class RDetector(ExitDetector):
    """IRkernel calls every error ERROR and tells it with R's words around it; `snippets.R_SETUP` notes exits."""

    # "Error in CALL: MESSAGE", "Error: MESSAGE"; the call may hold colons of its own, as in a::b.
    _FORM = re.compile(r"Error(?: in (?P<call>.+?))? ?:(?!:)(?:\s+|\Z)(?P<message>.*)", re.DOTALL)
    _ITS_OWN = ("eval(expr, envir, enclos)", "parse(text = x, srcfile = src)")

    def error(self, content: Mapping[str, Any]) -> dict[str, Any] | None:
        """The message first, and behind it the call that failed unless it is IRkernel's own."""
        text = str(content.get("evalue") or "").strip()
        found = self._FORM.fullmatch(text)
        if found is None:
            return {**content, "ename": "Error", "evalue": text}
        call, message = found["call"], found["message"].strip()
        if call is not None and call not in self._ITS_OWN:
            head, *rest = message.split("\n")
            message = "\n".join([f"{head} (in {call})", *rest])
        return {**content, "ename": "Error", "evalue": message}


class OctaveDetector(ExitDetector):
    """octave_kernel always answers ok; `snippets.octave_cell` leaves a note when a cell fails."""

    _ASKED = "raw_input was called"

    def __init__(self) -> None:
        self._asked = False

    def feed(self, name: str, text: str) -> None:
        """Notice a question: the kernel complains about it and takes its own next command for the answer."""
        self._asked = self._asked or (name == "stderr" and self._ASKED in text)

    def failure(self, folder: Path | None) -> Failure | None:
        """The noted error: its identifier if it has one, and its message."""
        note = take_note(folder, ERROR_NOTE)
        if self._asked:
            return Failure(ename=INPUT_REFUSED, evalue=NO_INPUT)
        return super().failure(folder) or noted_error(note)


class DenoDetector(Detector):
    """Deno's kernel does not tell errors that no cell catches; `snippets.DENO_SETUP` notes them."""

    def error(self, content: Mapping[str, Any]) -> dict[str, Any] | None:
        """Says what "Execution failed" means: it is the kernel's answer to code that it can't parse."""
        if content.get("evalue") != "Execution failed":
            lines = [str(line) for line in content.get("traceback") or []]
            told = any(line.strip() for line in lines)  # a string that is thrown has an empty stack
            return {**content, "traceback": lines if told else [f"{content.get('ename')}: {content.get('evalue')}"]}
        evalue = "the cell can't be parsed (Deno's kernel does not say where)"
        return {**content, "ename": "SyntaxError", "evalue": evalue, "traceback": [f"SyntaxError: {evalue}"]}

    def failure(self, folder: Path | None) -> Failure | None:
        """An error in a timer or a forgotten promise."""
        return noted_error(take_note(folder, ERROR_NOTE))


class JavaDetector(Detector):
    """JJava hides an exception's name in its message and the compiler's in the traceback, and logs on stderr."""

    _LOG = re.compile(r"^\[[A-Z] \d{4}-\d\d-\d\d [^\]]*\] .*\n?", re.MULTILINE)

    _THROWN = re.compile(r"(?P<name>(?:\w+\.)+[\w$]+), (?P<message>.*)", re.DOTALL)
    _COLOUR = re.compile(r"\x1b\[[\d;]*m")

    def raw(self, name: str, text: str) -> str:
        """What the cell's child processes printed, without the kernel's log."""
        return self._LOG.sub("", text) if name == "stderr" else text

    def error(self, content: Mapping[str, Any]) -> dict[str, Any] | None:
        """The exception that the program threw, or what the compiler says."""
        ename, evalue = str(content.get("ename") or ""), str(content.get("evalue") or "")
        found = self._THROWN.fullmatch(evalue)
        if found is not None:
            return {**content, "ename": found["name"], "evalue": found["message"]}
        if ename == "CompilationException":
            lines = [self._COLOUR.sub("", str(line)) for line in content.get("traceback") or []]
            said = [line.strip() for line in lines if line.strip() and not line.startswith("|")]
            return {**content, "evalue": "\n".join(said) or evalue}
        if ename == "IncompleteSourceException":
            return {**content, "evalue": f"incomplete input: {evalue}"}
        return dict(content)


class KotlinDetector(Detector):
    """Kotlin's kernel wraps the compiler's message in an exception of its own, and prints its replies on stderr."""

    _NOISE = "Sending error: msg["

    def __init__(self) -> None:
        self._in_noise = False

    def raw(self, name: str, text: str) -> str:
        """What the cell printed, without the kernel's lines about an error."""
        kept = ""
        for line in text.splitlines(keepends=True):
            self._in_noise = self._in_noise or line.startswith(self._NOISE)
            kept += "" if self._in_noise else line
            self._in_noise = self._in_noise and not line.endswith("\n")
        return kept

    def error(self, content: Mapping[str, Any]) -> dict[str, Any] | None:
        """The compiler's error without the kernel's stack."""
        if not str(content.get("ename")).endswith(".ReplCompilerException"):
            return dict(content)
        evalue = str(content.get("evalue") or "")
        return {**content, "ename": "CompilationError", "evalue": evalue, "traceback": [f"CompilationError: {evalue}"]}


def noted_error(note: str | None) -> Failure | None:
    """The failure that a note tells: its name in the first line, its message below."""
    if note is None:
        return None
    ename, _, message = note.partition("\n")
    return Failure(ename=ename.strip() or "error", evalue=message.strip())


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
