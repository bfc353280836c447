"""A run from its first event to its last. The one way in which this project executes a program."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import EXIT_CODES, GatewayError, KernelError, StorageError
from ..events import EventSink, EventType, Status
from ..gates import Gate, MetricLike
from ..kernels.kernel import Kernel
from ..kernels.sandbox import Sandbox
from ..kernels.specs import Kernelspecs
from ..settings import RunOptions, Settings
from ..sources.program import Program
from . import artifacts, usage
from .cells import CellRunner
from .driver import Driver
from .ending import Cancellation, Ending, Grace
from .kernelset import KernelSet
from .masking import Masker, MaskingSink
from .metrics import file_metrics
from .outputs import BlobSink, Outputs
from .plan import Plan, make_plan
from .provenance import installed_packages
from .queued import queued_fields
from .usage import Meter
from .warm import WarmKernel
from .widgets import MIME as WIDGETS_MIME

if TYPE_CHECKING:
    from ..tracking.client import Tracking
    from .tracked import Tracked

METRICS_FILE = "metrics.json"
"""A file of metrics that the program itself writes in its working folder (DVC's convention)."""

METRICS_FILE_LIMIT = 16 << 20
"""Bytes of that file; one that is larger is no list of metrics."""

CANCELLED_COPY_SECONDS = 5.0
"""How long artifacts may still be copied after a cancel."""

CANCELLED_READ_SECONDS = 1.0
"""How long MLflow may still be asked for metrics after a cancel."""


SIGNAL_SECONDS = 1.0
"""How long our own signal may come after a kernel's, when both were meant."""

_ENDED_BY_OTHERS = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)


