"""`kernel-gateway run`: one source, run to its end, with its results in a folder."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..errors import GatewayError, UsageError
from ..runner.ending import Cancellation
from ..settings import PREFIX, RunOptions, Settings
from .owner_gates import gates_beside

EPILOG = """\
Exit codes: 0 succeeded, 1 a cell failed, 2 bad usage or unreadable source, 3 gate not met, 4 timed out,
5 kernel died or lost, 6 gateway unreachable or refused, 130 cancelled.

\b
Examples:
  kernel-gateway run train.ipynb -p epochs 20 --require 'accuracy >= 0.92' --artifact 'model/*'
  kernel-gateway run -c 'print("hello")'
  kernel-gateway run report.R --timeout 600 --output-dir results/report
  kernel-gateway run train.ipynb --gateway http://gateway.example:8888 --input 'src/**'   (token: KERNEL_GATEWAY_TOKEN)
"""

positive = click.FloatRange(min=0, min_open=True)


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", required=False)
@click.option("-c", "code", metavar="CODE", help="Run this code instead of a source file.")
@click.option(
    "--kernel", metavar="NAME", help="Kernelspec; default: the source's own, or by file suffix, else python3."
)
@click.option(
    "-p", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", help="A parameter, typed as YAML. Repeatable."
)
@click.option(
    "--params",
    "parameter_files",
    multiple=True,
    metavar="FILE",
    help="Parameters from a YAML or JSON file. Repeatable.",
)
@click.option("--timeout", type=positive, metavar="S", help="Limit of the whole run, in seconds.")
@click.option("--cell-timeout", type=positive, metavar="S", help="Limit of one cell, in seconds.")
@click.option("--gpus", type=click.IntRange(min=0), default=0, metavar="N", help="GPUs that the agent must have.")
@click.option("--label", metavar="L", help="Label that the agent must have.")
@click.option(
    "--env", "env_file", metavar="FILE", help="requirements.txt, pyproject.toml or environment.yml for the kernel."
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="GLOB",
    help="Workspace files to send to a gateway; a run on this machine sees its folder as it is.",
)
@click.option("--artifact", "artifacts", multiple=True, metavar="GLOB", help="Files to bring back. Repeatable.")
@click.option(
    "--require",
    "gates",
    multiple=True,
    metavar="EXPR",
    help="Gate, e.g. 'accuracy >= 0.9'. Repeatable; all must be met.",
)
@click.option(
    "--baseline",
    metavar="RUN",
    help="What gates compare with: a results folder or run.json, an MLflow run, models:/NAME@ALIAS, or an alias of "
    "--register's model; default: the last successful run of the output folder.",
)
@click.option("--gate-fails", is_flag=True, help="A missed gate makes the run failed (exit 1), not unstable (exit 3).")
@click.option(
    "--secret", "secrets", multiple=True, metavar="NAME", help="Environment variable to pass on and mask everywhere."
)
@click.option(
    "--mlflow", metavar="URI", help="Track the run in MLflow: http://HOST:PORT, sqlite:///FILE, or local for one's own."
)
@click.option("--register", metavar="NAME", help="Register the MLflow model that the program logs.")
@click.option("--promote", metavar="ALIAS", help="Give the registered model this alias if all gates are met.")
@click.option("--allow-errors", is_flag=True, help="Go on after a failing cell.")
@click.option("--output-dir", metavar="DIR", help="Where results go; default: kernel-runs/<source stem>.")
@click.option(
    "--gateway", metavar="URL", envvar="KERNEL_GATEWAY_URL", help="Run on a gateway service instead of this machine."
)
@click.option(
    "--retries",
    type=click.IntRange(0, 10),
    default=0,
    metavar="N",
    help="How often a gateway starts the run again after its runner was lost.",
)
def run(source: str | None, code: str | None, gateway: str | None, **options: Any) -> None:
    """Run SOURCE: a notebook, script, percent script, R Markdown or Zeppelin note; - reads stdin;
    gate:NAME is a ready-made gate, and gate: lists them.
    """
    cancel = Cancellation()
    _catch_signals(cancel)
    try:
        exit_code = _run(source, code, gateway, options, cancel)
    except GatewayError as error:
        click.echo(f"kernel-gateway: {error}", err=True)
        exit_code = error.exit_code
    _leave(exit_code)


def _catch_signals(cancel: Cancellation) -> None:
    def request(number: int, frame: object) -> None:
        cancel.request(f"Cancelled by {signal.Signals(number).name}.")

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, request)


def _leave(exit_code: int) -> None:
    """Exit without the interpreter's own tidying up, which costs time and has nothing left to do."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads it any more
    os._exit(exit_code)


