"""A run's request as it is kept: ``request.json``, JSON that every reader takes.

Parameters may be what JSON does not carry: NaN, infinities, integers of more than 64 bits. Such ones stand in
``exact_parameters``, as text that Python's own JSON reads, and ``parameters`` is empty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

EXACT = "exact_parameters"


def kept_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request in the form in which it is kept, whatever its parameters are."""
    parameters = request.get("parameters")
    if _is_plain(parameters):
        return dict(request)
    return {**request, "parameters": {}, EXACT: json.dumps(parameters)}


def given_request(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The request as it was given: what `kept_request` made of it, undone."""
    request = dict(kept)
    exact = request.pop(EXACT, None)
    return request if exact is None else {**request, "parameters": json.loads(exact)}


def _is_plain(value: Any) -> bool:
    """Whether a value comes back from JSON as it is."""
    try:
        return bool(orjson.loads(orjson.dumps(value)) == value)
    except TypeError:
        return False
