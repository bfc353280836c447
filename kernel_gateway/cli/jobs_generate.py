"""`kernel-gateway jobs generate`: the job of one notebook."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import SourceError, StorageError, UsageError
from .gateways import CONTEXT, with_errors

if TYPE_CHECKING:
    from ..jenkins.generating import Generated, Place
    from ..sources import Program

BRANCH = "main"
"""Branch that a job builds when neither the user nor git names one."""


@click.command(
    context_settings=CONTEXT, epilog="Example: kernel-gateway jobs generate train.ipynb --output-dir jobs --name churn"
)
@click.argument("notebook", metavar="NOTEBOOK", type=click.Path(path_type=Path))
@click.option(
    "--output-dir", metavar="DIR", default="jobs", type=click.Path(path_type=Path), help="Where they go; default: jobs."
)
@click.option("--name", metavar="NAME", help="The job's name; default: the notebook's.")
@click.option("--repository", metavar="URL", help="The notebook's git repository; default: the remote of this clone.")
@click.option("--branch", metavar="NAME", help="The branch to build; default: the one that is checked out.")
@click.option("--credentials", metavar="ID", default="", help="Id of Jenkins' credentials for the repository.")
@click.option("--force", is_flag=True, help="Write over files that are there.")
@with_errors
def generate(
    notebook: Path,
    output_dir: Path,
    name: str | None,
    repository: str | None,
    branch: str | None,
    credentials: str,
    force: bool,
) -> None:
    """Write NAME.yaml and NAME.Jenkinsfile for a NOTEBOOK: its parameters cell becomes the build's parameters."""
    from ..jenkins.generating import generate, job_name
    from ..jenkins.rendering import check_name

    program = _program(notebook)
    job = name or job_name(program.name)
    check_name(job)
    if "/" in job:
        raise UsageError("--name is the job's own name; a folder is named by `jobs apply --folder`.", field="name")
    files = [output_dir / f"{job}.yaml", output_dir / f"{job}.Jenkinsfile"]
    there = [file for file in files if file.exists()]
    if there and not force:
        raise UsageError(f"{there[0]} is there already; --force writes over it.", field="output_dir")
    place = _place(notebook, files[1], repository, branch, credentials)
    made = generate(program, place, name=job)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        for file, text in zip(files, (made.yaml, made.jenkinsfile), strict=True):
            file.write_text(text, encoding="utf-8")
            click.echo(file)
    except OSError as error:
        raise StorageError(f"{output_dir} can't be written: {error.strerror}.") from None
    _tell(made, place)


def _program(notebook: Path) -> Program:
    from ..sources import load_source

    try:
        content = notebook.read_bytes()
    except OSError as error:
        raise SourceError(f"{notebook} can't be read: {error.strerror}.", field="notebook") from None
    return load_source(content, name=notebook.stem, path=str(notebook), suffix=notebook.suffix)


def _place(notebook: Path, script: Path, repository: str | None, branch: str | None, credentials: str) -> Place:
    """Where Jenkins finds the files: below the root of their git repository."""
    from ..jenkins.generating import Place
    from ..runner.provenance import git_state

    folder = notebook.absolute().parent
    root = next((above for above in (folder, *folder.parents) if (above / ".git").exists()), None)
    state = (git_state(folder) if root else None) or {}
    repository = repository or state.get("remote")
    if not repository:
        raise UsageError(
            f"{notebook} is in no clone of a git repository with a remote: give --repository URL.", field="repository"
        )
    root = root or Path.cwd()
    return Place(
        notebook=_below(notebook, root),
        repository=repository,
        branch=branch or state.get("branch") or BRANCH,
        script=_below(script, root),
        credentials=credentials,
    )


def _below(path: Path, root: Path) -> str:
    """A path as the repository has it. Raises `UsageError` when it lies elsewhere."""
    whole = Path(os.path.normpath(path.absolute()))
    if not whole.is_relative_to(root):
        raise UsageError(
            f"{path} is not below {root}. The notebook and its Jenkinsfile must be in one repository.",
            field="output_dir",
        )
    return whole.relative_to(root).as_posix()


def _tell(made: Generated, place: Place) -> None:
    for one in made.left_out:
        click.echo(f"kernel-gateway: {one.name} is no parameter of the build: {one.reason}.", err=True)
    count = len(made.parameters)
    click.echo(
        f"kernel-gateway: the job {made.name!r} has {count or 'no'} parameter{'' if count == 1 else 's'} and builds"
        f" {place.branch} of {place.repository}. Commit both files, then: kernel-gateway jobs apply.",
        err=True,
    )
