"""The command line, `kernel-gateway`. Commands are imported when called, so that each starts as fast as it can."""

from __future__ import annotations

import gc
import io
import sys
from importlib import import_module

import click

from .. import __version__

COMMANDS = {
    "run": "kernel_gateway.cli.run:run",
    "serve": "kernel_gateway.cli.serve:serve",
    "runs": "kernel_gateway.cli.runs:runs",
    "token": "kernel_gateway.cli.token:token",
    "kernels": "kernel_gateway.cli.kernels:kernels",
    "mlflow": "kernel_gateway.cli.mlflow:mlflow",
    "triggers": "kernel_gateway.cli.triggers:triggers",
    "lineage": "kernel_gateway.cli.lineage:lineage",
    "jobs": "kernel_gateway.cli.jobs:jobs",
}
"""Command → where it is defined."""


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, which suggests only commands that are imported already."""
        word = args[0]
        if word not in COMMANDS and not word.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(word, COMMANDS, n=1)
            ctx.fail(f"No such command {word!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kernel-gateway")
def cli() -> None:
    """Run notebooks and snippets as CI jobs, on any Jupyter kernel.

    \b
    Example:
      kernel-gateway run train.ipynb -p epochs 20 --require 'accuracy >= 0.92'
    """


def main() -> None:
    """Entry point of the console script."""
    # Imports make objects that stay; going through them for garbage every 700 takes a twentieth of a short command.
    gc.set_threshold(20_000)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character that the locale lacks ends no command
    cli(prog_name="kernel-gateway")


def fail(message: str, exit_code: int) -> None:
    """End the command with an error sentence on stderr."""
    click.echo(f"kernel-gateway: {message}", err=True)
    sys.exit(exit_code)
