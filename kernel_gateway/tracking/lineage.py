"""Where a model version came from, and which runs have used it since: of MLflow's records and a run's ``run.json``."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .catalogue import COMMIT_TAG, RUN_TAG, STATUS_TAG, Catalogue
from .kernel_hook import BLOCK_TAG, USED_TAG, used_tag
from .mlflow_client import Missing, ModelVersion, Refused, Unavailable
from .record import PREFIX

MOST_USERS = 500
"""Runs that used a version, the latest of them, which are told."""


@dataclass
class Lineage:
    """What is known of a run, and of the model version that it registered. Anything may be missing.

    ``run``: id, name, status, start, mlflow_run; ``code``: commit, branch, remote, dirty, source, digest; ``build``:
    Jenkins' job, number, url; ``data``: path, sha256, size of each input, and name, digest, source of MLflow's sets;
    ``environment``: kernel, versions, packages; ``uses``: models that the run loaded; ``versions``: those that it
    registered; ``used_by``: runs that loaded one of these.
    """

    reference: str
    model: dict[str, Any] | None = None
    run: dict[str, Any] = field(default_factory=dict)
    code: dict[str, Any] = field(default_factory=dict)
    build: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    data: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    gates: list[dict[str, Any]] = field(default_factory=list)
    uses: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    used_by: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


def of_record(record: Mapping[str, Any], reference: str) -> Lineage:
    """What a ``run.json`` tells by itself. Whoever has no MLflow has this."""
    found = Lineage(reference)
    _from_record(found, record)
    return found


def trace(catalogue: Catalogue, reference: str, record: Mapping[str, Any] | None = None) -> Lineage:
    """The lineage of a model, ``models:/NAME@ALIAS`` or ``models:/NAME/3``, of ``runs:/ID``, or of a run's id.

    `record` is the run's ``run.json`` where the caller has it; else MLflow's copy is read. Raises as `catalogue`.
    """
    found = Lineage(reference)
    version = catalogue.version(reference) if reference.startswith("models:/") else None
    if version is not None:
        found.model = _model(catalogue, version)
        if not version.run_id:
            found.remarks.append("This version was registered without a run, so nothing is known of its origin.")
            found.used_by = list(_users(catalogue, [version]))
            return found
    run_id = version.run_id if version is not None and version.run_id else catalogue.mlflow_run_of(reference)
    try:
        run = catalogue.run(run_id)
    except Missing:
        if version is None:
            raise
        found.remarks.append(f"MLflow has no run {run_id} any more, so nothing is known of this version's origin.")
        found.used_by = list(_users(catalogue, [version]))
        return found
    _from_mlflow(found, run)
    if run.info.lifecycle_stage != "active":
        found.remarks.append("The MLflow run was deleted; until MLflow's clean-up removes it, it can be restored.")
    record = record if record is not None else _record(catalogue, run_id, found)
    if record is not None:
        _from_record(found, record)
    versions = [version] if version is not None else catalogue.versions_of_mlflow_run(run_id)
    found.versions = [_model(catalogue, one) for one in versions]
    found.used_by = list(_users(catalogue, versions))
    return found


def _model(catalogue: Catalogue, version: ModelVersion) -> dict[str, Any]:
    try:
        names = sorted(alias for alias, number in catalogue.aliases(version.name).items() if number == version.version)
    except (Missing, Refused):
        names = []
    return {"name": version.name, "version": version.version, "aliases": names}


def _record(catalogue: Catalogue, run_id: str, found: Lineage) -> dict[str, Any] | None:
    with tempfile.TemporaryDirectory(prefix="kernel-gateway-lineage-") as folder:
        try:
            content = catalogue.download(f"runs:/{run_id}", "run.json", Path(folder)).read_bytes()
            record = json.loads(content)
        except Missing:
            found.remarks.append("The MLflow run has no run.json: it was made elsewhere, or is still going on.")
            return None
        except (Refused, Unavailable, OSError, ValueError) as error:
            found.remarks.append(f"The run's run.json can't be read from MLflow: {error}")
            return None
    return record if isinstance(record, dict) else None


def _from_mlflow(found: Lineage, run: Any) -> None:
    tags, info = run.data.tags, run.info
    found.run = {
        "id": tags.get(RUN_TAG),
        "name": info.run_name,
        "status": tags.get(STATUS_TAG) or str(info.status).lower(),
        "start": _time(info.start_time),
        "mlflow_run": str(info.run_id),
        "experiment": str(info.experiment_id),
    }
    found.code = _there(
        commit=tags.get(COMMIT_TAG),
        branch=tags.get("mlflow.source.git.branch"),
        remote=tags.get("mlflow.source.git.repoURL"),
        source=tags.get("mlflow.source.name"),
        digest=tags.get(f"{PREFIX}source_digest"),
    )
    found.build = _there(
        job=tags.get("jenkins.job"), number=tags.get("jenkins.build_number"), url=tags.get("jenkins.build_url")
    )
    found.parameters = dict(run.data.params)
    found.metrics = dict(run.data.metrics)
    found.environment = _there(kernel=tags.get(f"{PREFIX}kernel"), agent=tags.get(f"{PREFIX}agent"))
    found.uses = [use for key, value in sorted(tags.items()) if key.startswith(USED_TAG) and (use := _use(value))]
    inputs = getattr(run, "inputs", None)
    for one in getattr(inputs, "dataset_inputs", None) or []:
        dataset = one.dataset
        found.data.append({"name": dataset.name, "digest": dataset.digest, "source": _source(dataset)})


def _from_record(found: Lineage, record: Mapping[str, Any]) -> None:
    """Take over what a ``run.json`` tells better than MLflow's tags."""
    provenance = record.get("provenance") or {}
    found.run |= _there(
        id=record.get("id"), name=record.get("name"), status=record.get("status"), start=record.get("start")
    )
    source = record.get("source") or {}
    found.code |= _there(**(record.get("git") or {}))
    found.code |= _there(source=source.get("path"), digest=source.get("digest"))
    found.build |= _there(**(record.get("build") or {}))
    found.parameters |= record.get("parameters") or {}
    found.data += [
        {name: one.get(name) for name in ("path", "sha256", "size")} for one in provenance.get("inputs") or []
    ]
    found.environment |= _there(
        kernel=record.get("kernel"),
        agent=record.get("agent"),
        env=provenance.get("env"),
        versions=record.get("versions"),
        packages=record.get("packages"),
    )
    found.metrics |= {name: one.get("last") for name, one in (record.get("metrics") or {}).items()}
    found.gates = [dict(gate) for gate in record.get("gates") or []]


