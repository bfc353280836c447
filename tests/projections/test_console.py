"""The live console: what a person reads while a run goes on."""

from __future__ import annotations

import pytest

from kernel_gateway.projections import Console
from kernel_gateway.projections.text import strip_ansi
from kernel_gateway.settings import Settings
from tests.projections.conftest import PNG, Log, code, console_text, markdown

FIVE = Settings(progress_interval=5.0)


def running(*cells: dict[str, object]) -> Log:
    """A log in its first cell."""
    return Log(*(cells or (code("x", "Load the data"), code("y", "Fit")))).start().cell(0)


def body(log: Log, settings: Settings | None = None, *, progress: bool = True) -> str:
    """The console without the header and the cell's first line."""
    return console_text(log, settings, progress=progress).split("\n", 2)[2]


def test_the_header_names_source_kernel_and_versions_once() -> None:
    lines = console_text(running().done(0).end()).splitlines()

    assert lines[0] == "[kernel-gateway] train.ipynb, kernel python3 (gateway 0.1.0, python 3.11.2, ipykernel 7.4.0)"
    assert sum("ipykernel" in line for line in lines) == 1


def test_cells_are_numbered_by_what_is_executable() -> None:
    log = Log(markdown("# Title"), code("a", "A"), code("  "), code("b", "B", tags=("skip-execution",)), code("c", "C"))
    log.start().cell(1).done(1).done(3, "skipped", 0).cell(4).done(4)

    assert console_text(log).splitlines()[1:] == ["[1/2] A", "[-/2] B: skipped", "[2/2] C"]


def test_streams_appear_as_printed_with_their_colours_and_in_order() -> None:
    log = running().print("\x1b[32mgreen\x1b[0m\n").print("warn\n", name="stderr").print("more\n")

    assert body(log) == "\x1b[32mgreen\x1b[0m\nwarn\nmore\n"


def test_a_line_without_end_is_live_and_closed_before_the_gateways_own() -> None:
    log = running().print("Loading...")
    console = Console(Settings())
    live = [console.feed(event) for event in log.events]

    assert live[-1] == "Loading..."
    assert console.feed(log.print(" done").events[-1]) == " done"
    assert console.feed(log.done(0, seconds=2.5).events[-1]) == "\n[1/2] done in 2.5 s\n"


def test_a_line_without_end_is_closed_before_the_other_stream() -> None:
    assert body(running().print("out").print("err\n", name="stderr").print("put\n")) == "out\nerr\nput\n"


def test_a_progress_bar_is_a_line_every_few_seconds_and_its_final_state() -> None:
    log = running()
    for step in range(101):
        log.print(f"\r{step:3}%|{'#' * (step // 10):<10}|", name="stderr", after=0.2)
    log.print("\n", name="stderr").print("done\n")

    lines = body(log, FIVE).splitlines()

    assert lines[0].startswith("  0%")
    assert lines[-2:] == ["100%|##########|", "done"]
    assert len(lines) == 1 + 100 // 25 + 1
    assert "\r" not in body(log, FIVE)


def test_a_thousand_redraws_in_one_chunk_are_one_line() -> None:
    log = running().print("".join(f"\r{step}" for step in range(1000)) + "\n")

    assert body(log) == "999\n"


def test_a_bar_that_stops_half_way_shows_its_last_state_when_the_cell_ends() -> None:
    log = running().print("\r10%").print("\r20%", after=1).print("\r30%", after=1).done(0)

    assert body(log, FIVE) == "10%\n30%\n"


def test_a_bar_cut_at_any_place_shows_the_same_lines() -> None:
    text = "start\n\r 1/3\r 2/3\r 3/3\r\nend \x1b[31mred\x1b[0m\n"
    for cut in range(1, len(text)):
        # All at one moment, so only the final states are due beside the first one.
        lines = body(running().print(text[:cut]).print(text[cut:])).splitlines()
        assert lines[0] == "start", cut
        assert [strip_ansi(line) for line in lines[-2:]] == [" 3/3", "end red"], cut
        assert lines[-1].startswith("end \x1b[31mr"), cut
        assert len(lines) <= 4, cut


