"""Waiting, in one place: for kernels, for time limits, for a cancel. Everything a run waits for goes through here."""

from __future__ import annotations

import codecs
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zmq

from ..errors import KernelDiedError, KernelError
from ..events import EventSink, Status
from ..kernels.failures import Detector
from ..kernels.kernel import Kernel
from ..kernels.messages import Message
from ..kernels.snippets import NO_INPUT
from ..kernels.switchboard import Switchboard
from ..settings import Settings
from .ending import Cancellation, Ending
from .outputs import Outputs
from .usage import Meter

TICK = 0.5
"""Longest time between two looks at the clock, in seconds."""

IDLE_PATIENCE = 5.0
"""Seconds between a kernel's reply and its idle message, after which a cell counts as done without the latter."""


@dataclass
class Request:
    """Code under way on a kernel. ``cell``: index of the cell it is; None for our own snippets, whose
    outputs are nobody's.
    """

    kernel: Kernel
    id: str
    cell: int | None
    sent: float
    detector: Detector = field(default_factory=Detector)
    taken_up: bool = False
    reply: dict[str, Any] | None = None
    replied: float = 0.0
    idle: bool = False
    idled: float = 0.0
    error: dict[str, Any] | None = None
    input_asked: float = 0.0

    @property
    def done(self) -> bool:
        """Whether the reply is there, and every output before it."""
        if self.input_asked and self.idle:
            return True  # interrupted in its question; some kernels give no reply then
        return self.reply is not None and (self.idle or time.monotonic() - self.replied > IDLE_PATIENCE)


