"""What the nodes of a cluster can run, by what its agent last said: a request that none can ever meet is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ResourceError


def check_nodes(agent: Mapping[str, Any], gpus: int, cpus: float | None, memory: int | None, label: str | None) -> None:
    """Raise `ResourceError`, naming the field at fault, for what no node of an agent has.

    `agent` is its `Agent.state`. While there is no node that can be used, or nodes are added on demand, all is taken.
    """
    nodes = [node for node in agent.get("nodes") or () if not node["problem"]]
    if agent.get("elastic") or not nodes or (len(nodes) < len(agent["nodes"]) and agent.get("asking")):
        return
    if label is not None:
        labels = sorted({label for node in nodes for label in node["labels"]})
        nodes = [node for node in nodes if label in node["labels"]]
        if not nodes:
            raise ResourceError(
                f"No node has the label {label!r}. There is: {', '.join(labels) or 'no label at all'}.", field="label"
            )
    of_label = f" with the label {label!r}" if label is not None else ""
    wishes = (("gpus", gpus, 1, "GPUs"), ("cpus", cpus, 1, "CPUs"), ("memory", memory, 2**30, "GiB of memory"))
    for field, asked, unit, name in wishes:
        most = max(node[field] for node in nodes)
        if asked and asked > most:
            raise ResourceError(
                f"The run asks for {asked / unit:.4g} {name}, but no node{of_label} has more than {most / unit:.4g}.",
                field=field,
            )
    if not any(
        gpus <= node["gpus"] and (cpus or 0) <= node["cpus"] and (memory or 0) <= node["memory"] for node in nodes
    ):
        raise ResourceError(f"No node{of_label} has all that the run asks for at once.", field="gpus")
