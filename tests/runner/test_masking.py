"""Secrets never pass the masking sink, in whatever form and however they are cut into messages."""

from __future__ import annotations

import base64
import html
import json
import shlex
import time
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernel_gateway.events import STREAM_CHUNK, EventType
from kernel_gateway.runner.masking import MASK, Masker, MaskingSink

SECRET = "s3cr3t/Wörd+&'x\""
RED, END = "\x1b[31m", "\x1b[39m"


class Recorder:
    """An event sink that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.flushes = 0

    def append(self, type: EventType, /, **fields: Any) -> None:
        self.events.append({"type": type, **fields})

    def flush(self) -> None:
        self.flushes += 1

    def text(self, name: str = "stdout", cell: int | None = None) -> str:
        return "".join(
            event["text"]
            for event in self.events
            if event["type"] == EventType.STREAM and event["name"] == name and cell in (None, event["cell"])
        )


def masking(**secrets: str) -> tuple[MaskingSink, Recorder]:
    recorder = Recorder()
    return MaskingSink(recorder, Masker(secrets)), recorder


def say(sink: MaskingSink, text: str, cell: int | None = 0, name: str = "stdout") -> None:
    sink.append(EventType.STREAM, cell=cell, name=name, text=text)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        shlex.quote(SECRET),
        SECRET.replace("'", "'\\''"),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(SECRET)[1:-1])[1:-1],
        repr(SECRET)[1:-1],
        ascii(SECRET)[1:-1],
        repr(SECRET.encode())[2:-1],
        html.escape(SECRET),
        SECRET.replace("&", "&amp;").replace("'", "&#39;").replace('"', "&#34;"),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        quote(SECRET, safe="").replace("%2F", "%2f").replace("%C3%B6", "%c3%b6").replace("%2B", "%2b"),
        b64(SECRET),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
        b64(SECRET + "\n"),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        "s3cr3t/W\\303\\266rd+&\\'x\"",
    ],
)
def test_a_secret_is_masked_in_each_form(form: str) -> None:
    masked = Masker({"TOKEN": SECRET}).mask(f"<{form}>")

    assert MASK in masked
    assert masked.strip("'<>\\\"").strip("%") in (MASK, *[q + MASK for q in "'\""]), masked


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "client:", "Aladdin:"])
@pytest.mark.parametrize("after", ["", "\n", "@host", "@hosts", "@hosts!"])
def test_base64_of_longer_text_shows_at_most_bits_of_the_secret(before: str, after: str) -> None:
    secret = "open sesame, please"
    masked = Masker({"TOKEN": secret}).mask(b64(before + secret + after))

    assert MASK in masked
    for word in ("open", "sesame", "please"):
        for shift in range(3):
            whole = b64("\0" * shift + word)
            assert whole[4 if shift else 0 : -4] not in masked or len(whole) <= 8


def test_longer_secrets_win_and_overlapping_ones_leave_nothing() -> None:
    masker = Masker({"A": "abcdef", "B": "abcdefgh", "C": "ghijkl"})

    assert masker.mask("abcdefgh") == MASK
    assert masker.mask("-abcdefghijkl-") == f"-{MASK}-"
    assert masker.mask("abcdef abcdef") == f"{MASK} {MASK}"


def test_each_longer_line_of_a_secret_of_several_lines_is_masked() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhki\nG9w0BAQEFAASCBKcw\n-----END KEY-----\n"
    masker = Masker({"KEY": key})

    assert masker.mask("line: G9w0BAQEFAASCBKcw!") == f"line: {MASK}!"
    assert masker.mask(f"[{key}]") in (f"[{MASK}]", f"[{MASK}\n]")
    assert masker.mask(json.dumps(key)).strip('"').removesuffix("\\n") == MASK
    assert masker.mask("hki") == "hki"


def test_colours_inside_a_secret_do_not_hide_it_and_those_outside_stay() -> None:
    masker = Masker({"TOKEN": "correct-horse"})

    assert masker.mask(f"{RED}x{END} corr{RED}ect{END}-horse {RED}y{END}") == f"{RED}x{END} {MASK} {RED}y{END}"
    assert masker.mask(f"{RED}correct-horse{END}") == f"{RED}{MASK}{END}"


def test_a_secret_inside_a_terminal_link_is_masked() -> None:
    assert "hunter22" not in Masker({"P": "hunter22"}).mask("\x1b]8;;http://u:hunter22@h\x1b\\link\x1b]8;;\x1b\\")


def test_a_secret_split_over_messages_and_cells_is_masked_where_it_began() -> None:
    sink, recorder = masking(TOKEN="correct-horse")

    say(sink, "key: corre", cell=1)
    sink.append(EventType.CELL_FINISHED, cell=1, status="ok")
    say(sink, "ct-hor", cell=2)
    say(sink, "se.\n", cell=2)

    assert recorder.text(cell=1) == f"key: {MASK}"
    assert recorder.text(cell=2) == ".\n"


def test_what_only_looked_like_a_secret_comes_out_in_the_cell_that_printed_it() -> None:
    sink, recorder = masking(TOKEN="correct-horse")

    say(sink, "corre", cell=1)
    sink.flush()
    assert recorder.text() == ""
    assert recorder.flushes == 1
    say(sink, "lation", cell=2)

    assert recorder.text(cell=1) == "corre"
    assert recorder.text(cell=2) == "lation"


def test_streams_are_held_back_apart() -> None:
    sink, recorder = masking(TOKEN="correct-horse")

    say(sink, "correct-", name="stdout")
    say(sink, "horse", name="stderr")
    sink.append(EventType.RUN_FINISHED, status="succeeded", reason="")

    assert recorder.text("stdout") == "correct-"
    assert recorder.text("stderr") == "horse"


def test_the_end_of_the_run_releases_what_was_held_before_it_is_told() -> None:
    sink, recorder = masking(TOKEN="correct-horse")

    say(sink, "corr")
    sink.append(EventType.RUN_FINISHED, status="failed", reason="wrong correct-horse")

    assert [event["type"] for event in recorder.events] == [EventType.STREAM, EventType.RUN_FINISHED]
    assert recorder.events[0]["text"] == "corr"
    assert recorder.events[1]["reason"] == f"wrong {MASK}"


def test_lines_that_end_are_not_held_back() -> None:
    sink, recorder = masking(TOKEN="correct-horse")

    say(sink, "epoch 1\n")

    assert recorder.text() == "epoch 1\n"


def test_a_tail_of_colours_alone_does_not_grow_for_ever() -> None:
    sink, recorder = masking(TOKEN="correct-horse")

    say(sink, "corr")
    for _ in range(2000):
        say(sink, RED)
    assert sum(len(stream._text) for stream in sink._streams.values()) < 10_000
    say(sink, "ect-horse\n")

    assert "ect-horse" not in recorder.text()
    assert MASK in recorder.text()


def test_a_secret_that_repeats_itself_does_not_grow_the_held_text() -> None:
    sink, recorder = masking(TOKEN="aaaaaaaa")

    for _ in range(300):
        say(sink, "aaa")
    assert sum(len(stream._text) for stream in sink._streams.values()) < 20
    say(sink, "b")

    assert recorder.text() == f"{MASK}b"


def test_structure_survives_a_secret_that_is_an_ordinary_word() -> None:
    sink, recorder = masking(A="ok", B="stdout", C="text", D="0")

    say(sink, "ok 0\n")
    sink.append(EventType.CELL_FINISHED, cell=0, id="ok", title="ok", status="ok", seconds=0.5, execution_count=1)
    sink.append(EventType.RESULT, cell=0, data={"text/plain": "ok"}, metadata={}, blobs={}, display_id="ok")

    stream, cell, result = recorder.events
    assert stream == {"type": EventType.STREAM, "cell": 0, "name": "stdout", "text": f"{MASK} {MASK}\n"}
    assert cell["status"] == "ok"
    assert cell["id"] == "ok"
    assert cell["title"] == MASK
    assert result["data"] == {"text/plain": MASK}
    assert Masker({"A": "ok", "B": "longer"}).weak == ("A",)


def test_every_event_is_masked_where_a_program_or_a_person_wrote() -> None:
    secret = "correct-horse"
    sink, recorder = masking(TOKEN=secret)
    cell = {"id": "a", "type": "code", "source": f"login('{secret}')", "metadata": {"note": secret}}
    program = {"name": secret, "format": "ipynb", "digest": "sha256:0", "cells": [cell], "parameters": {"p": secret}}

    sink.append(
        EventType.RUN_QUEUED,
        run="1",
        program=program,
        resources={"gpus": 0},
        provenance={"source_digest": "sha256:0", "git": {"remote": f"https://{secret}@host/x"}, "secrets": ["TOKEN"]},
    )
    sink.append(EventType.ERROR, cell=0, ename="E", evalue=secret, traceback=[f"a {RED}correct{END}-horse"])
    data = {"application/json": {secret: [secret, 1]}, f"text/{secret}": "x"}
    sink.append(EventType.DISPLAY, cell=0, data=data, metadata={"x": secret})
    sink.append(EventType.METRIC, name=secret, value=0.5, step=1, cell=0)
    sink.append(EventType.ARTIFACT, path=f"out/{secret}.txt", sha256="00", size=1, media_type="text/plain")
    sink.append(EventType.GATE, expression=f"x > {secret}", value=1.0, bound=2.0, passed=False, message=secret)
    sink.append(EventType.LOG, level="info", message=f"has {secret}")

    assert secret not in json.dumps(recorder.events)
    assert recorder.events[0]["provenance"]["secrets"] == ["TOKEN"]
    assert recorder.events[2]["data"] == {"application/json": {MASK: [MASK, 1]}, f"text/{MASK}": "x"}
    assert recorder.events[3]["value"] == 0.5


def test_numbers_in_displayed_values_are_masked_when_the_secret_is_a_number() -> None:
    assert Masker({"PIN": "81726354"}).mask_value({"a": [81726354, 8172.5, True]}) == {"a": [MASK, 8172.5, True]}


def test_images_are_not_broken_by_a_short_secret() -> None:
    picture = base64.b64encode(bytes(range(256)) * 40).decode()

    assert Masker({"A": "AB"}).mask_bundle({"image/png": picture}) == {"image/png": picture}
    assert MASK in Masker({"A": "hunter2222"}).mask_bundle({"image/png": b64("PNG hunter2222")})["image/png"]


def test_without_secrets_nothing_stands_between() -> None:
    recorder = Recorder()

    assert not Masker({})
    assert not Masker({"EMPTY": "", "BLANK": " \n"})
    assert MaskingSink.around(recorder, Masker({"EMPTY": ""})) is recorder
    assert isinstance(MaskingSink.around(recorder, Masker({"A": "value"})), MaskingSink)


def test_masked_text_keeps_to_the_length_of_stream_events() -> None:
    sink, recorder = masking(A="ab")

    say(sink, "ab" * (STREAM_CHUNK // 2))

    assert max(len(event["text"]) for event in recorder.events) <= STREAM_CHUNK
    assert set(recorder.text()) == {"*"}


def test_masking_costs_little_when_nothing_matches() -> None:
    sink, _ = masking(TOKEN="dckr_pat_0123456789abcdefghijk", OTHER="xK9#mQ2$vL5@nR8!")
    chunk = ("epoch 12/100  loss=0.2345  accuracy=0.9123  eta 00:12:30\n" * 1200)[:STREAM_CHUNK]

    start = time.perf_counter()
    for _ in range(160):
        say(sink, chunk)
    rate = 160 * len(chunk) / (time.perf_counter() - start) / 1e6

    assert rate > 20, f"{rate:.0f} MB/s"


secrets = st.text(min_size=4, max_size=24).filter(
    lambda text: len(text.strip()) >= 4 and not set(text) & set("*\x1b") and len(text.splitlines()) == 1
)


@st.composite
def outputs(draw: st.DrawFn) -> tuple[list[str], list[tuple[int, str]]]:
    values = draw(st.lists(secrets, min_size=1, max_size=3))
    parts = draw(
        st.lists(
            st.one_of(
                st.text(max_size=12),
                st.sampled_from(values),
                st.sampled_from(values).map(b64),
                st.sampled_from(values).map(lambda value: b64("user:" + value)),
                st.sampled_from(values).map(json.dumps),
                st.sampled_from(values).map(lambda value: value[: len(value) // 2]),
                st.sampled_from(values).map(lambda value: value[:2] + RED + value[2:]),
            ),
            max_size=8,
        )
    )
    text = "".join(parts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=10)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    cells = draw(st.lists(st.integers(0, 2), min_size=len(pieces), max_size=len(pieces)).map(sorted))
    return values, list(zip(cells, pieces, strict=True))


@settings(max_examples=400, deadline=None)
@given(outputs())
@example((["0000", "000 "], [(0, "000"), (0, "0"), (1, "0 0")]))
def test_however_output_is_cut_it_is_masked_as_if_it_came_at_once(
    case: tuple[list[str], list[tuple[int, str]]],
) -> None:
    values, pieces = case
    masker = Masker({str(index): value for index, value in enumerate(values)})
    recorder = Recorder()
    sink = MaskingSink(recorder, masker)

    for cell, text in pieces:
        say(sink, text, cell)
    sink.append(EventType.RUN_FINISHED, status="succeeded", reason="")

    whole = "".join(text for _, text in pieces)
    masked = recorder.text()
    assert masked == masker.mask(whole)
    for value in values:
        assert value not in masked
        assert b64(value) not in masked
        assert value not in masked.replace(RED, "")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["stdout", "stderr"]), st.text(max_size=20)), max_size=20))
def test_nothing_but_secrets_is_ever_lost(pieces: list[tuple[int, str, str]]) -> None:
    sink, recorder = masking(TOKEN="\ue000-never-printed-\ue000")

    for cell, name, text in sorted(pieces, key=lambda piece: piece[0]):
        say(sink, text, cell, name)
    sink.append(EventType.RUN_FINISHED, status="succeeded", reason="")

    for cell in range(4):
        for name in ("stdout", "stderr"):
            expected = "".join(text for c, n, text in sorted(pieces, key=lambda p: p[0]) if (c, n) == (cell, name))
            assert recorder.text(name, cell) == expected
