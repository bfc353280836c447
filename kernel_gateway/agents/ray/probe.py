"""What a node is asked before it gets a run. Sent there by value: it may lack this package, or have another version."""

from __future__ import annotations

from typing import Any


def probe() -> dict[str, Any]:
    """Name and versions of the node that executes it; ``version`` is None where kernel-gateway is not installed."""
    import platform

    found: dict[str, Any] = {"host": platform.node(), "python": platform.python_version(), "problem": ""}
    try:
        import kernel_gateway

        found["version"] = kernel_gateway.__version__
        from kernel_gateway.agents.ray import PROTOCOL, node

        found |= {"protocol": PROTOCOL, "ready": bool(node.RunActor)}
    except Exception as error:  # noqa: BLE001 — whatever is wrong there is told here
        found = {"version": None, "protocol": None, **found, "problem": f"{type(error).__name__}: {error}"}
    return found
