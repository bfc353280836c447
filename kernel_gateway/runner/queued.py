"""A run's first event: what was asked for. The runner writes it for a run on this machine, the service when it
takes a run in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..events import encode_number
from ..settings import RunOptions
from ..sources.program import Program


def queued_fields(program: Program, options: RunOptions, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the ``run_queued`` event. Append them through a `MaskingSink`: they hold what the user wrote.

    `program` has its parameters in it already. ``provenance["run"]`` is the run's id; what else stands in
    `provenance` (git, build, baseline) counts more than what is taken from the program and the options.
    """
    return {
        "run": provenance.get("run"),
        "program": {**program.to_dict(), "parameters": _exact(program.parameters)},
        "resources": {
            "gpus": options.gpus,
            "cpus": options.cpus,
            "memory": options.memory,
            "max_memory": options.max_memory,
            "max_gpu_hours": options.max_gpu_hours,
            "label": options.label,
            "timeout": options.timeout,
            "cell_timeout": options.cell_timeout,
        },
        "gates": _gates(program, options),
        "provenance": {
            "source_digest": program.digest,
            "parameters": _exact(program.parameters),
            "secrets": sorted(options.secrets),
            **provenance,
        },
    }


def _exact(value: Any) -> Any:
    """A parameter as JSON can tell it exactly: numbers that are not finite, or have more than 64 bits, as text."""
    if isinstance(value, Mapping):
        return {name: _exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    if isinstance(value, float):
        return encode_number(value)
    return value if not isinstance(value, int) or -(2**63) <= value < 2**64 else str(value)


def _gates(program: Program, options: RunOptions) -> list[dict[str, str]]:
    """The gates that will be judged, each once, and who asked for each: the request or the source itself."""
    origins = {text.strip(): "request" for text in options.gates}
    for text in program.gates:
        origins.setdefault(text.strip(), "source")
    return [{"expression": text, "origin": origin} for text, origin in origins.items()]
