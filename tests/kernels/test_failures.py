"""Detectors on recorded words of kernels: no kernel runs here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.kernels.failures import (
    BashDetector,
    DenoDetector,
    Detector,
    ExitDetector,
    Failure,
    IPythonDetector,
    JavaDetector,
    KotlinDetector,
    OctaveDetector,
    RDetector,
    exit_failure,
    take_note,
)
from kernel_gateway.kernels.snippets import (
    ERROR_NOTE,
    EXIT_NOTE,
    NO_INPUT,
    STATUS_NOTE,
    bash_cell,
    octave_cell,
    split_magics,
    sql_cell,
)


def worded(detector: Detector, **content: Any) -> tuple[str, str]:
    """Name and message of an error as the event log would have it."""
    error = detector.error({"traceback": [], **content})
    assert error is not None
    return error["ename"], error["evalue"]


def test_an_exit_with_zero_ends_the_program_and_any_other_code_fails_it() -> None:
    assert exit_failure("0\n") == Failure(ename="", evalue="", ends_program=True)
    assert exit_failure(3) == Failure(ename="ExitCode", evalue="exit code 3")


def test_the_plain_detector_believes_the_kernel(tmp_path: Path) -> None:
    detector = Detector()
    content = {"ename": "ValueError", "evalue": "no", "traceback": ["…"]}

    assert detector.error(content) == content
    assert detector.raw("stdout", "text") == "text"
    assert detector.failure(tmp_path) is None
    assert not detector.decided


def test_a_note_is_read_once(tmp_path: Path) -> None:
    (tmp_path / EXIT_NOTE).write_text("3")

    assert take_note(tmp_path, EXIT_NOTE) == "3"
    assert take_note(tmp_path, EXIT_NOTE) is None
    assert take_note(None, EXIT_NOTE) is None


def test_pythons_exit_with_success_is_no_error_and_one_with_a_code_is() -> None:
    detector = IPythonDetector()

    assert detector.error({"ename": "SystemExit", "evalue": "0"}) is None
    assert detector.error({"ename": "SystemExit", "evalue": "3"}) == {"ename": "SystemExit", "evalue": "3"}


@pytest.mark.parametrize(
    ("evalue", "message"),
    [
        ("Error in eval(expr, envir, enclos): boom\n", "boom"),
        ("Error in eval(expr, envir, enclos): \n", ""),
        ('Error in 1 + "a": non-numeric argument\n', 'non-numeric argument (in 1 + "a")'),
        ("Error in stats::sd(x): no x\nsecond line\n", "no x (in stats::sd(x))\nsecond line"),
        ("Error: plain\n", "plain"),
        ("something else", "something else"),
        (
            "Error in parse(text = x, srcfile = src): <text>:1:3: unexpected symbol\n1: a b\n",
            "<text>:1:3: unexpected symbol\n1: a b",
        ),
    ],
)
def test_the_message_of_an_r_error_comes_first(evalue: str, message: str) -> None:
    assert worded(RDetector(), ename="ERROR", evalue=evalue) == ("Error", message)


def test_an_r_programs_quit_is_found(tmp_path: Path) -> None:
    (tmp_path / EXIT_NOTE).write_text("3")

    assert RDetector().failure(tmp_path) == Failure(ename="ExitCode", evalue="exit code 3")
    assert RDetector().failure(tmp_path) is None


def test_bashs_noted_status_counts_and_not_the_kernels_word(tmp_path: Path) -> None:
    # given a cell that succeeded, and a kernel that took a background job's output for a failure
    detector = BashDetector()
    (tmp_path / STATUS_NOTE).write_text("0\n")

    # when, then
    assert detector.error({"ename": "", "evalue": "1"}) is None
    assert detector.failure(tmp_path) is None
    assert detector.decided


def test_a_status_other_than_zero_fails_the_bash_cell(tmp_path: Path) -> None:
    (tmp_path / STATUS_NOTE).write_text("127\n")

    assert BashDetector().failure(tmp_path) == Failure(ename="ExitCode", evalue="exit code 127")


def test_a_bash_that_ended_was_restarted(tmp_path: Path) -> None:
    (tmp_path / EXIT_NOTE).write_text("3\n")
    failure = BashDetector().failure(tmp_path)

    assert failure == Failure(ename="ExitCode", evalue="exit code 3", restarted=True)


def test_a_bash_that_ended_without_a_note_fails(tmp_path: Path) -> None:
    detector = BashDetector()
    detector.feed("stdout", "some output\nRestarting ")
    detector.feed("stdout", "Bash\n")

    assert detector.failure(tmp_path) == Failure(ename="ExitCode", evalue="bash ended", restarted=True)


def test_printing_the_kernels_own_words_is_no_failure(tmp_path: Path) -> None:
    detector = BashDetector()
    detector.feed("stdout", "Restarting Bash\n")
    (tmp_path / STATUS_NOTE).write_text("0\n")

    assert detector.failure(tmp_path) is None


def test_a_bash_cell_that_left_no_note_fails_even_if_the_kernel_is_content(tmp_path: Path) -> None:
    failure = BashDetector().failure(tmp_path)

    assert failure is not None
    assert failure.ename == "Aborted"


def test_a_remote_bash_kernel_is_believed() -> None:
    good, bad = BashDetector(), BashDetector()
    bad.error({"evalue": "2"})

    assert good.failure(None) is None
    assert bad.failure(None) == Failure(ename="ExitCode", evalue="exit code 2")


def test_octaves_note_tells_name_and_message(tmp_path: Path) -> None:
    (tmp_path / ERROR_NOTE).write_text("my:id\nboom\n  in f, line 2, column 3")

    assert OctaveDetector().failure(tmp_path) == Failure(ename="my:id", evalue="boom\n  in f, line 2, column 3")


def test_an_octave_error_without_identifier_has_a_name_all_the_same(tmp_path: Path) -> None:
    (tmp_path / ERROR_NOTE).write_text("\nboom")

    assert OctaveDetector().failure(tmp_path) == Failure(ename="error", evalue="boom")


def test_octaves_question_is_refused_with_the_way_out(tmp_path: Path) -> None:
    detector = OctaveDetector()
    detector.feed("stderr", "\x1b[0;31mraw_input was called, but this frontend does not support input requests.\n")

    assert detector.failure(tmp_path) == Failure(ename="InputRefused", evalue=NO_INPUT)


def test_deno_says_what_execution_failed_means() -> None:
    ename, evalue = worded(DenoDetector(), ename="Error", evalue="Execution failed")

    assert ename == "SyntaxError"
    assert "can't be parsed" in evalue


def test_a_thrown_string_has_a_traceback_to_show() -> None:
    error = DenoDetector().error({"ename": "Error", "evalue": "just a string", "traceback": [""]})

    assert error is not None
    assert error["traceback"] == ["Error: just a string"]


def test_an_error_that_no_deno_cell_caught_is_found(tmp_path: Path) -> None:
    (tmp_path / ERROR_NOTE).write_text("TypeError\nlate")

    assert DenoDetector().failure(tmp_path) == Failure(ename="TypeError", evalue="late")


def test_a_java_exceptions_own_name_stands_in_front() -> None:
    ename, evalue = worded(JavaDetector(), ename="RuntimeException", evalue="java.lang.ArithmeticException, / by zero")

    assert (ename, evalue) == ("java.lang.ArithmeticException", "/ by zero")


def test_a_java_compile_error_tells_what_the_compiler_said() -> None:
    traceback = ['\x1b[39m\x1b[1m|   \x1b[0mint y = "x";', "\x1b[1m\x1b[31mincompatible types\x1b[0m", ""]
    ename, evalue = worded(JavaDetector(), ename="CompilationException", evalue="[snippet: …]", traceback=traceback)

    assert (ename, evalue) == ("CompilationException", "incompatible types")


def test_jjavas_log_is_not_the_cells_output() -> None:
    log = "[I 2026-11-21 07:59:13.572 KernelLauncher] Kernel terminated.\n"

    assert JavaDetector().raw("stderr", f"mine\n{log}[not a log]\n") == "mine\n[not a log]\n"
    assert JavaDetector().raw("stdout", log) == log


def test_kotlins_compile_errors_come_without_the_kernels_stack() -> None:
    content = {"ename": "org.x.ReplCompilerException", "evalue": "Unresolved reference: y", "traceback": ["…"] * 30}
    error = KotlinDetector().error(content)

    assert error is not None
    assert error["ename"] == "CompilationError"
    assert error["traceback"] == ["CompilationError: Unresolved reference: y"]


def test_kotlins_own_lines_on_stderr_are_left_out_however_they_are_cut() -> None:
    detector = KotlinDetector()
    pieces = ["mine\nSending error: msg[abc] {", '"more": 1}', "\nalso mine\n"]

    assert "".join(detector.raw("stderr", piece) for piece in pieces) == "mine\nalso mine\n"


def test_exit_detector_ignores_a_run_without_exit(tmp_path: Path) -> None:
    assert ExitDetector().failure(tmp_path) is None


def test_a_bash_cell_is_one_line_whatever_it_holds(tmp_path: Path) -> None:
    line = bash_cell("echo 'a\tb'\r\necho \"open\r", tmp_path)

    assert "\n" not in line
    assert (tmp_path / "cell").read_bytes() == b"echo 'a\tb'\necho \"open\n"


def test_an_octave_cells_plot_magic_stays_in_front_and_comments_do_not(tmp_path: Path) -> None:
    assert split_magics("%plot -f svg\nx = 1") == ("%plot -f svg\n", "x = 1")
    assert split_magics("% plot\nx = 1") == ("", "% plot\nx = 1")
    assert octave_cell("%plot -f svg\nx = 1", tmp_path).startswith("%plot -f svg\n")
    assert (tmp_path / "cell").read_text() == "x = 1"


def test_sql_is_told_from_a_magic() -> None:
    assert sql_cell("select 1", None) == "%%sql\nselect 1"
    assert sql_cell("%sql select 1", None) == "%sql select 1"
