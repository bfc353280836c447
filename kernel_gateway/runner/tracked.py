"""A run's dealings with MLflow, by way of the tracker: cells join its MLflow run, their metrics come back, gates are
compared with what stands there, the model is registered. Never longer than some seconds, whatever MLflow does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UsageError
from ..events import EventSink, EventType, decode_number, encode_number
from ..gates import Gate, MetricLike
from ..kernels.kernel import Kernel
from ..projections.metrics import MetricSummary
from ..settings import RunOptions
from ..tracking.client import GONE, UNKNOWN, Attachment, Tracking, attachment_of
from ..tracking.comparison import is_mlflow
from ..tracking.kernel_setup import FILE, environment_code, joining_code
from ..tracking.names import Names
from ..tracking.record import FROM_MLFLOW

READ_INTERVAL = 1.0
"""Seconds between two looks for metrics that cells logged, while cells run."""

READ_SECONDS = 5.0
"""Seconds that the last look may take."""

COMPARE_SECONDS = 10.0
REGISTER_SECONDS = 20.0
STEP = 0.02

_CHAMPION = re.compile(r"(?<![\w.@:/-])champion(?![\w@:])")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`")


class Tracked:
    """One run's side of `Tracking`. ``pause(seconds)`` is called while something is waited for before a cell: it hands
    on what kernels say, and raises for a cancel or the run's limit.
    """

    def __init__(
        self,
        tracking: Tracking,
        options: RunOptions,
        sink: EventSink,
        summaries: dict[str, MetricSummary],
        pause: Callable[[float], None],
    ) -> None:
        self._tracking = tracking
        self._client = tracking.client
        self._options = options
        self._sink = sink
        self._summaries = summaries
        self._pause = pause
        self._attachment: Attachment | None = None
        self._behind: set[Kernel] = set()
        self._reading: int | None = None
        self._read_at = 0.0
        self._told = False
        if not tracking.begun:
            tracking.begin()
        baseline = options.baseline or ""
        model = options.register
        own = {"registers": model, "alias": options.promote}
        self._baseline = self._client.ask("compare", reference=baseline, **own) if is_mlflow(baseline) else None
        own["alias"] = "champion"
        self._champion = self._client.ask("compare", reference=f"models:/{model}@champion", **own) if model else None
        self._answers: dict[int, Mapping[str, Any]] = {}
        self._compared: dict[int, Mapping[str, MetricLike] | None] = {}
        self.wrong_baseline: UsageError | None = None
        """Why the run fails although its program does not: `--baseline` names what MLflow does not have."""

    # -- cells -----------------------------------------------------------------------------------------

    def before_cell(self, kernel: Kernel, fresh: bool) -> str:
        """Take in what has come, ask for more, and return code that the kernel is to run first, if any.

        Python asks for the run when it needs it, since most programs don't; other languages are waited with.
        Raises `UsageError` for a baseline that is none, since it would be told otherwise after hours of work only.
        """
        self._take_what_came()
        if self._baseline is not None and self._baseline not in self._answers:
            self._answer(self._baseline)
        if self.wrong_baseline is not None:
            raise self.wrong_baseline
        language = str(kernel.spec.spec.language).lower()
        python = language == "python"
        if fresh:
            self._behind.discard(kernel)
            if self._tracking.wait:
                self._wait()
            if python and (self._attachment is not None or kernel.folder is not None):
                return self._join(kernel)
            if not self._tracking.wait:
                self._wait()
        elif kernel not in self._behind:
            return ""
        if self._attachment is None:
            self._behind.add(kernel)
            return ""
        self._behind.discard(kernel)
        return environment_code(language, self._attachment.environ())

    def _join(self, kernel: Kernel) -> str:
        known, tracking = self._attachment, self._tracking
        if known is not None:
            run = joining_code(known.uri, known.run_id, known.experiment_id, None, 0.0)
            return f"{environment_code('python', known.environ())}\n{run}"
        assert kernel.folder is not None
        file = kernel.folder / FILE
        self._client.ask("announce", run=tracking.run, file=str(file))
        self._behind.add(kernel)  # its environment, which scripts that it starts see
        return joining_code(tracking.uri, "", "", file, tracking.patience)

    def _wait(self) -> None:
        deadline = time.monotonic() + self._tracking.patience
        while not self._look() and time.monotonic() < deadline:
            self._pause(STEP)

    def _take_what_came(self) -> None:
        self._look()
        if self._reading is not None:
            answer = self._client.answer(self._reading)
            if answer is None:
                return
            self._reading = None
            if answer.get("error") in (UNKNOWN, GONE):
                self._tracking.begin()  # a service's tracker that was started anew, or will be
            self._take(answer)
        if time.monotonic() - self._read_at >= READ_INTERVAL:
            self._read_at = time.monotonic()
            self._reading = self._client.ask("metrics", run=self._tracking.run)

    def collect(self, seconds: float = READ_SECONDS) -> None:
        """After the last cell: all metrics that cells logged, before gates are judged. Waits for at most `seconds`."""
        self._look()
        deadline = time.monotonic() + seconds
        if self._reading is not None:
            self._take(self._client.answer(self._reading, seconds) or {})
            self._reading = None
        more = self._attachment is not None
        while more:
            number = self._client.ask("metrics", run=self._tracking.run, thorough=True, seconds=seconds / 2)
            answer = self._client.answer(number, max(0.0, deadline - time.monotonic()))
            if answer is None or "error" in answer:
                why = answer["error"] if answer else "it took too long"
                self._log(
                    "warning",
                    f"Metrics that cells logged to MLflow could not all be read, so gates don't see them: {why}",
                )
                return
            self._take(answer)
            more = bool(answer["more"])

    def _look(self) -> bool:
        """Whether the tracker has answered, for good or bad, whether the run is in MLflow."""
        if self._tracking.begun < 0:
            return True
        answer = self._client.answer(self._tracking.begun)
        if answer is None:
            return self._attachment is not None
        self._tracking.begun = -1
        if "error" in answer and not self._told:
            self._told = True
            self._log("warning", f"The run is not tracked in MLflow: {answer['error']}")
        self._hear(answer)
        return True

    def _hear(self, answer: Mapping[str, Any]) -> None:
        for remark in answer.get("remarks") or ():
            self._log("warning", remark)
        found = attachment_of(answer)
        if found is not None and self._attachment is None:
            self._attachment = found
            self._log("info", f"MLflow: {found.place}")

    def _take(self, answer: Mapping[str, Any]) -> None:
        self._hear(answer)
        for name, text, step in answer.get("points") or ():
            value = decode_number(text)
            self._summaries.setdefault(name, MetricSummary()).add(value, step)
            self._sink.append(
                EventType.METRIC, name=name, value=encode_number(value), step=step, cell=None, source=FROM_MLFLOW
            )

    # -- gates -----------------------------------------------------------------------------------------

    def baseline_of(self, gate: Gate, baseline: Mapping[str, MetricLike] | None) -> Mapping[str, MetricLike] | None:
        """What a gate compares with: the registered model for ``champion``, what `--baseline` names, else `baseline`.

        None if there is no such model yet: the first one wins. Empty, so that the gate is not met, when MLflow could
        not tell.
        """
        if not gate.needs_baseline:
            return baseline
        number = self._baseline
        if self._champion is not None and _CHAMPION.search(_QUOTED.sub("", gate.expression)):
            number = self._champion
        if number is None:
            return baseline
        if number not in self._compared:
            self._compared[number] = self._comparison(number)
        return self._compared[number]

    def _comparison(self, number: int) -> Mapping[str, MetricLike] | None:
        what = f"models:/{self._options.register}@champion" if number == self._champion else self._options.baseline
        answer = self._answer(number, COMPARE_SECONDS)
        if number == self._baseline and self.wrong_baseline is not None:
            return {}
        if answer is None or "error" in answer:
            why = answer["error"] if answer else "it took too long"
            self._log(
                "error", f"MLflow could not tell the metrics of {what}, so gates that need them are not met: {why}"
            )
            return {}
        if answer["metrics"] is None:
            self._log("warning", f"There is no {what} in MLflow yet; the first model wins.")
            return None
        self._log("info", f"Gates compare with {answer['title']}.")
        found = {name: _summary(values) for name, values in answer["metrics"].items()}
        names = Names()
        # What MLflow calls otherwise has its own name here.
        return found | {name: found[names[name]] for name in self._summaries if names[name] in found}

    def _answer(self, number: int, seconds: float = 0.0) -> Mapping[str, Any] | None:
        """The answer to a question for metrics, which is given once, as often as wanted."""
        if number not in self._answers and (answer := self._client.answer(number, seconds)) is not None:
            self._answers[number] = answer
            if number == self._baseline and answer.get("refused"):
                self.wrong_baseline = UsageError(
                    f"--baseline {self._options.baseline}: {answer['error']}", field="baseline"
                )
        return self._answers.get(number)

    # -- the model -------------------------------------------------------------------------------------

    def register(self, ran: bool, gates_met: bool) -> str:
        """Register the logged model if that was asked for; returns why the run fails, if it does.

        `ran`: whether the program came to its end without a failure.
        """
        name, alias = self._options.register, self._options.promote
        if not name:
            return ""
        if not ran:
            self._log("warning", f"The run did not succeed, so MLflow model {name!r} gets no new version.")
            return ""
        promoted = alias if gates_met else None
        answer = self._client.answer(
            self._client.ask("register", run=self._tracking.run, name=name, alias=promoted), REGISTER_SECONDS
        )
        if answer is None or "error" in answer:
            if answer is not None and answer.get("refused"):
                return f"--register {name}: MLflow refused it: {answer['error']}"
            why = answer["error"] if answer else "it took too long"
            self._log("warning", f"MLflow model {name!r} is not registered yet, but will be with the rest: {why}")
            return ""
        if answer["failed"]:
            return str(answer["message"])
        self._log("info", answer["message"])
        if alias and not promoted:
            self._log("info", f"It is not {alias!r}: not all gates were met.")
        return ""

    def _log(self, level: str, message: str) -> None:
        self._sink.append(EventType.LOG, level=level, message=message)


def _summary(values: Mapping[str, Any]) -> MetricSummary:
    summary = MetricSummary(count=int(values["count"]))
    for name in ("first", "last", "min", "max", "mean"):
        setattr(summary, name, decode_number(values[name]))
    return summary
