"""How far a long transfer is, as people see it."""

from __future__ import annotations

import io

import pytest

from kernel_gateway.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_long_transfer_shows_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("kernel_gateway.cli.progress.time.monotonic", lambda: now[0])
    terminal, log = Terminal(), io.StringIO()
    bars = [Progress("sending 2 files", 4 << 30, terminal), Progress("sending 2 files", 4 << 30, log)]
    for second in range(1, 13):
        now[0] = float(second)
        for bar in bars:
            bar.tell(1 << 28)
    for bar in bars:
        bar.close()

    assert terminal.getvalue().startswith("\r[###.....................] sending 2 files:  12% of 4.0 GiB, 256.0 MiB/s")
    assert terminal.getvalue().endswith(" 75% of 4.0 GiB, 256.0 MiB/s\x1b[K\n")
    lines = log.getvalue().splitlines()
    assert lines[0] == "kernel-gateway: sending 2 files:  31% of 4.0 GiB, 256.0 MiB/s"
    assert len(lines) == 3


def test_a_short_transfer_shows_nothing() -> None:
    log = io.StringIO()
    progress = Progress("sending", 10, log)
    progress.tell(10)
    progress.close()

    assert log.getvalue() == ""
