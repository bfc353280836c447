"""The cells of a run, one after the other, each on its kernel."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..errors import GatewayError, KernelDiedError, KernelError
from ..events import CellStatus, EventSink, EventType, Status
from ..kernels.failures import Failure, exit_failure
from ..kernels.kernel import Kernel
from ..kernels.snippets import NO_INPUT
from ..kernels.specs import Kernelspec
from ..settings import RunOptions
from ..sources.program import Cell
from .driver import Driver, Request
from .ending import Ending
from .kernelset import KernelSet
from .outputs import Outputs
from .plan import Plan


class CellRunner:
    """Executes a plan's cells in order and says how that went."""

    def __init__(
        self,
        plan: Plan,
        driver: Driver,
        kernels: KernelSet,
        sink: EventSink,
        outputs: Outputs,
        options: RunOptions,
    ) -> None:
        self._plan = plan
        self._driver = driver
        self._kernels = kernels
        self._sink = sink
        self._outputs = outputs
        self._options = options
        self._number = 0

    def run(self, on_ready: Callable[[Kernel], None]) -> tuple[Status, str]:
        """Run cells until one fails or ends the program; returns the status and one sentence.

        Raises `Ending` and `GatewayError` as the driver does; the cell under way was finished as ``aborted``.
        """
        allowed = 0
        for index, cell in enumerate(self._plan.program.cells):
            spec = self._plan.kernels[index]
            if spec is None:
                self._skip(index, cell)
                continue
            self._number += 1
            kernel = self._kernels.ensure(spec, on_ready)
            failure = self._execute(kernel, spec, index, cell)
            if failure is None:
                continue
            if failure.ends_program:
                self._sink.append(
                    EventType.LOG, level="info", message=f"The program ended itself in {self._label(cell)}."
                )
                return Status.SUCCEEDED, ""
            if self._options.allow_errors:
                allowed += 1
                continue
            return Status.FAILED, f"{self._label(cell, capital=True)} failed: {_summary(failure)}"
        if allowed:
            return (
                Status.SUCCEEDED,
                f"{allowed} {'cell' if allowed == 1 else 'cells'} failed, which --allow-errors allows.",
            )
        return Status.SUCCEEDED, ""

    def _skip(self, index: int, cell: Cell) -> None:
        if cell.type == "code" and "skip-execution" in cell.tags:
            self._finish(index, cell, CellStatus.SKIPPED, 0.0, None)

    def _execute(self, kernel: Kernel, spec: Kernelspec, index: int, cell: Cell) -> Failure | None:
        """Run one cell; returns its failure unless the cell may fail."""
        started = time.monotonic()
        self._sink.append(EventType.CELL_STARTED, cell=index, id=cell.id, title=cell.title, kernel=spec.name)
        self._sink.flush()
        # Parameters of a SQL program are written in the language of its kernel.
        own = cell.metadata.get("language") == kernel.spec.spec.language
        code = cell.source if own else kernel.quirks.wrap(cell.source, kernel.folder)
        request = self._driver.send(kernel, code, index)
        try:
            self._driver.finish(request, self._options.cell_timeout, self._over(cell))
            if kernel.quirks.flush:
                flush = self._driver.send(kernel, kernel.quirks.flush)
                flush.cell = index  # what is late may name this request as its own
                self._driver.finish(flush)
            failure = self._failure(request, index)
        except (Ending, GatewayError) as end:
            if isinstance(end, KernelError) or not self._driver.abort(request):
                self._kernels.kill(kernel)
            own = self._own_exit(kernel, end, index)
            if own is None:
                self._finish(index, cell, CellStatus.ABORTED, time.monotonic() - started, request)
                raise
            failure = own
        self._kernels.report_setups()
        if failure is not None and failure.restarted:
            self._kernels.set_up(kernel)
        expected = failure is not None and "raises-exception" in cell.tags and not failure.ends_program
        failed = failure is not None and not failure.ends_program
        status = CellStatus.ERROR if failed else CellStatus.OK
        self._finish(index, cell, status, time.monotonic() - started, request)
        return None if expected else failure

    def _failure(self, request: Request, index: int) -> Failure | None:
        """How the cell failed, by the kernel's reply or in spite of it; the ``error`` event is written if none was."""
        reply = request.reply or {}
        hidden = request.detector.failure(request.kernel.folder)
        if request.input_asked:
            hidden = Failure(ename="InputRefused", evalue=NO_INPUT)
        if hidden is not None:
            if not hidden.ends_program:
                self._write_error(index, hidden.ename, hidden.evalue)
            return hidden
        if request.detector.decided:
            return None
        if reply.get("status") == "ok":
            return self._asked_exit(reply, index)
        content = request.error or request.detector.error(reply) or reply
        ename, evalue = str(content.get("ename") or ""), str(content.get("evalue") or "")
        if ename == "SystemExit" and evalue in ("", "0", "None"):
            return Failure(ename="", evalue="", ends_program=True)
        if not ename and not evalue:
            ename, evalue = "Aborted", f"the kernel answered {reply.get('status')!r}"
        if request.error is None:
            self._write_error(index, ename, evalue, content.get("traceback"))
        if ename == "StdinNotImplementedError":
            self._sink.append(EventType.LOG, level="error", message=NO_INPUT)
            return Failure(ename=ename, evalue=NO_INPUT)
        return Failure(ename=ename, evalue=evalue)

    def _own_exit(self, kernel: Kernel, end: Exception, index: int) -> Failure | None:
        """A kernel that ended with the exit code that the program chose, for kernels where that tells; else None.

        Codes from 128 on are those of launchers whose interpreter was killed by a signal.
        """
        code = end.returncode if isinstance(end, KernelDiedError) and kernel.quirks.exits else None
        if code is None or not 0 <= code < 128:
            return None
        failure = exit_failure(code)
        if not failure.ends_program:
            self._write_error(index, failure.ename, failure.evalue)
        return failure

    def _asked_exit(self, reply: dict[str, Any], index: int) -> Failure | None:
        """``exit()`` and its like reply ok with a payload; ipython puts the argument where a flag should be."""
        for payload in reply.get("payload") or []:
            if isinstance(payload, dict) and payload.get("source") == "ask_exit":
                code = payload.get("keepkernel")
                if code in (None, False, True) or code == 0:
                    return Failure(ename="", evalue="", ends_program=True)
                self._write_error(index, "SystemExit", str(code))
                return Failure(ename="SystemExit", evalue=str(code))
        return None

    def _write_error(self, index: int, ename: str, evalue: str, traceback: Any = None) -> None:
        lines = traceback if isinstance(traceback, list) and traceback else [f"{ename}: {evalue}"]
        self._outputs.error(index, {"ename": ename, "evalue": evalue, "traceback": lines})

    def _finish(self, index: int, cell: Cell, status: CellStatus, seconds: float, request: Request | None) -> None:
        self._outputs.finished(index)
        reply = request.reply if request is not None and request.reply is not None else {}
        self._sink.append(
            EventType.CELL_FINISHED,
            cell=index,
            id=cell.id,
            title=cell.title,
            status=status.value,
            seconds=round(seconds, 6),
            execution_count=reply.get("execution_count"),
        )

    def _over(self, cell: Cell) -> str:
        return (
            f"{self._label(cell, capital=True)} exceeded its limit of {self._options.cell_timeout:g} s."
            if (self._options.cell_timeout is not None)
            else ""
        )

    def _label(self, cell: Cell, *, capital: bool = False) -> str:
        title = f" ({cell.title})" if cell.title else ""
        return f"{'C' if capital else 'c'}ell {self._number}{title}"


def _summary(failure: Failure) -> str:
    """An error on one line, as a build's description shows it."""
    text = f"{failure.ename}: {failure.evalue}" if failure.ename and failure.evalue else failure.ename or failure.evalue
    line = next((line for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= 300 else line[:299] + "…"
