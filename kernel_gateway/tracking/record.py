"""A run's events as MLflow sees them: tags at its start, metrics in batches, parameters and the verdict at its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..events import Event, EventType, Status, decode_number, parse_time
from . import names

PREFIX = "kernel_gateway."
"""Prefix of the tags that are this project's."""

FROM_MLFLOW = "mlflow"
"""``source`` of metric events that were read from the MLflow run: they stand there already."""

MAX_STEP = 2**63 - 1

STATUSES = {
    Status.SUCCEEDED: "FINISHED",
    Status.UNSTABLE: "FINISHED",
    Status.CANCELLED: "KILLED",
}
"""A run's status → MLflow's, where that is not ``FAILED``."""


@dataclass(frozen=True)
class Point:
    """One value of a metric. ``timestamp``: milliseconds since 1970."""

    name: str
    value: float
    timestamp: int
    step: int

    @property
    def identity(self) -> int:
        """Equal for equal points, also when one of them has been through MLflow's database."""
        return hash((self.name, repr(names.finite(self.value)), self.timestamp, self.step))


class Record:
    """Takes a run's events in order and holds what is still to be sent.

    ``after``: the ``seq`` up to which metrics have been sent already. ``points`` are metrics not sent yet; of those
    before ``after``, ``sent`` are sent, and ``returned`` came from MLflow. The sender takes all of them away.
    """

    def __init__(self, after: int = 0) -> None:
        self.after = after
        self.seq = 0
        self.points: list[Point] = []
        self.sent: list[Point] = []
        self.returned: list[Point] = []
        self.tags: dict[str, str] = {}
        self.parameters: dict[str, str] = {}
        self.started_at = 0
        self.ended_at = 0
        self.status: Status | None = None
        self.remarks: list[str] = []
        self._reason = ""
        self._names = names.Names()
        self._told: set[str] = set()
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._gates: list[Event] = []

    def feed(self, event: Event) -> None:
        """Take the next event."""
        self.seq = event["seq"]
        type = event["type"]
        if type == EventType.METRIC:
            self._metric(event)
        elif type == EventType.RUN_QUEUED:
            self._queued(event)
        elif type == EventType.RUN_STARTED:
            self._started(event)
        elif type == EventType.GATE:
            self._gates.append(event)
        elif type == EventType.RUN_FINISHED:
            self._finished(event)

    @property
    def mlflow_status(self) -> str:
        """The status that MLflow shows for how the run ended."""
        return STATUSES.get(self.status or Status.LOST, "FAILED")

    @property
    def description(self) -> str:
        """The verdict and the gates in Markdown, as MLflow's page shows it."""
        lines = [f"**{self.status}**" + (f" — {self._reason}" if self._reason else "")]
        if self._gates:
            lines += ["", "| gate | value | bound | met |", "| --- | --- | --- | --- |"]
            for gate in self._gates:
                cells = (gate["expression"], gate["value"], gate["bound"], "yes" if gate["passed"] else "**no**")
                lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        return names.shorten("\n".join(lines))

    def _metric(self, event: Event) -> None:
        name = str(event["name"])
        position = self._counts[name]
        self._counts[name] += 1
        from_mlflow = event.get("source") == FROM_MLFLOW
        if from_mlflow and event["seq"] > self.after:
            return
        step = event.get("step")
        step = position if step is None else max(-MAX_STEP, min(int(step), MAX_STEP))
        try:
            value = float(decode_number(event["value"]))
        except (TypeError, ValueError, OverflowError):
            return
        mapped = self._names[name]
        if mapped != name and name not in self._told:
            self._told.add(name)
            self.remarks.append(f"MLflow takes no metric named {name!r}; it is {mapped!r} there.")
        point = Point(mapped, value, names.timestamp(parse_time(event["time"]).timestamp()), step)
        if from_mlflow:
            self.returned.append(point)
        elif event["seq"] <= self.after:
            self.sent.append(point)
        else:
            self.points.append(point)

    def _queued(self, event: Event) -> None:
        self.started_at = names.timestamp(parse_time(event["time"]).timestamp())
        program, provenance = event.get("program") or {}, event.get("provenance") or {}
        build, git = provenance.get("build") or {}, provenance.get("git") or {}
        commit, branch = git.get("commit") or build.get("commit"), git.get("branch") or build.get("branch")
        self._tag(
            {
                "mlflow.source.name": program.get("path") or program.get("name"),
                "mlflow.source.type": "NOTEBOOK" if program.get("format") == "notebook" else "JOB",
                "mlflow.source.git.commit": commit,
                "mlflow.source.git.branch": branch,
                "mlflow.source.git.repoURL": git.get("remote") or build.get("remote"),
                f"{PREFIX}run": event.get("run"),
                f"{PREFIX}source_digest": provenance.get("source_digest"),
                f"{PREFIX}git_dirty": git.get("dirty"),
                f"{PREFIX}report": provenance.get("report"),
                "jenkins.job": build.get("job"),
                "jenkins.build_number": build.get("number"),
                "jenkins.build_url": build.get("url"),
            }
        )
        parameter_names = names.Names()
        parameters = provenance.get("parameters") or {}
        self.parameters = {parameter_names[key]: names.parameter_value(value) for key, value in parameters.items()}
        for name, mapped in parameter_names.mapped.items():
            self.remarks.append(f"MLflow takes no parameter named {name!r}; it is {mapped!r} there.")

    def _started(self, event: Event) -> None:
        versions = event.get("versions") or {}
        self._tag(
            {
                f"{PREFIX}kernel": event.get("kernel"),
                f"{PREFIX}agent": event.get("agent"),
                f"{PREFIX}environment": ", ".join(f"{name} {version}" for name, version in versions.items()),
            }
        )

    def _finished(self, event: Event) -> None:
        self.status = Status(event["status"])
        self.ended_at = names.timestamp(parse_time(event["time"]).timestamp())
        self._reason = str(event.get("reason") or "")
        self._tag({f"{PREFIX}status": event["status"], f"{PREFIX}reason": self._reason})
        self._tag({"mlflow.note.content": self.description})

    def _tag(self, tags: Mapping[str, Any]) -> None:
        self.tags |= {key: names.shorten(str(value)) for key, value in tags.items() if value not in (None, "")}


def _cell(value: Any) -> str:
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
