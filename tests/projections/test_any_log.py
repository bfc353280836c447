"""What holds for all projections, whatever the log: cut anywhere, flooded, or hardly begun."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from xml.etree import ElementTree

import nbformat

from kernel_gateway.events import STREAM_CHUNK
from kernel_gateway.projections import PROJECTIONS, Console, Projection, Report
from kernel_gateway.settings import Settings
from tests.projections.conftest import Log, code

SETTINGS = Settings()


def check(name: str, text: str) -> None:
    """That a result is valid in its own format."""
    if name == "junit.xml":
        assert ElementTree.fromstring(text.encode()).tag == "testsuites"
    elif name == "executed.ipynb":
        nbformat.validate(json.loads(text))
    else:
        assert isinstance(json.loads(text), dict)


def test_every_prefix_of_a_log_gives_valid_results(rich_log: Log) -> None:
    made: dict[str, Projection] = {name: factory(SETTINGS, rich_log.blobs) for name, factory in PROJECTIONS.items()}
    report = Report(SETTINGS, rich_log.blobs)
    for event in [None, *rich_log.events]:
        for name, projection in made.items():
            if event is not None:
                projection.feed(event)
            check(name, projection.result())
        if event is not None:
            report.feed(event)
        assert b"</html>" in dict(report.files())["index.html"]


def test_every_prefix_of_a_log_gives_a_console_that_ends_its_line(rich_log: Log) -> None:
    for length in range(len(rich_log.events) + 1):
        console = Console(SETTINGS)
        text = "".join(console.feed(event) for event in rich_log.events[:length]) + console.finish()
        assert text == "" or text.endswith("\n")
        assert "\r" not in text


def test_results_on_the_way_do_not_change_the_final_one(rich_log: Log) -> None:
    for name, factory in PROJECTIONS.items():
        asked, quiet = factory(SETTINGS, rich_log.blobs), factory(SETTINGS, rich_log.blobs)
        for event in rich_log.events:
            asked.feed(event)
            asked.result()
            quiet.feed(event)
        assert asked.result() == quiet.result(), name


def test_a_hundred_megabytes_of_text_pass_in_bounded_memory_and_time() -> None:
    log = Log(code("flood()", "Flood")).start().cell(0)
    line = "x" * 99 + "\n"
    chunk = (line * (STREAM_CHUNK // 100 + 1))[:STREAM_CHUNK]
    flood = {"seq": 9, "time": log.events[-1]["time"], "type": "stream", "cell": 0, "name": "stdout", "text": chunk}
    made = [factory(SETTINGS, log.blobs) for factory in PROJECTIONS.values()]
    report, console, shown = Report(SETTINGS, log.blobs), Console(SETTINGS), 0
    begin = time.perf_counter()
    tracemalloc.start()

    for event in [*log.events, *([flood] * (100 * 1024 * 1024 // STREAM_CHUNK)), *log.done(0).end().events[-2:]]:
        for projection in made:
            projection.feed(event)
        report.feed(event)
        shown += len(console.feed(event))
    shown += len(console.finish())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert time.perf_counter() - begin < 30
    # Twice the kept text: notebook 8 MiB, report 1 MiB, a copy of the chunk each.
    assert peak < 24 * 1024 * 1024
    assert shown < SETTINGS.console_limit + 10_000
    assert all(len(projection.result()) < SETTINGS.notebook_limit * 1.2 for projection in made)


def test_importing_the_projections_loads_nothing_heavy() -> None:
    heavy = ("nbformat", "nh3", "markdown_it", "jsonschema", "papermill", "yaml", "importlib.resources")
    script = f"import sys, kernel_gateway.projections; print([m for m in {heavy!r} if m in sys.modules])"

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
