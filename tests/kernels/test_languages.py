"""Every language on its real kernel: what fails is told, what works is not, and what is printed arrives.

One kernel of each serves all its cells; a cell that ends it gets a fresh one for the next.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kernel_gateway.errors import GatewayError
from kernel_gateway.events import EventType, Status
from kernel_gateway.kernels.guard import descendants
from kernel_gateway.kernels.specs import Kernelspecs
from kernel_gateway.runner.cells import CellRunner
from kernel_gateway.runner.driver import Driver
from kernel_gateway.runner.ending import Cancellation, Ending
from kernel_gateway.runner.kernelset import KernelSet
from kernel_gateway.runner.outputs import Outputs
from kernel_gateway.runner.plan import Plan
from kernel_gateway.settings import RunOptions, Settings
from kernel_gateway.sources.program import Cell, Program
from tests.kernels.languages import LANGUAGES

# Kernelspecs of bash and Octave carry fields that jupyter_client does not know.
pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")


@dataclass
class Outcome:
    """How a cell went: the run's ``status``, what it printed and showed, and its ``error`` as one text."""

    status: Status
    events: list[dict[str, Any]]
    seconds: float

    def text(self, *names: str) -> str:
        """What was printed on the streams named (all without a name), and the text of what was shown."""
        printed = "".join(
            event["text"]
            for event in self.events
            if event["type"] == "stream" and (not names or event["name"] in names)
        )
        return printed if names else printed + "".join(str(data.get("text/plain", "")) for data in self.shown)

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The MIME bundles of displays and results; values kept as blobs are None."""
        return [
            event["data"] | dict.fromkeys(event["blobs"])
            for event in self.events
            if event["type"] in ("display", "result")
        ]

    @property
    def errors(self) -> list[str]:
        """The errors told, each as ``name: message``."""
        return [f"{event['ename']}: {event['evalue']}" for event in self.events if event["type"] == "error"]


class Recorder:
    """Event and blob sink of a session."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def append(self, type: EventType, /, **fields: Any) -> None:
        self.events.append({"type": type.value, **fields})

    def flush(self) -> None:
        pass

    def put(self, content: bytes) -> str:
        return "digest"


class Session:
    """A live kernel that runs cells as a run does."""

    def __init__(self, name: str, cwd: Path) -> None:
        self.recorder = Recorder()
        self.kernelspec = Kernelspecs().resolve(name)
        self.outputs = Outputs(self.recorder, self.recorder)
        self.driver = Driver(self.recorder, self.outputs, Cancellation(), Settings())
        self.kernels = KernelSet(self.driver, self.recorder, Settings(), cwd=cwd, environ=os.environ)

    def run(self, code: str, *, limit: float = 60.0, options: dict[str, Any] | None = None) -> Outcome:
        """Run one cell; `limit` is its time limit in seconds."""
        self.kernels.ensure(self.kernelspec)  # the start is not the cell's time
        self.recorder.events = []
        cell = Cell(id="cell", type="code", source=code)
        program = Program(name="test", path=None, format="snippet", digest="", cells=[cell])
        plan = Plan(program, self.kernelspec, [self.kernelspec])
        run_options = RunOptions(name="test", cell_timeout=limit, **(options or {}))
        runner = CellRunner(plan, self.driver, self.kernels, self.recorder, self.outputs, run_options)
        started = time.monotonic()
        try:
            status, _ = runner.run(lambda kernel: None)
        except Ending as end:
            status = end.status
        except GatewayError as error:
            status = error.status
        return Outcome(status, list(self.recorder.events), time.monotonic() - started)

    def close(self) -> None:
        self.kernels.close()
        self.driver.close()


