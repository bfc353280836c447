"""`kernel-gateway mlflow`: runs whose MLflow did not answer are sent later."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .. import tracking
from ..errors import GatewayError, UsageError
from ..settings import Settings
from . import fail


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def mlflow() -> None:
    """What `kernel-gateway run --mlflow` could not send.

    Example: kernel-gateway mlflow send kernel-runs/train
    """


@mlflow.command()
@click.argument("folders", nargs=-1, required=True, metavar="RUN_FOLDER...")
@click.option(
    "--mlflow", "uri", metavar="URI", help="Tracking URI; default: KERNEL_GATEWAY_MLFLOW, else the run's own."
)
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=600.0, show_default=True, metavar="S")
def send(folders: tuple[str, ...], uri: str | None, timeout: float) -> None:
    """Send what is missing of runs that have ended, as the results in each RUN_FOLDER tell.

    Nothing arrives twice. Exits with 6 if MLflow still does not answer.

    \b
    Example:
      kernel-gateway mlflow send kernel-runs/train
    """
    try:
        if not tracking.is_installed():
            raise UsageError(f"This needs MLflow's client: {tracking.INSTALL_HINT}")
        left = [folder for folder in folders if not _send(Path(folder), uri, timeout)]
    except GatewayError as error:
        fail(str(error), error.exit_code)
        return
    if left:
        fail(f"not all of {', '.join(left)} has reached MLflow.", 6)


def _send(folder: Path, uri: str | None, timeout: float) -> bool:
    from ..tracking.client import TrackerClient
    from ..tracking.note import FILE, Note
    from ..tracking.uris import tracking_uri

    note = Note.read(folder)
    if note is None:
        raise UsageError(f"{folder} holds no {FILE}: no run there was to go to MLflow.")
    if note.complete:
        click.echo(f"{folder}: all of it is in MLflow already (run {note.run_id}).")
        return True
    place = uri or Settings.from_environ(os.environ).mlflow or note.uri
    client = TrackerClient.start(tracking_uri(place, os.environ), os.environ)
    try:
        answer = client.answer(client.ask("send", folder=str(folder.absolute()), seconds=timeout), timeout + 5)
    finally:
        client.close()
    if answer is None or "error" in answer:
        click.echo(f"kernel-gateway: {answer['error'] if answer else 'MLflow took too long.'}", err=True)
        return False
    for remark in answer["remarks"]:
        click.echo(f"kernel-gateway: {remark}", err=True)
    if answer["complete"]:
        click.echo(f"{folder}: sent, MLflow run {answer['run_id']}.")
    elif answer["problem"]:
        click.echo(f"kernel-gateway: MLflow can't be reached: {answer['problem']}", err=True)
    return bool(answer["complete"])