def _run(
    source: str | None, code: str | None, gateway: str | None, options: dict[str, Any], cancel: Cancellation
) -> int:
    content, path, name = _read_source(source, code)
    output_dir = Path(options.pop("output_dir") or Path("kernel-runs") / name)
    inputs, retries = options.pop("inputs"), options.pop("retries")
    options["gates"] += gates_beside(path)
    run_options = _run_options(name, options)
    settings = Settings.from_environ(os.environ)
    if gateway:
        from .remote import RemoteRun

        if run_options.mlflow or run_options.register or run_options.promote or run_options.baseline:
            from .tracker import check_remote

            run_options = check_remote(run_options)
        return RemoteRun(
            content,
            path,
            run_options,
            settings,
            output_dir,
            cancel,
            url=gateway,
            token=os.environ.get(PREFIX + "TOKEN"),
            inputs=inputs,
            retries=retries,
        ).run()
    from .embedded import EmbeddedRun

    return EmbeddedRun(content, path, run_options, settings, output_dir, cancel).run()


def _read_source(source: str | None, code: str | None) -> tuple[bytes, Path | None, str]:
    """The source's bytes, its path if it is a file, and the run's name. Raises `UsageError`."""
    if (source is None) == (code is None):
        raise UsageError(
            "Name one source: a file, - for stdin, or -c CODE. `kernel-gateway run --help` shows examples."
        )
    if code is not None:
        return code.encode("utf-8", "surrogateescape"), None, "snippet"
    assert source is not None
    if source == "-":
        return sys.stdin.buffer.read(), None, "stdin"
    if source.startswith("gate:"):
        from ..gates.ready_made import ready_made_notebook

        content, name = ready_made_notebook(source)
        return content, None, name
    path = Path(source)
    try:
        return path.read_bytes(), path, path.stem or "run"
    except IsADirectoryError:
        raise UsageError(f"{source} is a folder; name a file in it.", field="source") from None
    except OSError as error:
        raise UsageError(f"{source} can't be read: {error.strerror}.", field="source") from None


def _run_options(name: str, options: dict[str, Any]) -> RunOptions:
    pairs = options.pop("parameters")
    files = options.pop("parameter_files")
    secrets = _secrets(options.pop("secrets"), os.environ)
    parameters: Mapping[str, Any] = {}
    if pairs or files:
        from ..sources import parse_parameters

        parameters = parse_parameters(pairs, [_read_parameters(file) for file in files])
    if options["artifacts"]:
        from ..runner.artifacts import check_glob

        for glob in options["artifacts"]:
            if problem := check_glob(glob):
                raise UsageError(problem, field="artifact")
    if options["env_file"] is not None and not Path(options["env_file"]).is_file():
        raise UsageError(f"--env: there is no file {options['env_file']}.", field="env")
    return RunOptions(name=name, parameters=parameters, secrets=secrets, **options)


def _read_parameters(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"--params: {file} can't be read: {error.strerror}.", field="params") from None


def _secrets(names: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    secrets = {}
    for name in names:
        if name not in environ:
            raise UsageError(
                f"--secret {name}: there is no such environment variable. Set it, e.g. by Jenkins' withCredentials.",
                field="secret",
            )
        secrets[name] = environ[name]
    return secrets
