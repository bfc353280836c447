"""What the commands that talk to a gateway share: the option that names it, errors as sentences, tables."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from ..errors import GatewayError, UsageError
from ..settings import PREFIX

if TYPE_CHECKING:
    from ..client import GatewayClient

CONTEXT = {"help_option_names": ["-h", "--help"]}

PATIENCE = 60.0
"""Seconds for which a command waits for a gateway that is away or busy."""

SERVICE_MODULES = (
    "alembic",
    "flask_openapi3",
    "gunicorn",
    "prometheus_client",
    "pydantic",
    "setproctitle",
    "sqlalchemy",
)
"""Modules of the extra `service` without which it can't start; looking for them imports none of them."""


def gateway_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--gateway`` to a command."""
    return click.option(
        "--gateway", metavar="URL", envvar=PREFIX + "URL", help="The gateway; default: the variable KERNEL_GATEWAY_URL."
    )(command)


def connect(url: str | None) -> GatewayClient:
    """The gateway that the user named. Raises `UsageError` when none is."""
    if not url:
        raise UsageError("No gateway is named: give --gateway URL, or set KERNEL_GATEWAY_URL.", field="gateway")
    from ..client import GatewayClient, Patience

    patience = Patience(later=PATIENCE)
    return GatewayClient(url, os.environ.get(PREFIX + "TOKEN"), patience=patience, remark=_remark)


def require_service() -> None:
    """Raises `UsageError` when what the service is made of is not installed; for commands on the gateway's machine."""
    if any(find_spec(name) is None for name in SERVICE_MODULES):
        raise UsageError(
            "This needs the packages of the service, the extra `service`. In a clone: pip install '.[service]'"
        )


def _remark(sentence: str) -> None:
    click.echo(f"kernel-gateway: {sentence}", err=True)


def with_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Has a command end with a sentence and its exit code instead of a traceback; 130 after Ctrl-C."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except GatewayError as error:
            _remark(str(error))
            sys.exit(error.exit_code)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its exit
            sys.exit(0)
        except KeyboardInterrupt:
            sys.exit(130)

    return wrapped


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as columns; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