@pytest.fixture(scope="module")
def sessions(require_kernel: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A function that gives the session of a kernel, started on first use."""
    live: dict[str, Session] = {}

    def session(name: str) -> Session:
        require_kernel("python3" if name == "sql" else name)
        if name == "sql":
            pytest.importorskip("sql", reason="jupysql is not installed; `scripts/setup --kernels` installs it")
        if name not in live:
            live[name] = Session(name, tmp_path_factory.mktemp(name))
        return live[name]

    before = set(descendants(os.getpid()))
    yield session
    for running in live.values():
        running.close()
    assert set(descendants(os.getpid())) <= before


def rows(attribute: str) -> list[Any]:
    """All languages' cells of one kind, as pytest parameters."""
    found = []
    for name, language in LANGUAGES.items():
        values = getattr(language, attribute)
        for index, value in enumerate(values if isinstance(values, list) else [values] if values else []):
            row = value if isinstance(value, tuple) else (value,)
            found.append(pytest.param(name, *row, id=f"{name}-{index}"))
    return found


@pytest.mark.parametrize(("name", "code", "text"), rows("works"))
def test_what_works_succeeds_and_its_text_arrives(sessions: Any, name: str, code: str, text: str) -> None:
    outcome = sessions(name).run(code)

    assert outcome.errors == []
    assert outcome.status == Status.SUCCEEDED
    assert text in outcome.text()


@pytest.mark.parametrize(("name", "code", "words"), rows("fails"))
def test_what_fails_fails_the_run_with_words_that_help(sessions: Any, name: str, code: str, words: str) -> None:
    outcome = sessions(name).run(code)

    assert outcome.status == Status.FAILED
    assert len(outcome.errors) == 1
    assert words in outcome.errors[0]
    assert "NOT REACHED" not in outcome.text()


@pytest.mark.parametrize(("name", "code"), rows("quits"))
def test_ending_the_program_with_a_code_fails_it_with_that_code(sessions: Any, name: str, code: str) -> None:
    outcome = sessions(name).run(code)

    assert outcome.status == Status.FAILED
    assert outcome.errors == ["ExitCode: exit code 3"]
    assert "NOT REACHED" not in outcome.text()


@pytest.mark.parametrize(("name", "code"), rows("ends"))
def test_ending_the_program_without_a_code_is_success(sessions: Any, name: str, code: str) -> None:
    outcome = sessions(name).run(code)

    assert (outcome.status, outcome.errors) == (Status.SUCCEEDED, [])
    assert "NOT REACHED" not in outcome.text()
    assert any("ended itself" in event["message"] for event in outcome.events if event["type"] == "log")


@pytest.mark.parametrize(("name", "code", "words"), rows("asks"))
def test_a_question_is_refused_at_once(sessions: Any, name: str, code: str, words: str) -> None:
    outcome = sessions(name).run(code)

    assert outcome.status == Status.FAILED
    assert words in outcome.errors[-1]
    assert outcome.seconds < 5


@pytest.mark.parametrize(("name", "code"), rows("stderr"))
def test_stderr_is_told_from_stdout(sessions: Any, name: str, code: str) -> None:
    outcome = sessions(name).run(code)

    assert "to stderr" in outcome.text("stderr")
    assert "to stderr" not in outcome.text("stdout")


@pytest.mark.parametrize(("name", "code"), rows("child"))
def test_what_a_child_process_prints_is_not_lost(sessions: Any, name: str, code: str) -> None:
    for _ in range(5):
        assert "child\n" in sessions(name).run(code).text("stdout")


@pytest.mark.parametrize(("name", "code"), rows("picture"))
def test_a_plot_is_shown_as_png(sessions: Any, name: str, code: str) -> None:
    outcome = sessions(name).run(code)

    assert outcome.status == Status.SUCCEEDED
    assert any("image/png" in data for data in outcome.shown)
    assert "discouraged" not in outcome.text()


@pytest.mark.parametrize(("name", "code"), [*rows("sleeps"), *rows("spins")])
def test_a_cell_over_its_limit_is_interrupted_and_the_kernel_works_on(sessions: Any, name: str, code: str) -> None:
    # given
    session = sessions(name)
    kernel = session.kernels.ensure(session.kernelspec)
    works, text = LANGUAGES[name].works[0]

    # when
    outcome = session.run(code, limit=1.0)

    # then
    assert outcome.status == Status.TIMED_OUT
    assert outcome.seconds < 1.0 + Settings().interrupt_grace
    assert session.kernels.ensure(session.kernelspec) is kernel
    assert text in session.run(works).text()


@pytest.mark.parametrize("name", sorted(LANGUAGES))
def test_a_fresh_kernels_first_cell_shows_what_it_prints_and_no_remark_of_the_kernel(
    sessions: Any, name: str, tmp_path: Path
) -> None:
    sessions(name)  # skips if it is not installed
    code, text = LANGUAGES[name].works[0]
    session = Session(name, tmp_path)
    try:
        outcome = session.run(code)
    finally:
        session.close()

    assert outcome.text("stdout").replace(text, "").strip() == ""
    assert outcome.text("stderr") == ""
    assert text in outcome.text()


def test_output_that_deno_sends_late_still_comes_before_the_cells_end(sessions: Any) -> None:
    for number in range(100):
        outcome = sessions("deno").run(f"console.log('line {number}'); {number}")
        kinds = [event["type"] for event in outcome.events]
        assert sorted(kinds) == ["cell_finished", "cell_started", "result", "stream"]
        assert kinds[-1] == "cell_finished"
        assert f"line {number}" in outcome.text("stdout")


def test_what_a_background_job_prints_is_neither_lost_nor_taken_for_a_failure(sessions: Any) -> None:
    bash = sessions("bash")
    outcomes = [bash.run("for i in $(seq 50); do echo noise; sleep 0.01; done &")]
    outcomes += [bash.run("true") for _ in range(4)]
    outcomes.append(bash.run("wait"))

    assert all(outcome.status == Status.SUCCEEDED for outcome in outcomes)
    assert sum(outcome.text().count("noise\n") for outcome in outcomes) == 50


def test_bash_keeps_its_state_from_cell_to_cell(sessions: Any, tmp_path: Path) -> None:
    bash = sessions("bash")
    bash.run(f"cd {tmp_path}; export A='two words'; b=local; f() {{ echo \"f $1\"; }}")

    assert bash.run('pwd; echo "$A $b"; f 1').text() == f"{tmp_path}\ntwo words local\nf 1\n"


def test_a_redirection_by_exec_holds_for_the_next_bash_cell(sessions: Any, tmp_path: Path) -> None:
    bash = sessions("bash")
    bash.run(f"exec 9>&1 >{tmp_path}/log; echo one")
    bash.run("echo two")
    outcome = bash.run(f"exec >&9 9>&-; cat {tmp_path}/log")

    assert outcome.text() == "one\ntwo\n"


def test_rich_output_of_bash_is_shown(sessions: Any) -> None:
    assert sessions("bash").run("displayHTML <<< '<b>x</b>'").shown[0]["text/html"].strip() == "<b>x</b>"


def test_a_failed_statement_does_not_spoil_the_next(sessions: Any) -> None:
    sql = sessions("sql")
    sql.run("select * from nope")

    assert sql.run("select 1 as one").status == Status.SUCCEEDED


def test_sql_parameters_are_python_variables(sessions: Any) -> None:
    sql = sessions("sql")
    sql.run("%sql select 1 as one")
    sql.run("%config SqlMagic.displaylimit = 10")
    sql.run("%time threshold = 6")

    assert "7" in sql.run("select 7 as a where 7 > {{threshold}}").text()
