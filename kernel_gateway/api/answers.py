"""Models as JSON answers."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from flask import Response
from pydantic import BaseModel


def json_answer(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A model as the body of an answer."""
    response = Response(orjson.dumps(model.model_dump()), status=status, content_type="application/json")
    response.headers.extend(dict(headers or {}))
    return response