def lossless_context() -> zmq.Context[zmq.Socket[bytes]]:
    """What kernels' sockets are made in."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    # A publisher drops what exceeds the high-water marks of both sides: none on ours, unless a `Kernel` knows better.
    context.setsockopt(zmq.RCVHWM, 0)
    return context


class Driver:
    """Runs code on kernels and waits for it, while outputs of all of them are written as they come."""

    def __init__(
        self,
        sink: EventSink,
        outputs: Outputs,
        cancel: Cancellation,
        settings: Settings,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self.context = context or lossless_context()
        self.switchboard = Switchboard(self, cancel.fd)
        self.deadline: float | None = None
        self.meter: Meter | None = None
        self._over = ""
        self._sink = sink
        self._outputs = outputs
        self._cancel = cancel
        self._settings = settings
        self._requests: dict[str, Request] = {}
        self._current: Request | None = None
        self._last_cell: int | None = None
        self._latest: dict[Kernel, Request] = {}
        self._decoders: dict[tuple[Kernel, str], codecs.IncrementalDecoder] = {}

    def set_deadline(self, timeout: float | None, over: str = "") -> None:
        """Limit the run to `timeout` seconds from now, or less if it is limited already; `over` says so at the end."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        if deadline < (math.inf if self.deadline is None else self.deadline):
            self.deadline, self._over = deadline, over or f"The run exceeded its limit of {timeout:g} s."

    # -- code ----------------------------------------------------------------------------------------

    def send(self, kernel: Kernel, code: str, cell: int | None = None) -> Request:
        """Send code to a kernel without waiting for it."""
        request = Request(kernel, kernel.execute(code, silent=cell is None), cell, time.monotonic())
        if cell is not None:
            request.detector = kernel.quirks.detector()
            self._current, self._last_cell, self._latest[kernel] = request, cell, request
        self._requests[request.id] = request
        return request

    def finish(self, request: Request, limit: float | None = None, over: str = "") -> None:
        """Wait for a request to be done; `limit`: seconds from its sending, then the run ends with `over`.

        Raises `Ending` for a cancel or a limit, `KernelError` when a kernel is lost.
        """
        deadline = None if limit is None else request.sent + limit
        self.wait(lambda: request.done, request, deadline, over)
        # What child processes wrote before the reply may be read after it.
        self.switchboard.read_pipes(request.kernel)

    def wait(
        self,
        done: Callable[[], bool],
        request: Request | None = None,
        deadline: float | None = None,
        over: str = "",
    ) -> None:
        """Hand on messages until `done()`. Raises as `finish` does."""
        while not done():
            self.check()
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                raise Ending(Status.TIMED_OUT, over)
            self._watch(request, now)
            due = self.meter.due if self.meter is not None else None
            limits = [max(0.0, limit - now) for limit in (self.deadline, deadline, due) if limit is not None]
            self.switchboard.step(min([TICK, *limits]), request.kernel if request else None)
            self._sink.flush()

    def check(self) -> None:
        """Raise `Ending` if the run was cancelled or is over one of its limits."""
        if self._cancel.count:
            self._cancel.acknowledge()
            raise Ending(Status.CANCELLED, self._cancel.reason)
        now = time.monotonic()
        if self.deadline is not None and now >= self.deadline:
            raise Ending(Status.TIMED_OUT, self._over)
        if self.meter is not None:
            self.meter.look(now)

    def _watch(self, request: Request | None, now: float) -> None:
        """Notice a kernel that lives but does not do its part: begin with a cell, reply to it."""
        patience = self._settings.answer_timeout
        if request is None or request.reply is not None:
            return
        if request.input_asked and now - request.input_asked > self._settings.interrupt_grace:
            raise Ending(Status.FAILED, NO_INPUT)
        if not request.taken_up and now - request.sent > patience:
            failing = "begin with what it was sent"
        elif request.idle and now - request.idled > patience:
            failing = "reply to what it had finished"
        else:
            return
        raise KernelDiedError(
            f"Kernel {request.kernel.name!r} did not {failing} within {patience:g} s.", stderr=request.kernel.raw_text
        )

    def abort(self, request: Request) -> bool:
        """Interrupt a request and wait for its end within the grace period; whether it ended.

        A second cancel cuts the grace short. Outputs that the interrupt brings forth are written.
        """
        now = time.monotonic()
        deadline, again = now + self._settings.interrupt_grace, now
        asked = self._cancel.count
        try:
            while not request.done and now < deadline and self._cancel.count <= max(asked, 1):
                if now >= again:
                    request.kernel.interrupt()  # once more each second: some kernels lose one between two calls
                    again = now + 1.0
                self.switchboard.step(0.1, request.kernel)
                now = time.monotonic()
        except KernelError:
            return False
        finally:
            self._sink.flush()
        return request.done

    # -- messages ------------------------------------------------------------------------------------

    def on_message(self, kernel: Kernel, message: Message) -> None:
        """Write outputs, and note what tells that a request is done."""
        request = self._requests.get(message.parent)
        if message.channel == "iopub":
            self._on_output(kernel, request, message)
        elif message.channel == "shell" and request is not None and message.type == "execute_reply":
            request.reply, request.replied = message.content, time.monotonic()
        elif message.channel == "stdin" and message.type == "input_request":
            self._refuse_input(kernel, request or self._current)

    def _on_output(self, kernel: Kernel, request: Request | None, message: Message) -> None:
        if message.type == "status":
            if request is not None:
                request.taken_up = True
                if message.content.get("execution_state") == "idle" and not request.idle:
                    request.idle, request.idled = True, time.monotonic()
            return
        if request is None:
            # Output of a thread or a callback, which names no request, or a stranger's: the current cell's.
            cell = self._last_cell
            if cell is None and message.type == "stream":
                kernel.note_output(str(message.content.get("text", "")))  # remarks at its start; shown if it dies
                return
        elif request.cell is None:
            return
        else:
            cell = request.cell
            if message.type == "stream":
                request.detector.feed(message.content.get("name", ""), message.content.get("text", ""))
            elif message.type == "error":
                request.error = request.detector.error(message.content)
                if request.error is None:
                    return
                message = message._replace(content=request.error)
        self._outputs.message(message, cell)

    def _refuse_input(self, kernel: Kernel, request: Request | None) -> None:
        """Kernels that ask although they were told that nobody answers are interrupted, not left waiting."""
        if request is None or request.input_asked:
            return
        request.input_asked = time.monotonic()
        kernel.interrupt()

    def on_raw_output(self, kernel: Kernel, name: str, data: bytes) -> None:
        """Write what the process printed itself, for kernels where that is the output of the latest cell."""
        request = self._latest.get(kernel)
        if request is None or name not in kernel.quirks.raw_output:
            return
        decoder = self._decoders.setdefault((kernel, name), codecs.getincrementaldecoder("utf-8")("replace"))
        if text := request.detector.raw(name, decoder.decode(data)):
            self._outputs.stream(request.cell, name, text)

    def close(self) -> None:
        """Give back the sockets' context. Kernels are closed by then."""
        self.context.term()