def test_nested_bars_do_not_become_thousands_of_lines() -> None:
    log = running()
    for step in range(500):
        log.print(f"\router {step // 100}\n\rinner {step % 100}\x1b[A", name="stderr", after=0.1)
    log.print("\n\nall done\n", name="stderr").done(0)

    lines = body(log, FIVE).splitlines()

    assert len(lines) < 2 * (50 // 5) + 6
    assert lines[-2:] == ["inner 99", "all done"]
    assert "outer 4" in lines


def test_without_progress_only_final_states_are_shown() -> None:
    log = running().print("\r10%").print("\r20%", after=60).print("\r30%\n", after=60)

    assert body(log, FIVE, progress=False) == "30%\n"


def test_a_bar_that_clears_itself_leaves_nothing_behind() -> None:
    log = running().print("\r50%").print("\r   \r", after=1).print("next\n")

    assert body(log, FIVE) == "50%\nnext\n"


def test_displays_are_shown_as_text_or_by_type_and_size() -> None:
    log = running()
    log.display({"text/plain": "array([1])"}, type="result", execution_count=1)
    log.display({"text/plain": "<Figure>"}, blobs={"image/png": {"sha256": "0", "size": 24_000, "encoding": "base64"}})
    log.display({"image/png": PNG})
    log.display({"text/html": "<b>hi</b>"})
    log.display({"text/html": "<b>hi</b>", "text/plain": "hi"})

    assert body(log).splitlines() == [
        "array([1])",
        "<Figure> [image/png 23.4 KiB]",
        f"[image/png {len(PNG) * 3 // 4} B]",
        "[text/html 9 B]",
        "hi",
    ]


def test_an_update_is_shown_only_when_its_text_changed_and_not_too_often() -> None:
    log = running().display({"text/plain": "step 0"}, display_id="d")
    for step in (0, 1, 2, 3):
        log.clock = log.clock.replace(second=2 * step)
        log.display({"text/plain": f"step {step}"}, type="display_update", display_id="d")
    log.display({"text/plain": "step 4"}, type="display_update", display_id="d").done(0)

    assert body(log, FIVE) == "step 0\nstep 3\nstep 4\n"


def test_clear_output_takes_nothing_back() -> None:
    assert body(running().print("kept\n").add("clear_output", cell=0, wait=False)) == "kept\n"


def test_an_error_shows_its_traceback_in_colour_and_the_cells_end() -> None:
    log = running().print("before").error(0).done(0, "error", 0.3)

    assert body(log) == (
        "before\n\x1b[31mTraceback\x1b[0m (most recent call last)\n"
        "\x1b[31mValueError\x1b[0m: no data\n[1/2] failed after 0.3 s\n"
    )


def test_an_allowed_exception_and_an_abort_are_told_apart_from_a_failure() -> None:
    log = Log(code("a", "A", tags=("raises-exception",)), code("b", "B")).start()
    log.cell(0).done(0, "error").cell(1).done(1, "aborted", 3)

    lines = console_text(log).splitlines()

    assert "[1/2] raised, as its tag allows, after 0.1 s" in lines
    assert "[2/2] aborted after 3.0 s" in lines


def test_metrics_are_shown_unless_the_text_shows_them_already() -> None:
    log = running().print("::metric name=loss val").print("ue=0.5\n").print("::met").print("ric name=acc value=1\n")
    for name in ("loss", "acc", "quiet"):
        log.add("metric", name=name, value=0.25, step=3, cell=0)

    lines = body(log).splitlines()

    assert [line for line in lines if line.startswith("[kernel")] == ["[kernel-gateway] metric quiet = 0.25 (step 3)"]


def test_a_metric_logged_a_thousand_times_is_shown_now_and_then_and_at_the_end() -> None:
    log = running()
    for step in range(1000):
        log.add("metric", after=0.01, name="m", value=step, step=step, cell=0)
    lines = body(log.done(0), FIVE).splitlines()

    assert len(lines) == 3
    assert lines[-1] == "[kernel-gateway] metric m = 999 (step 999)"


def test_gates_artifacts_remarks_and_the_verdict_have_a_line_each() -> None:
    log = running().add("artifact", path="m.pkl", sha256="0", size=2048, media_type="", cell=0).done(0)
    log.add("log", level="warning", message="low disk").add("log", level="info", message="fyi")
    log.add("gate", expression="accuracy >= 0.9", value=0.93, bound=0.9, passed=True, message="")
    log.add("gate", expression="f1 >= 0.9", value=None, bound=0.9, passed=False, message="no metric f1")
    log.add("gate", expression="f1 >= baseline", value=0.93, bound=1.0, passed=False, message="")
    log.end("unstable", "gate f1 >= 0.9 was not met", 3)

    assert body(log).splitlines() == [
        "[kernel-gateway] artifact m.pkl (2.0 KiB)",
        "[kernel-gateway] warning: low disk",
        "[kernel-gateway] fyi",
        "[kernel-gateway] gate accuracy >= 0.9: 0.93 passed",
        "[kernel-gateway] gate f1 >= 0.9: not met (no metric f1)",
        "[kernel-gateway] gate f1 >= baseline: 0.93 not met (bound 1)",
        "[kernel-gateway] unstable in 0.1 s: gate f1 >= 0.9 was not met",
    ]


def test_a_files_name_forges_no_line() -> None:
    log = running().add("artifact", path="a\n[kernel-gateway] succeeded \x1b[2Jä", sha256="0", size=0, media_type="")

    assert body(log).splitlines() == [r"[kernel-gateway] artifact a\n[kernel-gateway] succeeded \x1b[2Jä (0 B)"]


@pytest.mark.parametrize("chunk", [7, 100, 5000])
def test_beyond_the_limit_the_head_is_live_and_the_last_lines_follow_at_the_end(chunk: int) -> None:
    text = "".join(f"line {number:06}\n" for number in range(20_000))
    log = running()
    for at in range(0, len(text), chunk):
        log.print(text[at : at + chunk])
    log.error(0).done(0, "error")

    shown = body(log, Settings(console_limit=1000))

    assert shown.startswith("line 000000\nline 000001\n")
    assert "events.jsonl has them whole" in shown
    assert "line 019999\n\x1b[31mTraceback" in shown
    assert "failed after" in shown
    assert len(shown) < 1000 + 4096 + 1000


def test_the_limit_counts_anew_for_every_cell() -> None:
    log = running().print("x" * 2000 + "\n").done(0).cell(1).print("fresh\n", cell=1).done(1)

    assert "[2/2] Fit\nfresh\n" in console_text(log, Settings(console_limit=1000))


def test_a_run_whose_kernel_never_started_still_has_header_and_verdict() -> None:
    log = Log(code("x", "X")).add("log", level="error", message="ImportError: no module ipykernel")
    log.end("kernel_died", "The kernel python3 did not start.", 5)

    assert console_text(log).splitlines() == [
        "[kernel-gateway] error: ImportError: no module ipykernel",
        "[kernel-gateway] train.ipynb",
        "[kernel-gateway] kernel died in 0.0 s: The kernel python3 did not start.",
    ]


def test_a_log_cut_in_mid_line_ends_with_a_newline() -> None:
    for text in ("partial", "\r50%", "\x1b[3"):
        assert console_text(running().print("a\n" + text)).endswith("\n")
