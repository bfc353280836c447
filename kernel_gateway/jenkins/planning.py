"""What `jobs apply` would do: each job of the YAML beside the one of that name on Jenkins. Reads, never writes."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .comparison import FOLDER, Difference, differences, keep_settings_of_people, parse_config
from .marker import set_of
from .rendering import RenderedJob

if TYPE_CHECKING:
    import jenkins

LEVELS = 6
"""Depth of folders below which jobs that are gone from the YAML are looked for."""


class Action(StrEnum):
    """What is to be done with one job."""

    CREATE = "create"
    UPDATE = "update"
    ADOPT = "adopt"
    DELETE = "delete"
    UNCHANGED = "unchanged"
    GONE = "gone"
    NOT_OURS = "not ours"
    OTHER_KIND = "other kind"


CHANGES = frozenset({Action.CREATE, Action.UPDATE, Action.ADOPT, Action.DELETE})
"""Actions that change something on Jenkins."""

REFUSED = frozenset({Action.NOT_OURS, Action.OTHER_KIND})
"""Jobs that are wanted but can't be had: they are left alone, and the command ends with an error."""


@dataclass(frozen=True)
class Step:
    """One job's part of a plan. ``config`` is what Jenkins is sent for it, None where nothing is."""

    action: Action
    name: str
    reason: str = ""
    config: str | None = None
    differences: Sequence[Difference] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        """The step as `--json` prints it."""
        changes = [{"path": one.path, "old": one.old, "new": one.new} for one in self.differences]
        return {"job": self.name, "action": self.action.value, "reason": self.reason, "differences": changes}


def plan_jobs(
    server: jenkins.Jenkins,
    jobs: Sequence[RenderedJob],
    *,
    owner: str,
    folder: str = "",
    adopt: bool = False,
    prune: bool = False,
    whole: bool = True,
) -> list[Step]:
    """What to do so that Jenkins has these jobs; folders first, then jobs by name, then what is gone from the YAML.

    ``owner`` is the set that the jobs' marker names. ``adopt`` takes over jobs of the same names that are not ours,
    ``prune`` deletes jobs of the set, below ``folder``, that the YAML no longer has; without ``whole`` the jobs are a
    part of their set, and nothing is looked for that is gone. Raises what `connect` says, and
    `UsageError` when a folder of the YAML is something else on Jenkins.
    """
    steps = [*_folders(server, jobs), *(_step(server, job, owner, adopt) for job in jobs)]
    wanted = {job.name for job in jobs}
    if not whole:
        return steps
    for name, holds_jobs in sorted(_owned(server, owner, folder)):
        if name in wanted:
            continue
        reason = f"its YAML is gone from the set {owner}"
        if prune and not holds_jobs:
            steps.append(Step(Action.DELETE, name, reason))
        else:
            how = "delete this folder by hand" if holds_jobs else "--prune deletes it"
            steps.append(Step(Action.GONE, name, f"{reason}; {how}"))
    return steps


def _step(server: jenkins.Jenkins, job: RenderedJob, owner: str, adopt: bool) -> Step:
    there = _config(server, job.name)
    if there is None:
        return Step(Action.CREATE, job.name, "", job.config)
    wanted = job.root
    if there.tag != wanted.tag:
        reason = f"there it is a {_kind(there)}, in the YAML a {_kind(wanted)}; delete or rename the one there first"
        return Step(Action.OTHER_KIND, job.name, reason)
    its_set = set_of(there.findtext("description"))
    if its_set != owner and not adopt:
        whose = f"it belongs to the set {its_set}" if its_set else "it was not made by `jobs apply`"
        return Step(Action.NOT_OURS, job.name, whose)
    found = differences(there, wanted)
    if not found:
        return Step(Action.UNCHANGED, job.name)
    keep_settings_of_people(there, wanted)
    config = '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(wanted, encoding="unicode") + "\n"
    return Step(Action.UPDATE if its_set == owner else Action.ADOPT, job.name, "", config, found)


def _folders(server: jenkins.Jenkins, jobs: Sequence[RenderedJob]) -> Iterator[Step]:
    """A step for each folder that is missing, outer ones first; folders that the YAML itself defines are jobs of it."""
    defined = {job.name for job in jobs}
    missing: list[str] = []
    seen: set[str] = set()
    for job in jobs:
        parts = job.name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            name = "/".join(parts[:depth])
            if name in seen or name in defined:
                continue
            seen.add(name)
            there = None if "/".join(parts[: depth - 1]) in missing else _config(server, name)
            if there is None:
                missing.append(name)
                yield Step(Action.CREATE, name, "folder")
            elif there.tag != FOLDER:
                raise UsageError(f"{name} can't hold jobs: on Jenkins it is a {_kind(there)}.", field="folder")


def _config(server: jenkins.Jenkins, name: str) -> ElementTree.Element | None:
    """The config.xml of a job as a tree; None when there is no such job."""
    import jenkins

    try:
        return parse_config(server.get_job_config(name))
    except jenkins.NotFoundException:
        return None


def _owned(server: jenkins.Jenkins, owner: str, folder: str) -> Iterator[tuple[str, bool]]:
    """Names of the jobs below a folder that carry the marker of a set, and whether other jobs are below them.

    One request tells all.
    """
    import jenkins

    fields = "name,description"
    query = f"jobs[{fields}]"
    for _ in range(LEVELS):
        query = f"jobs[{fields},{query}]"
    parts = [part for part in folder.split("/") if part]
    try:
        answer = server.get_info("/".join(f"job/{part}" for part in parts), query=f"?tree={query}")
    except jenkins.NotFoundException:
        return
    waiting = [(parts, answer)]
    while waiting:
        above, item = waiting.pop()
        for child in item.get("jobs") or []:
            path = [*above, child["name"]]
            if set_of(child.get("description")) == owner:
                yield "/".join(path), "jobs" in child
            waiting.append((path, child))


def _kind(root: ElementTree.Element) -> str:
    names = {"flow-definition": "pipeline", "project": "freestyle project", FOLDER: "folder"}
    return names.get(root.tag, root.tag.rpartition(".")[2])