@dataclass(kw_only=True)
class Workplace:
    """Where a run happens. ``cwd``: the kernels' working folder; ``environ``: their environment, secrets
    included; ``artifacts``: where artifacts are copied; ``results``: a folder below which nothing is taken
    for an artifact; ``agent``: this machine's name; ``sandbox``: what hides the rest of the service from kernels;
    ``tracking``: the tracker that takes the run to MLflow; ``fork_servers``: interpreter → socket of the fork server
    for its kernels; ``gpus``: those that are the run's own.
    """

    cwd: Path
    environ: Mapping[str, str]
    artifacts: Path
    results: Path
    agent: str
    sandbox: Sandbox | None = None
    tracking: Tracking | None = None
    fork_servers: Mapping[str, Path] = field(default_factory=dict)
    gpus: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended; the same as its last event says."""

    status: Status
    reason: str
    exit_code: int


@dataclass
class _Verdict:
    status: Status = Status.SUCCEEDED
    reason: str = ""
    exit_code: int | None = None
    stderr: str = ""

    def worsen(self, error: GatewayError) -> None:
        self.status, self.reason, self.exit_code = error.status, str(error), error.exit_code
        self.stderr = getattr(error, "stderr", "")


class Runner:
    """Executes one program. Use: `prelaunch` if the kernel can be guessed, then `run` once, then `close`.

    ``sink`` takes the events and ``blobs`` large outputs, both after the options' secrets were masked;
    ``cancel`` may be asked for the run's end at any time; ``warm`` is a kernel that was handed over, for the run to
    use if it is the right one, and to end in any case.
    """

    def __init__(
        self,
        options: RunOptions,
        workplace: Workplace,
        *,
        sink: EventSink,
        blobs: BlobSink,
        cancel: Cancellation,
        settings: Settings,
        specs: Kernelspecs,
        warm: WarmKernel | None = None,
    ) -> None:
        self._options = options
        self._place = workplace
        self._root = workplace.cwd.resolve()  # a program may put a link in its place
        self._masker = masker = Masker(options.secrets)
        self._sink = sink = MaskingSink.around(sink, masker)
        self._cancel = cancel
        self._settings = settings
        self._specs = specs
        self._outputs = Outputs(sink, blobs, masker, settings.max_output_mb << 20 or None)
        self._driver = Driver(sink, self._outputs, cancel, settings, warm.context if warm is not None else None)
        self._kernels = KernelSet(
            self._driver,
            sink,
            settings,
            cwd=workplace.cwd,
            environ=_environ(workplace),
            sandbox=workplace.sandbox,
            fork_servers=workplace.fork_servers,
            warm=warm.kernel if warm is not None else None,
        )
        own = warm.kernel if warm is not None else None
        self._meter = Meter(lambda: self._kernels.live, limit=options.memory_limit, gpus=workplace.gpus, warm=own)
        self._driver.meter = self._meter
        self._tracked: Tracked | None = None
        if workplace.tracking is not None:
            self._track(workplace.tracking)
        self._versions = {"gateway": __version__}
        self._packages: dict[str, str] = {}
        self._language_info: dict[str, Any] = {}
        self._started = False
        self._begun = time.monotonic()

    def _track(self, tracking: Tracking) -> None:
        from .tracked import Tracked

        tracked = Tracked(tracking, self._options, self._sink, self._outputs.summaries, self._pause)
        self._tracked = tracked
        self._kernels.before_cell = tracked.before_cell

    def _pause(self, seconds: float) -> None:
        self._driver.check()
        self._driver.switchboard.step(seconds)

    def prelaunch(self, name: str) -> None:
        """Start a kernel before the program is even read; a wrong guess costs nothing but a little work."""
        try:
            self._kernels.prelaunch(self._specs.resolve(name))
        except GatewayError:
            pass  # told when the program turns out to need it

    def run(
        self,
        program: Program,
        provenance: Mapping[str, Any],
        baseline: Mapping[str, MetricLike] | None = None,
        problem: GatewayError | None = None,
        *,
        queued: bool = False,
    ) -> Outcome:
        """Run a program to its end, whatever end that is. Raises nothing but `StorageError`.

        `provenance` goes into the first event; `baseline` is what gates compare with; `problem` is an
        error found before the run, which then ends at once but leaves its results all the same; `queued`: the
        first event stands in the log already.
        """
        verdict = _Verdict()
        plan: Plan | None = None
        before = artifacts.stamp(self._root / METRICS_FILE)
        try:
            self._driver.set_deadline(self._options.timeout)
            self._driver.set_deadline(*usage.gpu_deadline(self._options))
            try:
                if problem is not None:
                    raise problem
                plan = make_plan(program, self._options, self._specs)
            finally:
                if not queued:
                    self._queued(plan.program if plan is not None else program, provenance)
            self._run_cells(plan, verdict)
        except Ending as ending:
            verdict.status, verdict.reason = ending.status, ending.reason
        except GatewayError as error:
            if self._killed_with_us(error):
                verdict.status, verdict.reason = Status.CANCELLED, self._cancel.reason
            else:
                verdict.worsen(error)
        except Exception as error:  # noqa: BLE001 — a defect of ours must not cost the user the results so far
            verdict.status, verdict.reason = Status.FAILED, f"Internal error: {type(error).__name__}: {error}"
            self._log("error", "".join(traceback.format_exception(error)))
        self._meter.finish()
        self._kernels.shut_down()
        try:
            self._after_cells(plan, verdict, before, baseline)
        except StorageError as error:
            verdict.worsen(error)
        except Exception as error:  # noqa: BLE001 — see above
            verdict.status, verdict.reason = Status.FAILED, f"Internal error: {type(error).__name__}: {error}"
            self._log("error", "".join(traceback.format_exception(error)))
        return self._finished(verdict)

    def _killed_with_us(self, error: GatewayError) -> bool:
        """Whether a kernel was ended by somebody who ends every process of a build, us too: Jenkins does on abort.

        The order is anybody's guess, so our own signal is given a moment to arrive.
        """
        if not isinstance(error, KernelError) or error.returncode not in _ENDED_BY_OTHERS:
            return False
        deadline = time.monotonic() + SIGNAL_SECONDS
        while not self._cancel.count and time.monotonic() < deadline:
            time.sleep(0.02)
        return self._cancel.count > 0

    def close(self) -> None:
        """Kill what is left and give everything back. Call it also when `run` was never called."""
        self._meter.finish()
        self._kernels.close()
        self._driver.close()

    # -- steps ---------------------------------------------------------------------------------------

    def _queued(self, program: Program, provenance: Mapping[str, Any]) -> None:
        self._sink.append(EventType.RUN_QUEUED, **queued_fields(program, self._options, provenance))
        self._sink.flush()

    def _run_cells(self, plan: Plan, verdict: _Verdict) -> None:
        for remark in plan.remarks:
            self._log("warning", remark)
        for name in self._masker.weak:
            self._log("warning", f"Secret {name} is so short that masking it also hides much that is none.")
        self._prepare_environment(plan)
        runner = CellRunner(plan, self._driver, self._kernels, self._sink, self._outputs, self._options)
        verdict.status, verdict.reason = runner.run(self._on_ready)
        if not self._started:
            self._announce(plan.default.name)

    def _prepare_environment(self, plan: Plan) -> None:
        """Have the packages that the user or the source asks for."""
        from .environment import prepare, wanted

        spec = wanted(plan, self._options, self._root)
        if spec is not None:
            environment = prepare(spec, self._options, self._place, self._settings, self._sink, self._driver.check)
            self._kernels.use(environment)
            self._packages |= {} if environment.language == "python" else environment.packages

    def _on_ready(self, kernel: Kernel) -> None:
        self._versions |= kernel.versions
        if kernel.spec.python is not None:
            self._packages |= installed_packages(kernel.spec.python)
        if not self._started:
            self._language_info = kernel.info.get("language_info") or {}
            self._announce(kernel.name, self._kernels.start_of(kernel))
        else:
            versions = ", ".join(f"{name} {version}" for name, version in kernel.versions.items())
            self._log("info", f"Kernel {kernel.name!r} started ({versions}).")

    def _announce(self, kernel: str, start: str | None = None) -> None:
        self._started = True
        self._sink.append(
            EventType.RUN_STARTED,
            agent=self._place.agent,
            kernel=kernel,
            start=start,
            versions=dict(self._versions),
            language_info=self._language_info,
        )

    def _after_cells(
        self, plan: Plan | None, verdict: _Verdict, before: object, baseline: Mapping[str, MetricLike] | None
    ) -> None:
        if verdict.stderr:
            self._log("error", f"The kernel's last words:\n{verdict.stderr}")
        widgets = self._outputs.widgets.document()
        if widgets is not None:
            self._outputs.display({WIDGETS_MIME: widgets}, None)
        if self._root.resolve() != self._root:
            self._log("warning", "The program put another folder in place of its own; no files were taken from it.")
        else:
            self._take_files(before)
        if self._cancel.count and verdict.status == Status.SUCCEEDED:  # since its last cell
            verdict.status, verdict.reason = Status.CANCELLED, self._cancel.reason
        if self._tracked is not None:
            self._tracked.collect(*([CANCELLED_READ_SECONDS] if verdict.status == Status.CANCELLED else []))
        if self._meter.problem:
            self._log("warning", f"What the run used of its GPUs could not be measured: {self._meter.problem}.")
        if usage.worth_events(self._options, [gate.expression for gate in plan.gates] if plan is not None else []):
            self._outputs.measured(self._usage())
        if plan is not None:
            self._judge(plan.gates, verdict, baseline)

    def _usage(self) -> dict[str, Any]:
        return self._meter.read(self._options, time.monotonic() - self._begun)

    def _take_files(self, before: object) -> None:
        """Metrics and artifacts that the program left in its working folder."""
        file = self._root / METRICS_FILE
        after = artifacts.stamp(file)
        if after is not None and after != before:
            if after[1] <= METRICS_FILE_LIMIT and file.resolve().is_relative_to(self._root):
                self._outputs.findings(file_metrics(file.read_bytes()))
            else:
                self._log("warning", f"{METRICS_FILE} was not read: it is too large or lies outside of the folder.")
        remarks = artifacts.collect(
            self._sink,
            self._root,
            self._options.artifacts,
            self._place.artifacts,
            exclude=self._place.results,
            enough=Grace(self._cancel, CANCELLED_COPY_SECONDS).is_over,
            rename=self._masker.mask_name,
        )
        for remark in remarks:
            self._log("warning", remark)

    def _judge(self, gates: list[Gate], verdict: _Verdict, baseline: Mapping[str, MetricLike] | None) -> None:
        missed = []
        for gate in gates:
            against = self._tracked.baseline_of(gate, baseline) if self._tracked is not None else baseline
            result = gate.evaluate(self._outputs.summaries, against)
            self._sink.append(EventType.GATE, **result.to_dict())
            if not result.passed:
                missed.append(result.expression)
        ran = verdict.status == Status.SUCCEEDED
        if missed and ran:
            verdict.status = Status.FAILED if self._options.gate_fails else Status.UNSTABLE
            verdict.reason = f"{'Gates were' if len(missed) > 1 else 'A gate was'} not met: {'; '.join(missed)}."
        if self._tracked is not None and ran and self._tracked.wrong_baseline is not None:
            verdict.worsen(self._tracked.wrong_baseline)
        if self._tracked is not None and (problem := self._tracked.register(ran, gates_met=not missed)):
            self._log("error", problem)
            if verdict.status == Status.SUCCEEDED:
                verdict.status, verdict.reason = Status.FAILED, problem

    def _finished(self, verdict: _Verdict) -> Outcome:
        code = verdict.exit_code if verdict.exit_code is not None else EXIT_CODES[verdict.status]
        self._sink.append(
            EventType.RUN_FINISHED,
            status=verdict.status.value,
            reason=verdict.reason,
            seconds=round(time.monotonic() - self._begun, 3),
            exit_code=code,
            versions=dict(self._versions),
            packages=self._packages,
            usage=self._usage(),
        )
        self._sink.flush()
        return Outcome(status=verdict.status, reason=verdict.reason, exit_code=code)

    def _log(self, level: str, message: str) -> None:
        self._sink.append(EventType.LOG, level=level, message=message)


def _environ(place: Workplace) -> Mapping[str, str]:
    """What kernels are started with."""
    if place.tracking is None:
        return place.environ
    others = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")
    own = {name: value for name, value in place.environ.items() if name not in others}
    return own | place.tracking.environ()
