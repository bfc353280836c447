"""`kernel-gateway token`: who may use the gateway. Works on the data folder, on the gateway's own machine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from ..errors import NotFoundError, StorageError, UsageError
from .gateways import CONTEXT, require_service, table, with_errors

if TYPE_CHECKING:
    from ..store.tokens import TokenRecord, TokenStore

SCOPES = ("read", "run", "admin")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
HINT = "Example: kernel-gateway token create jenkins --scope run --expires 90d"


@click.group(context_settings=CONTEXT, epilog=HINT)
def token() -> None:
    """Make, list and revoke the tokens that clients of a gateway need. Run it on the gateway's machine, as its user."""


def _store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option(
        "--database", metavar="URL", help="The gateway's database, if it is not in its data folder."
    )(command)
    return click.option("--data", metavar="DIR", help="The gateway's data folder; default: as for `serve`.")(command)


def _store(data: str | None, database: str | None) -> TokenStore:
    """The tokens of the gateway with that data folder. Raises `StorageError` when its database can't be used."""
    require_service()
    from sqlalchemy.exc import DBAPIError

    from ..agents.layout import DataFolder
    from ..settings import Settings
    from ..store.database import migrate, open_database
    from ..store.tokens import TokenStore

    settings = Settings.from_environ(os.environ)
    settings = replace(settings, data=data or settings.data, database=database or settings.database)
    folder = DataFolder.of(settings)
    try:
        folder.make()
        engine = open_database(settings.database or folder.database)
        migrate(engine)
    except OSError as error:
        raise StorageError(f"The data folder {folder.root} can't be used: {error.strerror}.") from error
    except DBAPIError as error:
        raise StorageError(f"The gateway's database can't be used: {error.orig}.") from error
    return TokenStore(engine)


@token.command(context_settings=CONTEXT, epilog=HINT)
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="run",
    show_default=True,
    help="read: look at runs; run: submit and cancel too; admin: everything.",
)
@click.option("--expires", metavar="WHEN", help="90d, 12h, or a date such as 2027-06-30 (UTC); default: never.")
@_store_options
@with_errors
def create(name: str, scope: str, expires: str | None, data: str | None, database: str | None) -> None:
    """Make a token called NAME. It is printed once, on stdout; the gateway keeps only its digest."""
    until = moment(expires, datetime.now(UTC)) if expires else None
    plain, record = _store(data, database).create(name, [scope], until)
    click.echo(plain)
    end = f"until {record.expires:%Y-%m-%d %H:%M} UTC" if record.expires else "until it is revoked"
    click.echo(f"Token {record.name!r} ({scope}) counts {end}. Clients read it from KERNEL_GATEWAY_TOKEN.", err=True)


@token.command("list", context_settings=CONTEXT, epilog="Example: kernel-gateway token list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_store_options
@with_errors
def list_tokens(as_json: bool, data: str | None, database: str | None) -> None:
    """List all tokens, also those that count no more; never the tokens themselves."""
    records = _store(data, database).list()
    if as_json:
        for record in records:
            click.echo(json.dumps(_told(record)))
    elif records:
        head = ["name", "scopes", "state", "created", "expires", "last used", "id"]
        click.echo(table([head, *(_row(record) for record in records)]))
    else:
        click.echo(f"There are no tokens. {HINT}", err=True)


@token.command(context_settings=CONTEXT, epilog="Example: kernel-gateway token revoke jenkins")
@click.argument("token")
@_store_options
@with_errors
def revoke(token: str, data: str | None, database: str | None) -> None:
    """Revoke TOKEN, given by its name or id. It counts no more from the next request on."""
    try:
        record = _store(data, database).revoke(token)
    except KeyError:
        raise NotFoundError(
            f"There is no token {token!r} that could be revoked; `kernel-gateway token list` shows all."
        ) from None
    click.echo(f"Token {record.name!r} is revoked.", err=True)


def moment(text: str, now: datetime) -> datetime:
    """The time that ``90d``, ``12h`` or an ISO date means; without a time zone it is UTC. Raises `UsageError`."""
    try:
        if match := re.fullmatch(r"(\d{1,9})([mhdw])", text.strip()):
            return now + timedelta(**{UNITS[match[2]]: int(match[1])})
        found = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise UsageError(
            f"--expires {text!r} is no time; write 90d, 12h, or a date such as 2027-06-30.", field="expires"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _state(record: TokenRecord) -> str:
    if record.revoked:
        return "revoked"
    return "valid" if record.is_valid(datetime.now(UTC)) else "expired"


def _row(record: TokenRecord) -> list[str]:
    times = [record.created, record.expires, record.last_used]
    shown = [f"{time:%Y-%m-%d %H:%M}" if time else "-" for time in times]
    return [record.name, ",".join(sorted(record.scopes)), _state(record), *shown, record.id]


def _told(record: TokenRecord) -> dict[str, Any]:
    times = {"created": record.created, "expires": record.expires, "last_used": record.last_used}
    return {
        "id": record.id,
        "name": record.name,
        "scopes": sorted(record.scopes),
        "state": _state(record),
        **{name: time.isoformat() if time else None for name, time in times.items()},
    }
