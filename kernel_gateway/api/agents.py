"""``/agents``: where runs are executed, and what is free there."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from .agent_views import AgentList, AgentView, AmountView
from .answers import json_answer
from .auth import scope
from .problems import answers
from .schemas import PREFIX
from .service import ALIVE_SECONDS, gateway

NOTHING = {"total": 0, "free": 0}
"""What an agent has of something that it does not tell of."""

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
        elsewhere=state.get("elsewhere") or [],
        devices=state.get("devices") or [],
        gpu_problem=state.get("gpu_problem") or "",
        cpus=AmountView(**(state.get("cpus") or NOTHING)),
        memory=AmountView(**(state.get("memory") or NOTHING)),
        holders=state.get("holders") or [],
        labels=state.get("labels") or [],
        pool=state.get("pool") or [],
        nodes=state.get("nodes") or [],
        problem=state.get("problem") or "",
        alive=state["age"] < ALIVE_SECONDS,
    )
    return json_answer(AgentList(agents=[view]))
