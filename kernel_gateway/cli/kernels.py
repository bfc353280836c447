"""`kernel-gateway kernels`: which kernels are installed, and whether they work."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import GatewayError
from ..kernels import doctor
from ..kernels.doctor import OK, PROBES, Checkup

if TYPE_CHECKING:
    from ..kernels.specs import Kernelspec
    from ..settings import Settings

CONTEXT = {"help_option_names": ["-h", "--help"]}

PATIENCE = 60.0
"""Seconds that a probe may take, except the endless one. Kotlin's first cell takes 5 to 15."""

ENDLESS_SECONDS = 1.0
"""Seconds that the endless probe runs before it is interrupted."""


@click.group(context_settings=CONTEXT, epilog="Example: kernel-gateway kernels doctor python3 ir")
def kernels() -> None:
    """Show the kernels of this machine, and whether they work."""


@kernels.command("list", context_settings=CONTEXT, epilog="Example: kernel-gateway kernels list")
def list_kernels() -> None:
    """List the installed kernels: name, language, display name, transport, command."""
    from ..kernels.specs import Kernelspecs

    specs = Kernelspecs()
    rows = [["name", "language", "display name", "transport", "command"]]
    for name in specs.all():
        kernelspec = specs.resolve(name)
        provisioner = kernelspec.spec.metadata.get("kernel_provisioner", {}).get("provisioner_name")
        rows.append(
            [
                name,
                kernelspec.language,
                kernelspec.spec.display_name,
                provisioner or kernelspec.quirks.transport,
                " ".join(kernelspec.spec.argv),
            ]
        )
    if len(rows) == 1:
        click.echo("No kernels are installed. To begin with: pip install ipykernel")
    else:
        click.echo(doctor.columns(rows))


@kernels.command(
    "doctor",
    context_settings=CONTEXT,
    epilog="""\
Exit codes: 0 all work, 1 some don't, 2 there is no such kernel.

\b
Examples:
  kernel-gateway kernels doctor
  kernel-gateway kernels doctor python3 sql
""",
)
@click.argument("names", nargs=-1, metavar="[NAME…]")
def doctor_command(names: tuple[str, ...]) -> None:
    """Start each kernel, or those named, and try what runs rely on: output, displays, failures, interrupts, an end."""
    from ..kernels.specs import Kernelspecs
    from ..settings import Settings

    try:
        settings = Settings.from_environ(os.environ)
        specs = Kernelspecs()
        chosen = [specs.resolve(name) for name in names or specs.all()]
    except GatewayError as error:
        click.echo(f"kernel-gateway: {error}", err=True)
        sys.exit(error.exit_code)
    if not chosen:
        click.echo("No kernels are installed. To begin with: pip install ipykernel")
        sys.exit(1)
    checkups = []
    for kernelspec in chosen:
        click.echo(f"Trying {_name(kernelspec)} …", err=True)
        checkups.append(examine(kernelspec, settings))
    click.echo(doctor.table(checkups))
    sys.exit(0 if all(checkup.works for checkup in checkups) else 1)


@kernels.command(
    "environments",
    context_settings=CONTEXT,
    epilog="""\
\b
Examples:
  kernel-gateway kernels environments
  kernel-gateway kernels environments --prune --days 7
""",
)
@click.option("--prune", is_flag=True, help="Remove what was not used for long, and what is over the size.")
@click.option(
    "--days", type=click.FloatRange(min=0), metavar="N", help="With --prune: days without use; default: the setting's."
)
def environments_command(prune: bool, days: float | None) -> None:
    """List the environments that were built for `run --env` on this machine, the least recently used first."""
    from ..kernels.environments.cache import Cache
    from ..settings import Settings

    try:
        cache = Cache.of(Settings.from_environ(os.environ))
    except GatewayError as error:
        click.echo(f"kernel-gateway: {error}", err=True)
        sys.exit(error.exit_code)
    if prune:
        removed = cache.prune(days)
        size = sum(entry.size for entry in removed) / (1 << 20)
        click.echo(f"Removed {len(removed)} environments with {size:.0f} MiB from {cache.folder}.")
        return
    rows = [["id", "made from", "language", "packages", "MiB", "used"]]
    for entry in cache.entries():
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        name = entry.file if entry.complete else "(not finished)"
        size_text = f"{entry.size / (1 << 20):.0f}"
        rows.append([entry.folder.name[:12], name, entry.language, str(entry.packages), size_text, used])
    click.echo(doctor.columns(rows) if len(rows) > 1 else f"There are no environments below {cache.folder}.")


def examine(kernelspec: Kernelspec, settings: Settings) -> Checkup:
    """Try one kernel, in an empty folder of its own."""
    checkup = Checkup(_name(kernelspec), kernelspec.language)
    with tempfile.TemporaryDirectory(prefix="kernel-doctor-") as folder:
        examination = _Examination(kernelspec, settings, Path(folder), checkup)
        try:
            if examination.start():
                examination.try_cells()
        finally:
            examination.stop()
    return checkup


def _name(kernelspec: Kernelspec) -> str:
    # SQL is a way to use a kernelspec of Python.
    return "sql" if kernelspec.language == "sql" else kernelspec.name


