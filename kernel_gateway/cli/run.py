"""`kernel-gateway run`: one source, run to its end, with its results in a folder."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EXIT_CODES, GatewayError, UsageError
from ..events import Status
from ..runner.ending import Cancellation, Ending
from ..settings import PREFIX, RunOptions, Settings
from .options_file import CommandWithFile, OptionsFile, options_file
from .owner_gates import gates_beside
from .sizes import Positive, Size
from .step import Step

if TYPE_CHECKING:
    from .source_run import SourceRun

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

LONGEST_NAME = 200
"""Characters of a run's name, which is a folder's as well."""

positive = Positive()


@click.command(cls=CommandWithFile, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
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
@click.option("--cpus", type=positive, metavar="N", help="CPUs that the agent must have free; libraries use as many.")
@click.option("--memory", type=Size(), metavar="SIZE", help="Memory that the agent must have free; also a limit.")
@click.option("--max-memory", type=Size(), metavar="SIZE", help="Memory over which the run is stopped, e.g. 16G.")
@click.option("--max-gpu-hours", type=positive, metavar="X", help="GPUs times hours after which the run is stopped.")
@click.option("--label", metavar="L", help="Label that the agent must have.")
@click.option(
    "--env",
    "env_file",
    metavar="FILE",
    help="Packages for the kernel: requirements.txt, pyproject.toml, environment.yml, renv.lock or Project.toml.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="GLOB",
    help="Workspace files to send to a gateway; a run on this machine notes their digests.",
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
@click.option("--output-dir", metavar="DIR", help="Where results go; default: kernel-runs/<name>.")
@click.option("--name", metavar="NAME", help="Name of the run; default: the source's stem.")
@click.option("--options", "options_file", metavar="FILE", help="Read options from a YAML or JSON file.")
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
    except Ending as end:
        click.echo(f"kernel-gateway: {end.reason}", err=True)
        exit_code = EXIT_CODES[end.status]
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
    if (source, *options["parameter_files"]).count("-") > 1:
        raise UsageError("stdin can be read once: give the source or the parameters as a file.", field="params")
    content, path, stem = _read_source(source, code, cancel)
    name = _check_name(options.pop("name")) or stem
    file = options["options_file"] = options_file(click.get_current_context())
    step = Step(file.step, file.path.absolute(), file.attempt) if file and file.step else None
    output_dir = Path(options.pop("output_dir") or Path("kernel-runs") / name)
    inputs, retries = options.pop("inputs"), options.pop("retries")
    options["gates"] += gates_beside(path)
    run_options = _run_options(name, options, cancel)
    settings = Settings.from_environ(os.environ)
    if gateway:
        from .remote import RemoteRun

        if run_options.mlflow or run_options.register or run_options.promote or run_options.baseline:
            from .tracker import check_remote

            run_options = check_remote(run_options)
        begun: SourceRun = RemoteRun(
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
            step=step,
        )
    else:
        from .embedded import EmbeddedRun

        begun = EmbeddedRun(content, path, run_options, settings, output_dir, cancel, inputs)
    exit_code = begun.run()
    if step is not None:
        step.write_result(output_dir, exit_code, gateway)
    return exit_code


def _check_name(name: str | None) -> str | None:
    """Raises `UsageError` for what can't be the name of a run: results lie in a folder of that name."""
    if name is None or (name.isprintable() and 0 < len(name) <= LONGEST_NAME and name.strip(".") and "/" not in name):
        return name
    raise UsageError(
        f"--name {name!r}: a run's name has 1 to {LONGEST_NAME} printable characters, no slash, and not only dots.",
        field="name",
    )


def _read_source(source: str | None, code: str | None, cancel: Cancellation) -> tuple[bytes, Path | None, str]:
    """The source's bytes, its path if it is a file, and the run's name. Raises `UsageError`, and `Ending` if the
    command is cancelled while it waits for stdin.
    """
    if (source is None) == (code is None):
        raise UsageError(
            "Name one source: a file, - for stdin, or -c CODE. `kernel-gateway run --help` shows examples."
        )
    if code is not None:
        return code.encode("utf-8", "surrogateescape"), None, "snippet"
    assert source is not None
    if source == "-":
        return _read_stdin(cancel), None, "stdin"
    if source.startswith("gate:"):
        from ..gates.ready_made import ready_made_notebook

        content, name = ready_made_notebook(source)
        return content, None, name
    path = Path(source)
    try:
        return path.read_bytes(), path, _name_of(path)
    except IsADirectoryError:
        raise UsageError(f"{source} is a folder; name a file in it.", field="source") from None
    except OSError as error:
        raise UsageError(f"{source} can't be read: {error.strerror}.", field="source") from None


def _name_of(path: Path) -> str:
    """The run's name from its source's: like one of `--name`, whatever the file is called."""
    name = "".join(letter if letter.isprintable() else "_" for letter in path.stem)[:LONGEST_NAME]
    return name if name.strip(".") else "run"


def _run_options(name: str, options: dict[str, Any], cancel: Cancellation) -> RunOptions:
    pairs = options.pop("parameters")
    files = options.pop("parameter_files")
    file: OptionsFile | None = options.pop("options_file")
    secrets = _secrets(options.pop("secrets"), os.environ)
    parameters = dict(file.parameters) if file is not None else {}
    if pairs or files or (file is not None and file.pairs):
        from ..sources import parse_parameters

        parameters = parse_parameters((), [_read_parameters(name, cancel) for name in files])
        if file is not None:
            parameters |= file.parameters
            pairs = (*file.pairs, *pairs)
        parameters |= parse_parameters(pairs)
    if options["artifacts"]:
        from ..runner.artifacts import check_glob

        for glob in options["artifacts"]:
            if problem := check_glob(glob):
                raise UsageError(problem, field="artifact")
    if options["env_file"] is not None:
        from ..kernels.environments.spec import check_file

        check_file(options["env_file"])
    return RunOptions(name=name, parameters=parameters, secrets=secrets, **options)


def _read_parameters(file: str, cancel: Cancellation) -> bytes:
    try:
        return _read_stdin(cancel) if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"--params: {file} can't be read: {error.strerror}.", field="params") from None


def _read_stdin(cancel: Cancellation) -> bytes:
    """All of stdin. Raises `Ending` when cancelled: a plain read would go on after the signal, until the input ends."""
    if sys.stdin is None:
        raise UsageError("stdin is closed; name a file instead of -.", field="source")
    pieces: list[bytes] = []
    poller = select.poll()
    for fd in (sys.stdin.fileno(), cancel.fd):
        poller.register(fd, select.POLLIN)
    while True:
        ready = dict(poller.poll())
        if cancel.fd in ready:
            raise Ending(Status.CANCELLED, cancel.reason)
        piece = os.read(sys.stdin.fileno(), 1 << 20)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


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
