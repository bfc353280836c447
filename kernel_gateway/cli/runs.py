"""`kernel-gateway runs`: the runs of a gateway."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..events import Status
from .gateways import CONTEXT, connect, gateway_option, table, with_errors

if TYPE_CHECKING:
    from ..client import Run

STATUSES = [status.value for status in Status]


@click.group(context_settings=CONTEXT, epilog="Example: kernel-gateway runs list --status failed")
def runs() -> None:
    """Show and control the runs of a gateway (--gateway URL, token in KERNEL_GATEWAY_TOKEN)."""


@runs.command("list", context_settings=CONTEXT, epilog="Example: kernel-gateway runs list --name train --limit 10")
@click.option("--name", metavar="NAME", help="Only runs of this name.")
@click.option(
    "--status",
    type=click.Choice(STATUSES),
    metavar="STATUS",
    help="Only runs with this status.",
)
@click.option("--build", metavar="BUILD", help="Only runs of this Jenkins build: its BUILD_TAG.")
@click.option("--limit", type=click.IntRange(min=1), default=20, metavar="N", help="At most so many; default 20.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with all that the gateway tells.")
@gateway_option
@with_errors
def list_runs(gateway: str | None, as_json: bool, **filters: Any) -> None:
    """List runs, newest first."""
    with connect(gateway) as client:
        rows = [["run", "name", "status", "created", "seconds", "reason"]]
        for run in client.runs(**filters):
            if as_json:
                click.echo(json.dumps(run.raw, ensure_ascii=False))
            else:
                rows.append(_row(run))
    if len(rows) > 1:
        click.echo(table(rows))
    elif not as_json:
        click.echo("There are no such runs.", err=True)


def _row(run: Run) -> list[str]:
    seconds = "" if run.seconds is None else f"{run.seconds:.1f}"
    reason = " ".join(run.reason.split())
    return [
        run.id,
        _short(run.name, 30),
        run.status,
        (run.created or "")[:19].replace("T", " "),
        seconds,
        _short(reason, 60),
    ]


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


@runs.command(context_settings=CONTEXT, epilog="Example: kernel-gateway runs show 20261121-073012-9f3a1c2b")
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@gateway_option
@with_errors
def show(gateway: str | None, id: str, as_json: bool) -> None:
    """Show one run: how it went, where it came from, where its results are."""
    with connect(gateway) as client:
        run = client.run(id)
        if as_json:
            click.echo(json.dumps(run.raw, ensure_ascii=False, indent=2))
            return
        build = run.build or {}
        rows = {
            "run": run.id,
            "name": run.name,
            "status": run.status + (f" (exit code {run.exit_code})" if run.exit_code is not None else ""),
            "reason": run.reason,
            "created": run.created,
            "started": run.started,
            "finished": run.finished,
            "seconds": run.seconds,
            "kernel": run.kernel,
            "gpus": run.gpus or None,
            "label": run.label,
            "priority": run.priority or None,
            "token": run.token,
            "build": build.get("url") or build.get("tag") or build.get("job"),
            "attempt": run.attempt if run.attempt > 1 else None,
            "retry of": run.retry_of,
            "retried as": run.retried_as,
            "page": f"{client.url}/runs/{run.id}",
        }
    for name, value in rows.items():
        if value not in (None, ""):
            click.echo(f"{name:<11} {value}")


@runs.command(context_settings=CONTEXT, epilog="Example: kernel-gateway runs logs -f 20261121-073012-9f3a1c2b")
@click.argument("id")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@gateway_option
@with_errors
def logs(gateway: str | None, id: str, follow: bool) -> None:
    """Print a run's console."""
    from .printer import print_text

    with connect(gateway) as client:
        if not follow:
            start, more = 0, True
            while more:  # a long one comes in pieces
                piece = client.console(id, start)
                print_text(piece.text)
                start, more = piece.end, piece.more and piece.end > start
            return
        from ..projections.console import Console
        from ..settings import Settings

        console = Console(Settings.from_environ(os.environ))
        for event in client.events(id):
            print_text(console.feed(event))
        print_text(console.finish())


@runs.command(context_settings=CONTEXT, epilog="Example: kernel-gateway runs cancel 20261121-073012-9f3a1c2b")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@gateway_option
@with_errors
def cancel(gateway: str | None, ids: tuple[str, ...]) -> None:
    """Cancel runs: interrupt the cell, then kill the kernel. Their results so far are kept."""
    with connect(gateway) as client:
        for id in ids:
            run = client.cancel(id)
            click.echo(f"{run.id}: {'has ended already: ' + run.status if run.is_finished else 'is being cancelled'}")


@runs.command(context_settings=CONTEXT, epilog="Example: kernel-gateway runs promote 20261121-073012-9f3a1c2b")
@click.argument("run")
@click.option("--alias", metavar="NAME", default="champion", show_default=True, help="The alias that is given.")
@click.option("--model", metavar="NAME", help="Which model, if the run has registered several.")
@click.option("--mlflow", metavar="URI", help="MLflow; default: KERNEL_GATEWAY_MLFLOW, or that of the run itself.")
@with_errors
def promote(run: str, alias: str, model: str | None, mlflow: str | None) -> None:
    """Give an alias (back) to the model version that RUN registered: a results folder, a run's id, or MLflow's."""
    from .lineage import promote_run

    click.echo(promote_run(run, alias, model, mlflow))


@runs.command(context_settings=CONTEXT, epilog="Example: kernel-gateway runs artifacts ID --output-dir results")
@click.argument("id")
@click.option("--output-dir", metavar="DIR", type=click.Path(path_type=Path), help="Bring them back below DIR.")
@gateway_option
@with_errors
def artifacts(gateway: str | None, id: str, output_dir: Path | None) -> None:
    """List a run's artifacts, or bring them back."""
    with connect(gateway) as client:
        found = client.artifacts(id)
        if output_dir is None:
            rows = [["path", "bytes", "sha256"], *([item.path, str(item.size), item.sha256] for item in found)]
            click.echo(table(rows) if found else "The run has no artifacts.", err=not found)
            return
        if output_dir.exists() and not output_dir.is_dir():
            raise UsageError(f"{output_dir} is no folder.", field="output_dir")
        from .progress import Progress

        progress = Progress(f"receiving {len(found)} artifacts", sum(item.size for item in found))
        for item in found:
            click.echo(str(client.download_artifact(id, item, output_dir)))
            progress.tell(item.size)
        progress.close()