class _Examination:
    """One kernel under the runner's own driver; its events are kept in memory."""

    def __init__(self, kernelspec: Kernelspec, settings: Settings, folder: Path, checkup: Checkup) -> None:
        from ..runner.driver import Driver
        from ..runner.ending import Cancellation
        from ..runner.kernelset import KernelSet
        from ..runner.outputs import Outputs

        self._spec = kernelspec
        self._settings = settings
        self._checkup = checkup
        self._sink = _Events()
        self._outputs = Outputs(self._sink, _NoBlobs())
        self._cancel = Cancellation()
        self._driver = Driver(self._sink, self._outputs, self._cancel, settings)
        self._kernels = KernelSet(self._driver, self._sink, settings, cwd=folder, environ=os.environ)
        self._before = _processes()

    def start(self) -> bool:
        """Start the kernel and wait for its first answer; false if there is none."""
        began = time.monotonic()
        try:
            self._kernels.ensure(self._spec)
        except GatewayError as error:
            self._note(error)
            return False
        self._checkup.start = time.monotonic() - began
        return True

    def try_cells(self) -> None:
        """Run the language's probes, each as a run's cell."""
        probes = PROBES.get(self._checkup.language)
        if probes is None:
            self._checkup.remarks.append(
                f"The doctor knows no {self._checkup.language}: only start and stop were tried."
            )
            return
        steps = self._checkup.steps
        steps["run"] = self._prints(probes.output)
        if probes.display:
            steps["display"] = self._displays(probes.display)
        steps["fail"] = self._fails(probes.failure)
        if probes.endless:
            steps["interrupt"] = self._stops_when_told(probes.endless, probes.output)

    def _prints(self, code: str) -> str:
        problem = self._run(code)
        return problem or (OK if doctor.GREETING in self._sink.text() else "output is lost")

    def _displays(self, code: str) -> str:
        problem = self._run(code)
        return problem or (OK if self._sink.rich() else "nothing is shown")

    def _fails(self, code: str) -> str:
        problem = self._run(code)
        return OK if problem == "fails" else problem or "passes"

    def _stops_when_told(self, endless: str, output: str) -> str:
        live = self._kernels.ensure(self._spec)
        ended = self._run(endless, ENDLESS_SECONDS)
        if ended != "no end":
            return ended or "ends early"
        # A kernel that had to be killed is no longer the one that the set hands out.
        if self._kernels.ensure(self._spec) is not live:
            self._checkup.remarks.append(
                f"It did not heed an interrupt within {self._settings.interrupt_grace:g} s and was killed."
            )
            return "killed"
        return OK if self._prints(output) == OK else "broken after"

    def _run(self, code: str, limit: float = PATIENCE) -> str:
        """Run one cell; what went wrong in a word or two, empty if nothing did."""
        from ..runner.cells import CellRunner
        from ..runner.ending import Ending
        from ..runner.plan import Plan
        from ..settings import RunOptions
        from ..sources.program import Cell, Program

        self._sink.events.clear()
        cell = Cell(id="probe", type="code", source=code)
        program = Program(name="doctor", path=None, format="snippet", digest="", cells=[cell])
        plan = Plan(program, self._spec, [self._spec])
        options = RunOptions(name="doctor", cell_timeout=limit)
        runner = CellRunner(plan, self._driver, self._kernels, self._sink, self._outputs, options)
        try:
            status, _ = runner.run(lambda kernel: None)
        except Ending:
            return "no end"
        except GatewayError as error:
            self._note(error)
            return "dies"
        return "" if status == "succeeded" else "fails"

    def stop(self) -> None:
        """End the kernel; a process or a wait that is left over is a finding."""
        began = time.monotonic()
        self._kernels.close()
        seconds = time.monotonic() - began
        self._driver.close()
        self._cancel.close()
        left = _processes() - self._before
        if self._checkup.start is None:
            return
        if left:
            self._checkup.steps["stop"] = f"{len(left)} left"
            self._checkup.remarks.append(f"Processes survive its end: {', '.join(map(str, sorted(left)))}.")
        elif seconds > self._settings.shutdown_grace:
            self._checkup.steps["stop"] = doctor.FORCED
            self._checkup.remarks.append(
                f"It did not end by itself within {self._settings.shutdown_grace:g} s and was killed; nothing is left."
            )
        else:
            self._checkup.steps["stop"] = OK

    def _note(self, error: GatewayError) -> None:
        self._checkup.remarks.append(str(error))
        self._checkup.stderr = getattr(error, "stderr", "") or self._checkup.stderr


class _Events:
    """An event sink that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def append(self, type: Any, /, **fields: Any) -> None:
        """Keep an event."""
        self.events.append({"type": type.value, **fields})

    def flush(self) -> None:
        """Nothing is buffered."""

    def text(self) -> str:
        """What was printed, and the text of what was shown."""
        streams = "".join(event["text"] for event in self.events if event["type"] == "stream")
        return streams + "".join(str(event["data"].get("text/plain", "")) for event in self._shown())

    def rich(self) -> bool:
        """Whether something was shown that is more than text."""
        return any(set(event["data"]) - {"text/plain"} or event["blobs"] for event in self._shown())

    def _shown(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] in ("display", "result")]


class _NoBlobs:
    """Takes large values and forgets them."""

    def put(self, content: bytes) -> str:
        """No digest: nobody fetches it."""
        return ""


def _processes() -> set[int]:
    """Ids of the processes below this one; empty where the system doesn't tell."""
    from ..kernels.guard import descendants

    return set(descendants(os.getpid()))
