"""What a notebook saves of ipywidgets: the last state of each model, so that pages can show them.

Format: ``application/vnd.jupyter.widget-state+json`` 2.0
(https://github.com/jupyter-widgets/ipywidgets/blob/main/packages/schema).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MIME = "application/vnd.jupyter.widget-state+json"
MODELS_KEPT = 10_000


class WidgetStates:
    """States of the widget models that a run's kernels opened, from their comm messages."""

    def __init__(self) -> None:
        self._models: dict[str, dict[str, Any]] = {}

    def take(self, type: str, content: Mapping[str, Any]) -> None:
        """Take in one ``comm_open`` or ``comm_msg``; others mean nothing here."""
        data = content.get("data")
        key = content.get("comm_id")
        if not isinstance(data, Mapping) or not isinstance(key, str) or not isinstance(data.get("state"), Mapping):
            return
        state = data["state"]
        if type == "comm_open" and content.get("target_name") == "jupyter.widget" and len(self._models) < MODELS_KEPT:
            self._models[key] = {
                "model_name": state.get("_model_name", ""),
                "model_module": state.get("_model_module", ""),
                "model_module_version": state.get("_model_module_version", ""),
                "state": dict(state),
            }
        elif type == "comm_msg" and key in self._models and data.get("method") == "update":
            self._models[key]["state"].update(state)

    def document(self) -> dict[str, Any] | None:
        """All states as notebooks save them in ``metadata.widgets``; None if there were no widgets."""
        if not self._models:
            return None
        return {"version_major": 2, "version_minor": 0, "state": self._models}
