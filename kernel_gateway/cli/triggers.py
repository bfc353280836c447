"""`kernel-gateway triggers`: look at what a ``triggers.yaml`` watches, and start Jenkins jobs when it has changed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..settings import PREFIX, Settings
from .gateways import CONTEXT, connect, gateway_option, with_errors

if TYPE_CHECKING:
    from ..jenkins.triggers.builds import Builds
    from ..tracking.catalogue import Catalogue

DEFAULT_FILE = "triggers.yaml"


@click.group(context_settings=CONTEXT, epilog="Example: kernel-gateway triggers check --dry-run")
def triggers() -> None:
    """Start Jenkins jobs when data, code or a model has changed (triggers.yaml)."""


@triggers.command(
    context_settings=CONTEXT,
    epilog="\b\nExample:\n  kernel-gateway triggers check triggers.yaml --state /srv/triggers.json",
)
@click.argument("file", default=DEFAULT_FILE, metavar="[FILE]", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Look and tell; start nothing, remember nothing.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this trigger; repeatable.")
@click.option("--state", metavar="FILE", type=click.Path(path_type=Path), help="Where it is kept what was acted on.")
@click.option("--jenkins", metavar="URL", help="Jenkins; default: the file's own, else KERNEL_GATEWAY_JENKINS_URL.")
@click.option("--user", metavar="NAME", help="User of Jenkins; the API token: KERNEL_GATEWAY_JENKINS_TOKEN.")
@click.option("--token-env", metavar="NAME", help="Variable that holds the API token instead.")
@click.option("--mlflow", metavar="URI", help="MLflow of the conditions on models; default: KERNEL_GATEWAY_MLFLOW.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each trigger, a line each.")
@gateway_option
@with_errors
def check(file: Path, dry_run: bool, only: tuple[str, ...], state: Path | None, as_json: bool, **places: Any) -> None:
    """Look at all that FILE watches (default: triggers.yaml), and start what is due.

    Exits with 0 when there was nothing to do, with 3 when a build was started, or would have been with --dry-run.
    """
    from ..jenkins.triggers import check as checking
    from ..jenkins.triggers import table
    from ..jenkins.triggers.file import read_file
    from ..jenkins.triggers.state import opened

    plan = checking.chosen(read_file(file), only)
    surroundings = checking.Surroundings(
        environ=os.environ,
        builds=_builds(places["jenkins"] or plan.jenkins, places["user"] or plan.user, places["token_env"]),
        catalogue=_catalogue(places["mlflow"]),
        gateway_success=_gateway_success(places["gateway"]),
    )
    with opened(state or state_file(file), only_read=dry_run) as remembered:
        outcomes = checking.check(plan, remembered, surroundings, dry_run=dry_run)
    if as_json:
        for outcome in outcomes:
            click.echo(json.dumps(table.as_json(outcome, dry_run), ensure_ascii=False))
    else:
        click.echo(table.render(outcomes, dry_run))
    for sentence in table.warnings(outcomes):
        click.echo(f"kernel-gateway: {sentence}", err=True)
    exit_code = checking.exit_code(outcomes)
    if checking.hangs():  # what is to be remembered stands in the file; nobody waits for a source that never answers
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    sys.exit(exit_code)


def state_file(file: Path) -> Path:
    """Where a file's triggers remember, if nothing else is said: beside it."""
    return file.with_name(f"{file.stem}.state.json")


def _builds(url: str | None, user: str | None, token_variable: str | None) -> Callable[[], Builds]:
    @cache
    def builds() -> Builds:
        from ..jenkins.connection import address
        from ..jenkins.connection import connect as connect_jenkins
        from ..jenkins.triggers.builds import Builds

        place = address(os.environ, url=url, user=user, token_variable=token_variable)
        return Builds(connect_jenkins(place.url, place.user, place.token))

    return builds


def _catalogue(uri: str | None) -> Callable[[], Catalogue]:
    @cache
    def catalogue() -> Catalogue:
        return open_mlflow(uri)

    return catalogue


def open_mlflow(uri: str | None, fallback: str = "") -> Catalogue:
    """MLflow where an option, a setting or MLflow's own variable says. Raises `UsageError` when none does."""
    from .. import tracking
    from ..tracking.uris import tracking_uri

    place = uri or Settings.from_environ(os.environ).mlflow or os.environ.get("MLFLOW_TRACKING_URI") or fallback
    if not place:
        raise UsageError(f"No MLflow is named: give --mlflow URI, or set {PREFIX}MLFLOW.", field="mlflow")
    if not tracking.is_installed():
        raise UsageError(f"This needs MLflow's client: {tracking.INSTALL_HINT}", field="mlflow")
    from ..tracking.catalogue import open_catalogue

    return open_catalogue(tracking_uri(place, os.environ))


def _gateway_success(url: str | None) -> Callable[[str], float | None]:
    def success(name: str) -> float | None:
        from datetime import datetime

        with connect(url) as client:
            for run in client.runs(name=name, status="succeeded", limit=1):
                ended = run.finished or run.created
                return datetime.fromisoformat(ended).timestamp() if ended else None
        return None

    return success
