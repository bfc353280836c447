"""A run as a step of a build: how it is told from the build's other runs, and what it leaves for the step to read.

A build step that calls the command by a file of options names itself there by ``step``. The files described here
then lie beside that file.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..settings import PREFIX

if TYPE_CHECKING:
    from ..client.request import Request

KEY_VARIABLE = PREFIX + "IDEMPOTENCY_KEY"
"""Environment variable with a submit's idempotency key, for whoever repeats whole commands."""

MOST = 1000
"""Metrics and artifacts that the result for a step tells; run.json has all."""

HEADLINES = 4
"""Metrics that a build's description has room for."""


@dataclass(frozen=True)
class Step:
    """A step of a build. No two steps of one build have the same `name`, so build and name tell it from all others."""

    name: str
    file: Path
    """Its file of options."""
    attempt: int | None = None
    """Which try of the step, if its caller counts: then a run that ended unseen is this try's, and no earlier one."""

    def begun(self) -> str | None:
        """The id of the run that this very step began on a gateway already, if its command is run again."""
        try:
            return self.file.with_suffix(".run").read_text("ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def keep(self, run: str) -> None:
        """Remember the run that the step began."""
        with contextlib.suppress(OSError):
            _write(self.file.with_suffix(".run"), run.encode())

    def write_result(self, output_dir: Path, exit_code: int, gateway: str | None) -> None:
        """Leave a short result for the step, from the ``run.json`` that the run left in its output folder."""
        import orjson

        with contextlib.suppress(OSError, ValueError, KeyError):
            record = orjson.loads((output_dir / "run.json").read_bytes())
            result = short_result(record, exit_code, gateway)
            _write(self.file.with_suffix(".result.json"), orjson.dumps(result))


def short_result(record: Mapping[str, Any], exit_code: int, gateway: str | None) -> dict[str, Any]:
    """What a build step shows of a run.

    ``headline``: metrics in words for a build's description, those that gates are about first; ``missed``: gates.
    """
    from ..projections.margins import number_text

    metrics = {name: values["last"] for name, values in list(record["metrics"].items())[:MOST]}
    gates = [{key: gate[key] for key in ("expression", "value", "bound", "passed")} for gate in record["gates"]]
    words = {word for gate in gates for word in re.findall(r"[A-Za-z_][\w./-]*\w|[A-Za-z_]", gate["expression"])}
    # What the gateway measured itself is worth a headline only where a gate asks for it.
    own = {name for name, values in record["metrics"].items() if values.get("source") != "gateway"}
    names = sorted(
        (name for name, value in metrics.items() if value is not None and name in own | words),
        key=lambda name: name not in words,
    )
    missed = [
        gate["expression"] + ("" if gate["value"] is None else f" (it is {number_text(gate['value'])})")
        for gate in gates
        if gate["passed"] is False
    ]
    url = None
    if gateway:
        from ..runner.provenance import without_credentials

        url = f"{without_credentials(gateway).rstrip('/')}/runs/{record['id']}"
    return {
        "run": record["id"],
        "name": record["name"],
        "status": record["status"],
        "reason": record["reason"],
        "exit_code": exit_code,
        "seconds": record["seconds"],
        "metrics": metrics,
        "headline": [f"{name} {number_text(metrics[name])}" for name in names[:HEADLINES]],
        "gates": gates,
        "missed": missed,
        "artifacts": [{key: one[key] for key in ("path", "sha256", "size")} for one in record["artifacts"][:MOST]],
        "url": url,
    }


def idempotency_key(environ: Mapping[str, str], request: Request, step: Step | None = None) -> tuple[str, bool]:
    """The key of a submit, and whether it may be that of an earlier one without anybody having said so.

    A step of a Jenkins build has that of the build and the step and of nothing else: run again after its agent was
    lost, it finds the run that it began, although another agent may have other files and another baseline. A command
    without a step's name is told from the build's other commands by its request.
    """
    if given := environ.get(KEY_VARIABLE):
        return given, False
    if not (tag := environ.get("BUILD_TAG")):
        return os.urandom(16).hex(), False
    import hashlib
    import json

    if step is not None:
        # The URL, since gateways serve several Jenkins, which may have jobs of the same name.
        content = json.dumps([environ.get("BUILD_URL", ""), tag, step.name, step.attempt])
    else:
        told = {**request.body, "secrets": sorted(request.body.get("secrets", {}))}
        content = json.dumps([tag, told], sort_keys=True, default=str)
    return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest(), True


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
