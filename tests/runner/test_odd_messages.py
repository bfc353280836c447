"""A program may send any message: what has not the protocol's shape costs the run neither its results nor its end."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_gateway.kernels.messages import Message
from kernel_gateway.projections import PROJECTIONS, Console, Report
from kernel_gateway.runner.outputs import Outputs
from kernel_gateway.settings import Settings
from tests.projections.conftest import Log, code


class Sink:
    """Keeps events in a log made by hand."""

    def __init__(self) -> None:
        self.log = Log(code("1")).start().cell(0)

    def append(self, type: Any, /, **fields: Any) -> None:
        self.log.add(type.value, **fields)

    def flush(self) -> None:
        pass

    def put(self, content: bytes) -> str:
        raise AssertionError("nothing here is large")


@pytest.mark.parametrize("type", ["display_data", "execute_result", "update_display_data"])
@pytest.mark.parametrize(
    "content",
    [
        {"data": {"text/plain": "a"}, "transient": {"display_id": [1]}},
        {"data": {"text/plain": "a"}, "transient": {"display_id": {"a": 1}}},
        {"data": {"text/plain": "a"}, "transient": "x", "metadata": [1]},
        {"data": "text", "metadata": "x"},
        {"data": 5},
        {},
    ],
)
def test_a_display_of_another_shape_is_shown_as_far_as_it_goes(type: str, content: dict[str, Any]) -> None:
    sink = Sink()
    outputs = Outputs(sink, sink)

    outputs.message(make(type, content), 0)
    outputs.message(make("stream", {"name": "stdout", "text": "after\n"}), 0)

    sink.log.done(0).end()
    factories: list[Any] = [*PROJECTIONS.values(), Report]
    reducers = [factory(Settings(), sink.log.blobs) for factory in factories]
    for reducer in reducers:
        for event in sink.log.events:
            reducer.feed(event)
    console = Console(Settings())
    assert "after" in "".join(console.feed(event) for event in sink.log.events)


def make(type: str, content: dict[str, Any]) -> Message:
    """A message as the kernel's connection gives it."""
    return Message("iopub", type, "", content, {})
