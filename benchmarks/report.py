"""The results as Markdown, and the numbers of docs/performance.md. Computed from ``results.json`` alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from .about import QUIET
from .samples import Samples, delays, middle, percentile, ratio, values
from .targets import verdicts

BEGIN, END = "<!-- results: benchmarks/run --docs writes from here -->", "<!-- to here -->"

MEASURES = {"seconds": "whole command", "first": "first output", "cells": "cells only"}


def markdown(result: dict[str, Any]) -> str:
    """What was measured where; then the targets, the ratios, and the figures that they come from."""
    parts = [
        _where(result),
        "### Must show\n\n" + _targets(result),
        "### Ratios\n\nOurs ÷ theirs, below 1 ours is faster.\n\n" + _ratios(result),
        "### Seconds, memory and loss\n\n" + _figures(result),
    ]
    if late := _delays(result):
        parts.append("### Milliseconds\n\n" + late)
    if memory := _memory(result):
        parts.append("### Memory of a kernel\n\n" + memory)
    return "\n\n".join(parts) + "\n"


def _where(result: dict[str, Any]) -> str:
    about = result["about"]
    sandbox = "in a sandbox" if about["sandbox"] else "without a sandbox"
    load = f"load {about['load_before']:.1f} before, {about['load_after']:.1f} after"
    lines = [
        f"- {about['date']}, commit {about['commit']}, `{about['command']}`",
        f"- {about['machine']}; {load}; took {about['took'] / 60:.0f} minutes; the service's kernels {sandbox}",
    ]
    for name, versions in ({"here": about["versions"]} | about["environments"]).items():
        lines.append(f"- {name}: " + ", ".join(f"{package} {version}" for package, version in versions.items()))
    if about["load_before"] > QUIET:
        lines.append(f"- **The machine was not quiet**: load {about['load_before']:.1f} before the first round.")
    if about["quick"]:
        lines.append("- **A smoke test of small workloads**: no figure here says anything about speed.")
    for name, contestant in result["contestants"].items():
        if contestant["obstacle"]:
            lines.append(f"- **{name}** did not take part. {contestant['obstacle']}")
    for workload in result["workloads"].values():
        for name, failure in workload["failures"].items():
            lines.append(f"- **{name} failed** in “{workload['title']}”: {_one_line(failure)}")
    return "\n".join(lines)


def _targets(result: dict[str, Any]) -> str:
    rows = []
    for verdict in verdicts(result):
        target = verdict.target
        aim = f"{'≥' if target.least else '≤'} {target.bound:g}{target.unit}"
        if verdict.figure is None:
            rows.append([target.what, aim, "not measured", ""])
        else:
            shown = f"{verdict.figure:.{target.digits}f}{target.unit}"
            rows.append([target.what, aim, f"{shown} ({verdict.of})", "met" if verdict.met else "**not met**"])
    return table(["aim", "bound", "measured", ""], rows)


def _ratios(result: dict[str, Any]) -> str:
    ours = [name for name, contestant in result["contestants"].items() if contestant["ours"]]
    rows = []
    for workload in result["workloads"].values():
        samples: Samples = workload["samples"]
        if any(map(delays, samples.values())):  # where the time of single lines counts, the whole says nothing
            continue
        for key, measure in MEASURES.items():
            for peer in (name for name in samples if name not in ours):
                found = [ratio(samples.get(name, []), samples[peer], key) for name in ours]
                if any(value is not None for value in found):
                    shown = [_number(value, 2) for value in found]
                    rows.append([workload["title"], measure, peer, *shown])
    return table(["workload", "of", "beside", *ours], rows)


def _figures(result: dict[str, Any]) -> str:
    rows = []
    for workload in result["workloads"].values():
        for name, samples in workload["samples"].items():
            if seconds := values(samples, "seconds"):
                lost = values(samples, "lost")
                rows.append(
                    [
                        workload["title"],
                        name,
                        str(len(samples)),
                        f"{median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})",
                        _number(middle(samples, "first"), 2),
                        _number(middle(samples, "cells"), 2),
                        _number(max(values(samples, "runner_mb"), default=None), 0),
                        _number(max(values(samples, "tree_mb"), default=None), 0),
                        f"{max(lost):,.0f}" if lost else "",
                    ]
                )
    head = ["workload", "contestant", "rounds", "seconds (least to most)", "first output, s", "cells, s"]
    return table([*head, "runner, peak MB", "all, peak MB", "lines lost"], rows)


def _delays(result: dict[str, Any]) -> str:
    rows = []
    for workload in result["workloads"].values():
        for name, samples in workload["samples"].items():
            if found := delays(samples):
                shown = [f"{percentile(found, share):.1f}" for share in (0.5, 0.99)]
                rows.append([workload["title"], name, *shown, f"{max(found):.1f}", str(len(found))])
    return table(["what", "contestant", "p50", "p99", "most", "number"], rows) if rows else ""


def _memory(result: dict[str, Any]) -> str:
    rows = []
    for workload in result["workloads"].values():
        for name, samples in workload["samples"].items():
            idle, running = middle(samples, "idle_mb"), middle(samples, "running_mb")
            if running is not None:
                rows.append([name, _number(idle, 0), _number(running, 0)])
    return (
        table(["contestant", "one kernel kept ready, MB", "one run more, its command included, MB"], rows)
        if rows
        else ""
    )


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return ""
    # A hundredth of a peer's time must not be shown as nothing.
    return f"{value:.{digits}f}" if value >= 0.1 or digits == 0 else f"{value:.{digits + 1}f}"


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    words = words if len(words) <= 500 else f"{words[:120]} … {words[-370:]}"
    return words.replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def renew_page(page: Path, text: str) -> None:
    """Replace the measured part of the page. Raises ValueError if its marks are gone."""
    content = page.read_text(encoding="utf-8")
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has lost the marks between which the results stand")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