def _users(catalogue: Catalogue, versions: list[ModelVersion]) -> Iterator[dict[str, Any]]:
    """The runs that loaded one of some versions, the latest first."""
    for version in versions:
        tag = used_tag(version.name, version.version)
        for run in catalogue.runs(f"tags.`{tag}` LIKE '%'", most=MOST_USERS):
            tags = run.data.tags
            yield {
                "id": tags.get(RUN_TAG),
                "name": run.info.run_name,
                "status": tags.get(STATUS_TAG) or str(run.info.status).lower(),
                "start": _time(run.info.start_time),
                "mlflow_run": str(run.info.run_id),
                "model": version.name,
                "version": version.version,
                "as": (_use(tags.get(tag, "")) or {}).get("uri"),
                **({"block": True} if BLOCK_TAG in tags else {}),
            }


def _use(value: str) -> dict[str, Any] | None:
    try:
        found = json.loads(value)
        return {name: str(found[name]) for name in ("model", "version", "uri")}
    except (ValueError, KeyError, TypeError):
        return None


def _source(dataset: Any) -> str | None:
    try:
        source = json.loads(dataset.source)
        return str(source.get("uri") or source.get("path") or source.get("url") or "") or None
    except (ValueError, AttributeError, TypeError):
        return None


def _time(milliseconds: Any) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _there(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "", {}, [])}
