"""The kernel gateway: notebooks and snippets as ordinary CI jobs, on any Jupyter kernel.

Importing the package costs next to nothing; whatever `PUBLIC` names is loaded at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

PUBLIC: dict[str, str] = {"GatewayClient": "client"}
"""Public name → the submodule that defines it; ``__all__`` lists these names and the version."""

__all__ = ["GatewayClient", "__version__"]


def __getattr__(name: str) -> Any:
    """A public name, imported now that somebody asks for it. Raises AttributeError for any other."""
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
