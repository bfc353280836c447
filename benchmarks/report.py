"""Samples become ratios, a Markdown table, a plot, and the numbers of docs/performance.md."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

BEGIN, END = "<!-- results: benchmarks/run --docs writes from here -->", "<!-- to here -->"

Samples = dict[str, list[dict[str, Any]]]


def ratios(samples: Samples, key: str = "seconds") -> dict[str, float]:
    """Contender → ours divided by theirs, the median over rounds; both of a round ran within the same minute."""
    found = {}
    for name, theirs in samples.items():
        if name == "ours" or "ours" not in samples:
            continue
        pairs = zip(samples["ours"], theirs, strict=False)
        if values := [ours[key] / other[key] for ours, other in pairs if ours[key] and other[key]]:
            found[name] = median(values)
    return found


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def markdown(result: dict[str, Any]) -> str:
    """The tables: what was measured where, ratios first, then seconds, memory, loss and latency."""
    about, workloads = result["about"], result["workloads"]
    lines = [
        f"- {about['date']}, commit {about['commit']}, `{about['command']}`",
        f"- {about['machine']}; load {about['load_before']:.1f} before, {about['load_after']:.1f} after",
        "- " + ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        "",
        "| workload | ours ÷ theirs, whole command | rounds |",
        "| --- | --- | --- |",
    ]
    for workload in workloads.values():
        samples = workload["samples"]
        if "delays" in workload or _delays(samples):
            continue
        cells = {f"{name}, cells only": value for name, value in ratios(samples, "cells").items()}
        shown = ", ".join(f"{name} **{value:.2f}**" for name, value in (ratios(samples) | cells).items())
        lines.append(f"| {workload['title']} | {shown or '–'} | {len(samples.get('ours', []))} |")
    lines += ["", "| workload | contender | seconds (least to most) | cells, s | peak memory, MB | loss |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for workload in workloads.values():
        for name, samples in workload["samples"].items():
            lines.append(f"| {workload['title']} | {name} | {_row(samples)} |")
    late = [(w["title"], name, values) for w in workloads.values() for name, values in _delays(w["samples"]).items()]
    if late:
        lines += ["", "| a flushed print until its line is here | median, ms | 99 of 100 within, ms | lines |"]
        lines.append("| --- | --- | --- | --- |")
        for _, name, values in late:
            lines.append(f"| {name} | {median(values):.1f} | {percentile(values, 0.99):.1f} | {len(values)} |")
    return "\n".join(lines) + "\n"


def _delays(samples: Samples) -> dict[str, list[float]]:
    found = {name: [delay for sample in all_of for delay in sample["delays"]] for name, all_of in samples.items()}
    return {name: values for name, values in found.items() if values}


def _row(samples: list[dict[str, Any]]) -> str:
    seconds = [sample["seconds"] for sample in samples]
    cells = [sample["cells"] for sample in samples if sample["cells"]]
    losses = [sample["loss"] for sample in samples if sample["loss"] is not None]
    return " | ".join(
        [
            f"{median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})",
            f"{median(cells):.2f}" if cells else "",
            f"{peak:.0f}" if (peak := median(sample["peak_mb"] for sample in samples)) else "",
            ("none" if not any(losses) else f"{max(losses):.1%}") if losses else "",
        ]
    )


def plot(result: dict[str, Any], path: Path) -> None:
    """Seconds by workload and contender, each round a dot, the median a bar; SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"
    from matplotlib import pyplot

    shown = [w for w in result["workloads"].values() if not _delays(w["samples"])]
    if not shown:
        return
    figure, axes = pyplot.subplots(len(shown), 1, figsize=(8, 0.6 + 1.5 * len(shown)), squeeze=False)
    for axis, workload in zip(axes[:, 0], shown, strict=True):
        # What runs once takes minutes and would squeeze all others.
        rows = [(name, samples) for name, samples in workload["samples"].items() if len(samples) > 1 or name == "ours"]
        for place, (name, samples) in enumerate(reversed(rows)):
            seconds = [sample["seconds"] for sample in samples]
            axis.barh(place, median(seconds), height=0.6, color="#2a6f97" if name == "ours" else "#b8c4cc")
            axis.plot(seconds, [place] * len(seconds), ".", color="#333333", markersize=3)
        axis.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
        axis.set_title(workload["title"], loc="left", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    axes[-1, 0].set_xlabel("seconds, whole command (bar: median, dots: rounds)", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def renew_page(page: Path, text: str) -> None:
    """Replace the measured part of the page. Raises ValueError if its marks are gone."""
    content = page.read_text(encoding="utf-8")
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has lost the marks between which the results stand")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
