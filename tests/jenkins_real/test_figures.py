"""How fast it is: what people wait for when they look at a build."""

from __future__ import annotations

import re
import statistics

import pytest

from tests.jenkins_real.conftest import NAME, Site
from tests.jenkins_real.record import Record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TICKS = 40
# Each line says when it was printed; odd pauses, so that no poll of Jenkins falls into step with them.
CODE = (
    f'import time\\nfor i in range({TICKS}):\\n    print(f"@{{time.time():.3f}}@", flush=True)\\n    time.sleep(0.37)'
)


def _lags(site: Site, name: str, body: str) -> list[float]:
    build = site.run(name, f"node('{NAME}') {{ {body} }}")
    build.wait_for("@", 300)
    lags, seen, text = [], 0, ""
    for came, piece in build.pieces():
        text += piece
        stamps = [float(stamp) for stamp in re.findall(r"^@([\d.]+)@", text, re.MULTILINE)]
        lags += [came - stamp for stamp in stamps[seen:]]
        seen = len(stamps)
    assert build.wait() == "SUCCESS"
    assert seen == TICKS, text
    return lags[TICKS // 4 :]  # the first came before anybody looked


def test_a_printed_line_reaches_the_build_log(site: Site, record: Record) -> None:
    step = _lags(site, "lag", f"kernelRun {site.where}, code: '{CODE}'")
    shell = _lags(site, "lag-sh", f"writeFile file: 'ticks.py', text: '{CODE}'\nsh 'python3 ticks.py'")

    for what, lags in (
        ("print in the kernel to line in the build's log", step),
        ("the same for `print` in a plain `sh` step", shell),
    ):
        record.figure(what, f"median {statistics.median(lags):.2f} s, longest {max(lags):.2f} s")
    assert max(step) < 30


def test_a_step_costs_little_more_than_a_plain_shell_step(site: Site, record: Record) -> None:
    script = f"""node('{NAME}') {{
        def times = [sh: [], run: []]
        kernelRun {site.where}, code: 'pass', name: 'first'
        for (int i = 0; i < 5; i++) {{
            long began = System.currentTimeMillis()
            sh 'true'
            times.sh << System.currentTimeMillis() - began
            began = System.currentTimeMillis()
            kernelRun {site.where}, code: 'pass', name: "run${{i}}"
            times.run << System.currentTimeMillis() - began
        }}
        echo "TIMES sh=${{times.sh}} run=${{times.run}}"
    }}"""
    build = site.run("overhead", script)

    assert build.wait() == "SUCCESS", build.log()
    found = re.search(r"TIMES sh=\[([\d, ]+)\] run=\[([\d, ]+)\]", build.log())
    assert found
    shell, run = (statistics.median(int(number) for number in part.split(",")) / 1000 for part in found.groups())
    record.figure("`sh 'true'`", f"{shell:.2f} s")
    record.figure("`kernelRun code: 'pass'`, whole step with all it publishes", f"{run:.2f} s")
    assert run < 60
