"""``/agents``: where runs are executed, and what is free there."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from .answers import json_answer
from .auth import scope
from .problems import answers
from .schemas import PREFIX, AgentList, AgentView
from .service import ALIVE_SECONDS, gateway

agents = APIBlueprint(
    "agents",
    __name__,
    url_prefix=PREFIX,
    abp_tags=[Tag(name="agents")],
    abp_security=[{"token": []}],
    abp_responses=answers(),
)


@agents.get("/agents", responses={"200": AgentList})
@scope("read")
def list_agents() -> Response:
    """The agents, as the dispatcher last saw them."""
    state = gateway().agent()
    if state is None:
        return json_answer(AgentList(agents=[]))
    view = AgentView(
        name=state.get("name") or "",
        slots=state.get("slots") or 0,
        busy=state.get("busy") or 0,
        gpus=state.get("gpus") or {},
        labels=state.get("labels") or [],
        pool=state.get("pool") or [],
        alive=state["age"] < ALIVE_SECONDS,
    )
    return json_answer(AgentList(agents=[view]))
