"""MLflow for `kernel-gateway run` on this machine: what `--mlflow` and its companions ask for, checked, and a tracker
process for as long as the command runs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import tracking
from ..errors import UsageError
from ..runner.ending import Cancellation
from ..settings import RunOptions, Settings
from ..tracking.client import TrackerClient, Tracking, attachment_of, experiment_of
from ..tracking.note import FILE
from ..tracking.uris import OFF

if TYPE_CHECKING:
    from ..store.baseline import Baseline

CANCELLED_SECONDS = 3.0
"""Seconds that a cancelled command waits for the rest to reach MLflow."""

ANSWER_SECONDS = 5.0
"""Seconds that MLflow has for one answer."""

NEW_DATABASE_SECONDS = 60.0
"""Seconds that a first cell waits for a SQLite database which is being made: a program must not make it too."""


def check(options: RunOptions, settings: Settings) -> RunOptions:
    """The options with the baseline as a reference, and MLflow's place from the settings if they name none.

    Raises `UsageError` for what can't work together.
    """
    options = _checked(options)
    uri = options.mlflow or settings.mlflow or None
    if uri in (None, OFF):
        for option, used in (("--register", options.register), ("--baseline", _baseline_in_mlflow(options))):
            if used:
                raise UsageError(
                    f"{option} needs MLflow: name its tracking URI with --mlflow, or write --mlflow local.",
                    field=option.strip("-"),
                )
    elif not tracking.is_installed():
        raise UsageError(f"--mlflow needs MLflow's client: {tracking.INSTALL_HINT}", field="mlflow")
    return replace(options, mlflow=None if uri == OFF else uri)


def check_remote(options: RunOptions) -> RunOptions:
    """The same for a run on a gateway, which has an MLflow of its own or none. Raises `UsageError`."""
    if options.mlflow:
        raise UsageError(
            "--mlflow is for runs on this machine; a gateway tracks its runs where its own setting mlflow says.",
            field="mlflow",
        )
    return _checked(options)


def _checked(options: RunOptions) -> RunOptions:
    from ..tracking import comparison, names

    if options.promote and not options.register:
        raise UsageError("--promote needs --register NAME: an alias belongs to a registered model.", field="promote")
    for option, value, problem in (
        ("register", options.register, names.model_problem),
        ("promote", options.promote, names.alias_problem),
    ):
        if value and (why := problem(value)):
            raise UsageError(f"--{option} {value!r}: {why}.", field=option)
    baseline = options.baseline
    if baseline and not comparison.is_mlflow(baseline) and not results_file(baseline).is_file():
        if not options.register:
            raise UsageError(
                f"--baseline {baseline}: there is no such results folder or run.json. Name one, an MLflow run, "
                "models:/NAME@ALIAS, or an alias together with --register NAME.",
                field="baseline",
            )
        baseline = f"models:/{options.register}@{baseline}"
    if baseline and comparison.is_mlflow(baseline) and not comparison.is_well_formed(baseline):
        raise UsageError(
            f"--baseline {baseline}: write models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID.", field="baseline"
        )
    return replace(options, baseline=baseline)


def _baseline_in_mlflow(options: RunOptions) -> str | None:
    from ..tracking import comparison

    return options.baseline if options.baseline and comparison.is_mlflow(options.baseline) else None


def results_file(baseline: str) -> Path:
    """The ``run.json`` that `--baseline` may name, by itself or by its folder."""
    path = Path(baseline)
    return path / "run.json" if path.is_dir() else path


def named_baseline(options: RunOptions) -> Baseline | None:
    """The baseline in a results folder that `--baseline` names, or None if it names none. Raises `UsageError`."""
    from ..tracking.comparison import is_mlflow

    if not options.baseline or is_mlflow(options.baseline):
        return None
    import orjson

    from ..store.baseline import Baseline

    file = results_file(options.baseline)
    try:
        record = orjson.loads(file.read_bytes())
        return Baseline.from_dict({"run": record["id"], "metrics": record["metrics"]})
    except OSError as error:
        raise UsageError(f"--baseline: {file} can't be read: {error.strerror}.", field="baseline") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"--baseline: {file} is no run.json of this command.", field="baseline") from error


def start(options: RunOptions, settings: Settings, environ: Mapping[str, str], run: str, folder: Path) -> Tracking:
    """Start a tracker process for one run. Raises `UsageError` for a URI that is none."""
    from ..runner.provenance import jenkins_build
    from ..tracking.uris import is_being_made, tracking_uri

    uri = tracking_uri(options.mlflow or "", environ)
    experiment = experiment_of(environ, jenkins_build(environ), options.name)
    new = is_being_made(uri)
    client = TrackerClient.start(uri, environ, ANSWER_SECONDS)
    patience = max(settings.mlflow_patience, NEW_DATABASE_SECONDS) if new else settings.mlflow_patience
    return Tracking(client, uri, run, folder, experiment, options.name, patience, wait=new)


def send_rest(tracked: Tracking, folder: Path, settings: Settings, cancel: Cancellation) -> None:
    """All results are there: wait until they are in MLflow too, for a while, and say so if they are not."""
    deadline = time.monotonic() + settings.mlflow_send_seconds
    number = tracked.client.ask("finish", run=tracked.run, seconds=settings.mlflow_send_seconds)
    answer = None
    while answer is None and time.monotonic() < deadline:
        if cancel.count:
            deadline = min(deadline, time.monotonic() + CANCELLED_SECONDS)
        answer = tracked.client.answer(number, min(0.2, max(0.0, deadline - time.monotonic())))
    for remark in (answer or {}).get("remarks") or ():
        click.echo(f"kernel-gateway: {remark}", err=True)
    if not (answer or {}).get("complete"):
        why = f" ({answer['problem']})" if answer and answer.get("problem") else ""
        click.echo(
            f"kernel-gateway: not all of this run has reached MLflow{why}. What is missing is kept in {folder / FILE} "
            f"and the event log; send it with: kernel-gateway mlflow send {folder}",
            err=True,
        )
    elif found := attachment_of(answer or {}):
        click.echo(f"mlflow    {found.place}")
