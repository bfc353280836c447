"""`kernel-gateway jobs`: Jenkins jobs as code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import StorageError, UsageError
from .gateways import CONTEXT, table, with_errors
from .jobs_generate import generate

if TYPE_CHECKING:
    import jenkins

    from ..jenkins.planning import Step
    from ..jenkins.rendering import RenderedJob

DIFFERENCES = 3
"""Exit code of `jobs plan` when `jobs apply` would change something."""

HERE = "jobs"
"""Where the YAML is looked for when no path is given."""


@click.group(context_settings=CONTEXT, epilog="Example: kernel-gateway jobs plan --jenkins https://jenkins.example/")
def jobs() -> None:
    """Jenkins jobs as code: YAML of jenkins-job-builder, compared with a Jenkins and applied to it."""


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what says which jobs are meant: paths, folder, set, definitions."""
    for decorate in (
        click.argument("paths", nargs=-1, metavar="[PATHS]...", type=click.Path(path_type=Path)),
        click.option("--folder", metavar="FOLDER", default="", help="Folder on Jenkins that all jobs go below."),
        click.option("--set", "owner", metavar="NAME", help="Name of this set of jobs; default: kernel-gateway."),
        click.option(
            "--define",
            metavar="NAME=VALUE",
            multiple=True,
            help="A value instead of the one in the defaults named `global`; repeatable.",
        ),
    ):
        command = decorate(command)
    return command


def jenkins_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what says which Jenkins is meant, and who asks it."""
    for decorate in (
        click.option(
            "--jenkins", metavar="URL", help="The Jenkins; default: KERNEL_GATEWAY_JENKINS_URL, else JENKINS_URL."
        ),
        click.option("--user", metavar="NAME", help="Default: KERNEL_GATEWAY_JENKINS_USER, else JENKINS_USER."),
        click.option(
            "--token-env",
            metavar="VARIABLE",
            help="Variable with the API token; default: KERNEL_GATEWAY_JENKINS_TOKEN, else JENKINS_API_TOKEN.",
        ),
    ):
        command = decorate(command)
    return command


def change_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what widens the changes."""
    for decorate in (
        click.option("--adopt", is_flag=True, help="Take over jobs of the same names that are not of this set."),
        click.option("--prune", is_flag=True, help="Delete jobs of this set that the YAML no longer has."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each job."),
    ):
        command = decorate(command)
    return command


@jobs.command(
    context_settings=CONTEXT,
    epilog="Example: kernel-gateway jobs plan jobs --jenkins https://jenkins.example/ --folder ml",
)
@job_options
@jenkins_options
@change_options
@with_errors
def plan(as_json: bool, **options: Any) -> None:
    """Show what `jobs apply` would change. Exits with 0 if nothing, 3 if something, 1 if a job can't be had.

    PATHS are files and folders of YAML; default: jobs.
    """
    from ..jenkins.planning import CHANGES

    _, steps = _planned(**options)
    _show(steps, as_json)
    _refuse(steps)
    if any(step.action in CHANGES for step in steps):
        sys.exit(DIFFERENCES)


@jobs.command(
    context_settings=CONTEXT,
    epilog="Example: kernel-gateway jobs apply jobs --jenkins https://jenkins.example/ --folder ml",
)
@job_options
@jenkins_options
@change_options
@with_errors
def apply(as_json: bool, **options: Any) -> None:
    """Make Jenkins' jobs what the YAML says; a second time changes nothing.

    Only jobs that carry the marker of this set in their description are changed. Exits with 1 if a job can't be had.
    PATHS are files and folders of YAML; default: jobs.
    """
    from ..jenkins import clear_errors
    from ..jenkins.applying import apply_steps

    server, steps = _planned(**options)
    _show(steps, as_json)
    done = 0
    with clear_errors():
        for step in apply_steps(server, steps):
            done += 1
            click.echo(f"kernel-gateway: done: {step.action} {step.name}", err=True)
    click.echo(f"kernel-gateway: {done or 'no'} change{'' if done == 1 else 's'}.", err=True)
    _refuse(steps)


@jobs.command(context_settings=CONTEXT, epilog="Example: kernel-gateway jobs render jobs --output-dir build/jobs")
@job_options
@click.option("--output-dir", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where they go.")
@with_errors
def render(output_dir: Path, **options: Any) -> None:
    """Write each job's config.xml to DIR/JOB/config.xml; asks no Jenkins."""
    for job in _rendered(**options)[0]:
        file = output_dir / job.name / "config.xml"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(job.config, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{file} can't be written: {error.strerror}.") from None
        click.echo(file)


jobs.add_command(generate)


def _rendered(
    paths: Sequence[Path], folder: str, owner: str | None, define: Sequence[str]
) -> tuple[list[RenderedJob], str]:
    """The jobs, and the name of their set."""
    from ..jenkins.marker import DEFAULT_SET, check_set
    from ..jenkins.rendering import render_jobs

    definitions = {}
    for definition in define:
        name, equals, value = definition.partition("=")
        if not name or not equals:
            raise UsageError(f"--define takes NAME=VALUE, not {definition!r}.", field="define")
        definitions[name] = value
    owner = check_set(owner or DEFAULT_SET)
    return render_jobs(paths or [Path(HERE)], owner=owner, folder=folder, define=definitions), owner


def _planned(
    *,
    paths: Sequence[Path],
    folder: str,
    owner: str | None,
    define: Sequence[str],
    jenkins: str | None,
    user: str | None,
    token_env: str | None,
    adopt: bool,
    prune: bool,
) -> tuple[jenkins.Jenkins, list[Step]]:
    """The Jenkins and the plan for it."""
    from ..jenkins import address, clear_errors, connect
    from ..jenkins.planning import plan_jobs
    from ..jenkins.rendering import is_whole

    there = address(os.environ, url=jenkins, user=user, token_variable=token_env)
    wanted, owner = _rendered(paths, folder, owner, define)
    whole = is_whole(paths or [Path(HERE)])
    if prune and not whole:
        raise UsageError(
            "--prune takes a set of jobs as a whole: folders of YAML, or all YAML files of a folder. What a part of"
            " them lacks may stand in the others.",
            field="prune",
        )
    server = connect(there.url, there.user, there.token)
    with clear_errors():
        return server, plan_jobs(server, wanted, owner=owner, folder=folder, adopt=adopt, prune=prune, whole=whole)


def _show(steps: Sequence[Step], as_json: bool) -> None:
    if as_json:
        for step in steps:
            click.echo(json.dumps(step.as_dict(), ensure_ascii=False))
        return
    if not steps:
        click.echo("There are no jobs.", err=True)
        return
    click.echo(table([["action", "job", ""], *([step.action.value, step.name, step.reason] for step in steps)]))
    for step in steps:
        if step.differences:
            click.echo(f"\n{step.name}")
            for difference in step.differences:
                for line in difference.lines():
                    click.echo(f"  {line}")


def _refuse(steps: Sequence[Step]) -> None:
    """Ends with 1 and a sentence if there are jobs that can't be had."""
    from ..jenkins.planning import REFUSED, Action

    refused = [step for step in steps if step.action in REFUSED]
    if not refused:
        return
    names = ", ".join(step.name for step in refused)
    hint = "; --adopt takes over those that are not ours" if any(s.action is Action.NOT_OURS for s in refused) else ""
    click.echo(f"kernel-gateway: left alone: {names}. Rename them in the YAML or on Jenkins{hint}.", err=True)
    sys.exit(1)
