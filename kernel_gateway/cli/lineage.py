"""`kernel-gateway lineage`: where a model or run came from, and which runs have used the model since."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import NotFoundError, UnreachableError, UsageError
from ..settings import Settings
from .gateways import CONTEXT, connect, gateway_option, with_errors

if TYPE_CHECKING:
    from ..tracking.lineage import Lineage

MOST_PARAMETERS = 30
MOST_FILES = 50
MOST_USERS = 50


@click.command(context_settings=CONTEXT, epilog="Example: kernel-gateway lineage models:/churn@champion")
@click.argument("reference", metavar="MODEL|RUN")
@click.option("--mlflow", metavar="URI", help="MLflow; default: KERNEL_GATEWAY_MLFLOW, or that of the run itself.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object, packages and all.")
@gateway_option
@with_errors
def lineage(reference: str, mlflow: str | None, as_json: bool, gateway: str | None) -> None:
    """Tell where a model version came from, and which runs have used it.

    MODEL is models:/NAME@ALIAS or models:/NAME/3; RUN is a results folder, a run's id, or an MLflow run.
    """
    found = _found(reference, mlflow, gateway)
    if as_json:
        click.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2))
        return
    click.echo("\n".join(_printable(line) for line in render(found)))
    for remark in found.remarks:
        click.echo(f"kernel-gateway: {remark}", err=True)


def _found(reference: str, mlflow: str | None, gateway: str | None) -> Lineage:
    from ..tracking.comparison import is_mlflow, is_well_formed

    if is_mlflow(reference):
        if not is_well_formed(reference):
            raise UsageError(
                f"{reference} is no model or run; write models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID.",
                field="reference",
            )
        return _traced(reference, None, mlflow, "")
    folder = Path(reference)
    if folder.exists():
        from ..tracking.note import Note

        record = _record_in(folder)
        note = Note.read(folder if folder.is_dir() else folder.parent)
        if note is not None and note.run == record.get("id") and note.run_id:
            return _traced(f"runs:/{note.run_id}", record, mlflow, note.uri)
        return _alone(record, reference)
    if gateway and not mlflow:
        return _of_gateway(reference, gateway)
    return _traced(reference, None, mlflow, "")


def _traced(reference: str, record: Mapping[str, Any] | None, mlflow: str | None, fallback: str) -> Lineage:
    """The lineage by MLflow; of a run whose record is at hand at least that, if MLflow does not answer."""
    from ..tracking.lineage import trace
    from ..tracking.mlflow_client import Unavailable
    from .triggers import open_mlflow

    with mlflow_errors():
        try:
            return trace(open_mlflow(mlflow, fallback or _own_server()), reference, record)
        except Unavailable as error:
            if record is None:
                raise
            found = _alone(record, reference)
            found.remarks.append(f"MLflow can't be asked: {_sentence(error)}")
            return found


@contextlib.contextmanager
def mlflow_errors() -> Iterator[None]:
    """Has what MLflow refuses or does not answer leave as our errors."""
    from ..tracking.mlflow_client import Missing, Refused, Unavailable

    try:
        yield
    except Unavailable as error:
        raise UnreachableError(f"MLflow can't be asked: {_sentence(error)}") from error
    except Missing as error:
        raise NotFoundError(_sentence(error)) from error
    except Refused as error:
        raise UsageError(f"MLflow refuses that: {_sentence(error)}") from error


def _sentence(error: BaseException) -> str:
    text = str(error)
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _own_server() -> str:
    """The MLflow server of a gateway service on this machine, if its data folder tells of one; else empty."""
    from ..agents.layout import DataFolder

    try:
        port = int((DataFolder.of(Settings.from_environ(os.environ)).root / "mlflow" / "port").read_text())
    except (OSError, ValueError):
        return ""
    return f"http://127.0.0.1:{port}"


def _alone(record: Mapping[str, Any], reference: str) -> Lineage:
    from ..tracking.lineage import of_record

    found = of_record(record, reference)
    found.remarks.append("Without MLflow only what the run itself tells is known: no models, and nobody who used them.")
    return found


def _record_in(folder: Path) -> dict[str, Any]:
    file = folder / "run.json" if folder.is_dir() else folder
    try:
        record = json.loads(file.read_bytes())
        if isinstance(record, dict) and "id" in record:
            return record
    except (OSError, ValueError):
        pass
    raise UsageError(f"{folder} is no results folder of a run: it has no run.json.", field="reference")


def _of_gateway(id: str, gateway: str) -> Lineage:
    with connect(gateway) as client:
        record = client.record(id)
    return _alone(record, id)


# -- for people ------------------------------------------------------------------------------------------


def render(found: Lineage) -> Iterator[str]:
    """The lineage as a tree of lines."""
    yield _title(found)
    branches = [branch for branch in _branches(found) if branch[1]]
    for index, (name, leaves) in enumerate(branches):
        last = index == len(branches) - 1
        yield f"{'└─' if last else '├─'} {name}"
        for number, leaf in enumerate(leaves):
            corner = "└─" if number == len(leaves) - 1 else "├─"
            yield f"{'  ' if last else '│ '}   {corner} {leaf}"


def _title(found: Lineage) -> str:
    if found.model is None:
        return str(found.run.get("id") or found.reference)
    aliases = "".join(f" @{alias}" for alias in found.model["aliases"])
    return f"model {found.model['name']} version {found.model['version']}{aliases}"


def _branches(found: Lineage) -> Iterator[tuple[str, list[str]]]:
    run, code, build, environment = found.run, found.code, found.build, found.environment
    yield (
        "trained by" if found.model else "run",
        _lines(
            (" ".join(str(run[name]) for name in ("name", "id") if run.get(name)), ""),
            (f"{run.get('status', '')} {_when(run.get('start'))}".strip(), ""),
            ("MLflow run", run.get("mlflow_run")),
        ),
    )
    yield "build", _lines((f"{build.get('job', '')} #{build.get('number', '')}" if build else "", build.get("url")))
    dirty = " with uncommitted changes" if code.get("dirty") else ""
    commit = f"{code['commit']}{dirty}" if code.get("commit") else ""
    yield (
        "code",
        _lines(
            ("commit", commit),
            ("branch", code.get("branch")),
            ("repository", code.get("remote")),
            (str(code.get("source") or ""), code.get("digest") or ""),
        ),
    )
    yield f"data ({len(found.data)})", _cut([_data(one) for one in found.data], MOST_FILES)
    yield (
        "parameters",
        _cut([f"{name} = {_value(value)}" for name, value in found.parameters.items()], MOST_PARAMETERS),
    )
    versions = ", ".join(f"{name} {version}" for name, version in (environment.get("versions") or {}).items())
    packages = environment.get("packages") or {}
    yield (
        "environment",
        _lines(
            ("kernel", environment.get("kernel")),
            ("agent", environment.get("agent")),
            ("versions", versions),
            ("packages", f"{len(packages)}, --json lists them" if packages else ""),
        ),
    )
    yield "metrics", _cut([f"{name} = {_value(value)}" for name, value in found.metrics.items()], MOST_PARAMETERS)
    yield "gates", [f"{gate['expression']}: {'met' if gate['passed'] else 'not met'}" for gate in found.gates]
    yield "models that it used", [f"{use['model']} version {use['version']} as {use['uri']}" for use in found.uses]
    if found.model is None:
        yield "models that it registered", [_version(one) for one in found.versions]
    yield f"used by ({len(found.used_by)})", _cut([_user(one) for one in found.used_by], MOST_USERS)


def _lines(*pairs: tuple[str, object]) -> list[str]:
    """``name value`` of the pairs that have both, and names alone where the value is an empty text."""
    return [f"{name} {value}".strip() for name, value in pairs if name and value is not None and (value or " " in name)]


def _data(one: Mapping[str, Any]) -> str:
    if one.get("path"):
        size = f", {one['size']:,} bytes" if isinstance(one.get("size"), int) else ""
        return f"{one['path']} sha256 {one.get('sha256')}{size}"
    return f"{one.get('name')} digest {one.get('digest')}" + (f" from {one['source']}" if one.get("source") else "")


def _version(one: Mapping[str, Any]) -> str:
    return f"{one['name']} version {one['version']}" + "".join(f" @{alias}" for alias in one["aliases"])


def _user(one: Mapping[str, Any]) -> str:
    used = f" as {one['as']}" if one.get("as") else ""
    id = one.get("id") or f"MLflow run {one['mlflow_run']}"
    return f"{one.get('name')} {id}, {one.get('status')} {_when(one.get('start'))}{used}"


def _cut(lines: Sequence[str], most: int) -> list[str]:
    return [*lines[:most], f"and {len(lines) - most} more; --json has all"] if len(lines) > most else list(lines)


def _when(time: object) -> str:
    return str(time or "")[:16].replace("T", " ") + (" UTC" if time else "")


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _printable(text: str) -> str:
    """What others named, without what a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)


# -- the rollback ----------------------------------------------------------------------------------------


def promote_run(run: str, alias: str, model: str | None, mlflow: str | None) -> str:
    """Have an alias mean the version that a run registered; returns a sentence. RUN: a results folder or an id."""
    from .triggers import open_mlflow

    fallback, folder = "", Path(run)
    if folder.exists():
        from ..tracking.note import Note

        record = _record_in(folder)
        run = str(record["id"])
        note = Note.read(folder if folder.is_dir() else folder.parent)
        fallback = note.uri if note is not None and note.run == run else ""
    with mlflow_errors():
        from ..tracking.promotion import promote

        return promote(open_mlflow(mlflow, fallback or _own_server()), run, alias, model).sentence
