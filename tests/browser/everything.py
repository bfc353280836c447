"""The event log of a run that has something of everything a report can show."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

from tests.projections.conftest import Log, code, markdown

HOSTILE = """
<script>document.title = "taken"; alert(1)</script><img src=x onerror="document.title='taken'">
<iframe src="https://example.org/"></iframe><iframe srcdoc="<script>alert(2)</script>"></iframe>
<form action="https://example.org/"><input name=a autofocus onfocus=alert(3)><button>Send</button></form>
<meta http-equiv="refresh" content="0;url=https://example.org/"><base href="https://example.org/">
<link rel="stylesheet" href="https://example.org/x.css"><object data="x.swf"></object><embed src="x">
<a href="javascript:alert(4)">script</a> <a href="data:text/html,<script>alert(5)</script>">data</a>
<a href="#trouble">anchor</a> <svg onload=alert(6)><use href="https://example.org/#x"/></svg>
<div style="position:fixed;inset:0;z-index:99;background:url(https://example.org/x.png)">cover</div>
<style>@import "https://example.org/y.css"; body { display: none } .verdict { visibility: hidden }
* { background-image: url(//example.org/z.png) } + article, ~ .cell { visibility: hidden }</style>
<div class="verdict" id="gates">no section</div><math><mtext><style><img src=x onerror=alert(7)></style></mtext></math>
<h1>A heading of level 1</h1><video src="https://example.org/v.mp4" autoplay></video><p>end of what is hostile</p>
"""

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="30"><script>alert(8)</script><circle r="9"/></svg>'

HISTORY_STATUS = ("succeeded", "succeeded", "unstable", "failed", "succeeded", "succeeded", "succeeded")


def figure(number: int) -> str:
    """A real plot of 480 x 240 pixels, as the inline backend sends it."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(4.8, 2.4), layout="constrained")
    axes = drawn.add_subplot()
    axes.plot([math.sin(number + place / 9) * math.exp(-place / 60) for place in range(100)])
    axes.set(title=f"Residuals of fold {number}", xlabel="sample")
    content = io.BytesIO()
    drawn.savefig(content, format="png", dpi=100)
    return base64.b64encode(content.getvalue()).decode() + "\n"


def frames() -> tuple[str, str]:
    """A plain frame and a styled one, as pandas shows them in a notebook."""
    import pandas

    rows = {"class": ["cat", "dog", "bird", "fish"], "precision": [0.95, 0.71, 0.88, 0.64], "n": [120, 80, 60, 31]}
    frame = pandas.DataFrame(rows)
    styled = (
        frame.style.background_gradient(subset=["precision"])
        .highlight_max(subset=["n"], color="yellow")
        .bar(subset=["n"], color="#d6e8f7")
        .set_caption("By class")
        .set_table_styles([{"selector": "th", "props": [("color", "#333"), ("background-color", "#eee")]}])
    )
    return str(frame._repr_html_()), str(styled._repr_html_())


def history() -> list[dict[str, Any]]:
    """Earlier builds of the run: one that missed its gate, one that failed and has no metrics."""
    found = []
    for number, status in enumerate(HISTORY_STATUS, 41):
        metrics = {} if status == "failed" else {"accuracy": 0.9 + number % 5 / 100, "metric_03": 3 + number / 100}
        build = {"number": number, "url": f"https://jenkins.example/job/train/{number}/"}
        time = f"2026-11-{number - 30:02d}T03:00:00.000000Z"
        found.append({"id": f"run-{number}", "time": time, "status": status, "build": build, "metrics": metrics})
    return found


def everything(*, figures: int = 10) -> Log:
    """20 metrics, 3 gates of which one is missed, figures, frames, Markdown, hostile HTML, a failing cell."""
    cells = [
        markdown("# Judge it\n\nSee the [data](https://example.org/d), *n* = 291:\n\n| a | b |\n|-|-|\n| 1 | 2 |"),
        code("epochs = 15", "Parameters", tags=("parameters",)),
        code("train(epochs)", "Train"),
        markdown("### A heading that jumps\n\nwith `code` and <span style='color: #b00'>colour</span>."),
        code("plot()", "Plot the residuals"),
        code("frame.style", "Tables"),
        code("display(HTML(...))", "What others wrote"),
        code("check(frame)", "Check the data"),
        code("publish()", "Publish"),
    ]
    before = {"accuracy": {"last": 0.94, "count": 1}, "train_loss": {"last": 0.2, "count": 9}}
    log = Log(
        *cells,
        parameters={"epochs": 15, "learning_rate": 0.002},
        git={"commit": "a6ff8d75ac03", "branch": "main", "dirty": False},
        build={"job": "train", "number": 48, "url": "https://jenkins.example/job/train/48/"},
        baseline={"run": "run-47", "metrics": before},
        history=history(),
        inputs=[{"path": "data/train.csv", "sha256": "ab" * 32, "size": 123456}],
    )
    log.start().cell(1).done(1).cell(2)
    for step in range(15):
        log.add("metric", name="train_loss", value=2 * math.exp(-step / 4), step=step, cell=2)
    log.add("metric", name="accuracy", value=0.9125, step=None, cell=2)
    for number in range(3, 21):
        log.add("metric", name=f"metric_{number:02d}", value=number * 1.0625, step=None, cell=2)
    log.print("training: 100%|██████████| 15/15\n" + "a long line of output " * 30 + "\n", cell=2)
    log.print("a warning\n", cell=2, name="stderr").done(2, seconds=12.5).cell(4)
    for number in range(figures):
        log.display({"image/png": figure(number), "text/plain": "<Figure size 480x240 with 1 Axes>"}, cell=4)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="30"><script>alert(8)</script><circle r="9"/></svg>'
    )
    log.display({"image/svg+xml": svg}, cell=4).done(4).cell(5)
    for table in frames():
        log.display({"text/html": table, "text/plain": "…"}, cell=5)
    log.display(
        {"text/latex": r"$\frac{1}{n}\sum_i e_i^2$", "text/plain": "<IPython.core.display.Math object>"}, cell=5
    )
    plotly = "<div><script>Plotly.newPlot('x')</script></div>"
    log.display({"application/vnd.plotly.v1+json": {"data": []}, "text/html": plotly}, cell=5).done(5).cell(6)
    log.display({"text/html": HOSTILE, "text/plain": "hostile"}, cell=6).done(6).cell(7)
    log.print("rows: 291\n", cell=7).error(7, "AssertionError", "31 rows lack a label").done(7, "error", 0.4)
    log.add("artifact", path="model/card.json", sha256="f" * 64, size=300, media_type="application/json", cell=None)
    log.add("gate", expression="accuracy >= 0.92", value=0.9125, bound=0.92, passed=False, message="")
    log.add("gate", expression="last(train_loss) < first(train_loss)", value=0.06, bound=2.0, passed=True, message="")
    log.add("gate", expression="metric_03 <= baseline * 1.5", value=3.1875, bound=4.5, passed=True, message="")
    return log.end("failed", "Cell 6 (Check the data) failed: AssertionError: 31 rows lack a label", 1)
