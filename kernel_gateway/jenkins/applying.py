"""Carries a plan out, job by job. What it did stays done when a later job fails; the next call does the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import GatewayError, UnreachableError
from .planning import CHANGES, Action, Step

if TYPE_CHECKING:
    import jenkins


def apply_steps(server: jenkins.Jenkins, steps: Sequence[Step]) -> Iterator[Step]:
    """Do each step of a plan that changes something, and yield it when it is done.

    Raises what `connect` says; an error names the job, and the steps before it are done.
    """
    import jenkins

    for step in steps:
        if step.action not in CHANGES:
            continue
        try:
            _apply(server, step)
        except (GatewayError, jenkins.JenkinsException) as error:
            kind = type(error) if isinstance(error, GatewayError) else UnreachableError
            raise kind(f"{step.name}: {error}") from None
        yield step


def _apply(server: jenkins.Jenkins, step: Step) -> None:
    if step.action is Action.DELETE:
        server.delete_job(step.name)
    elif step.config is None:
        server.create_folder(step.name)
    elif step.action is Action.CREATE:
        server.create_job(step.name, step.config)
    else:
        server.reconfig_job(step.name, step.config)
