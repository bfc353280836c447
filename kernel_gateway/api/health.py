"""``/healthz``, ``/readyz``, ``/metrics``: for load balancers and Prometheus; at the root and below the prefix."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from sqlalchemy import text

from .. import __version__
from ..errors import UnreachableError
from ..store.database import reading
from .answers import json_answer
from .auth import PUBLIC, scope
from .problems import answers
from .schemas import HealthView
from .service import ALIVE_SECONDS, gateway

health = APIBlueprint(
    "health", __name__, abp_tags=[Tag(name="health", description="For load balancers and Prometheus.")]
)


@health.get("/healthz", responses={"200": HealthView})
@scope(PUBLIC)
def healthz() -> Response:
    """This web worker answers."""
    return json_answer(HealthView(status="ok", version=__version__, problem=""))


@health.get("/readyz", responses={"200": HealthView, "503": answers(503)["503"]})
@scope(PUBLIC)
def readyz() -> Response:
    """The database answers, and the dispatcher lives: runs can be taken and will be started."""
    service = gateway()
    with reading(service.engine) as connection:
        connection.execute(text("SELECT 1"))
    agent = service.agent()
    if agent is None or agent["age"] >= ALIVE_SECONDS:
        raise UnreachableError(
            "The dispatcher gave no sign of life in the last seconds; runs are queued but not started."
        )
    return json_answer(HealthView(status="ready", version=__version__, problem=agent.get("problem") or ""))


@health.get(
    "/metrics",
    security=[{"token": []}],
    responses={
        "200": {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **answers(),
    },
)
@scope("read")
def metrics() -> Response:
    """Figures of the whole service, whichever worker answers."""
    from .figures import CONTENT_TYPE, exposition

    return Response(exposition(gateway()), content_type=CONTENT_TYPE)
