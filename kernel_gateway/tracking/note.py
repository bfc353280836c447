"""``mlflow.json`` in a run's folder: which MLflow run belongs to it, and how much of it stands there by now.

With the event log beside it this is the spool: whoever reads both knows what is still to be sent. Sending something
twice does no harm, since MLflow keeps one of two metrics with the same name, step, time and value.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

FILE = "mlflow.json"

_writing = threading.Lock()


@dataclass
class Note:
    """What is known of a run's MLflow run. ``run``: our id; ``uri``: without credentials; ``name``: as MLflow
    shows the run; ``run_id``: MLflow's, or
    None before it answered; ``sent``: the ``seq`` of the last event that is there; ``complete``: whether all is.
    ``register``: the model to register, until it is. ``problem``: why not all is there.
    """

    run: str
    uri: str
    experiment: str
    name: str
    run_id: str | None = None
    experiment_id: str | None = None
    sent: int = 0
    complete: bool = False
    problem: str = ""
    register: dict[str, Any] | None = None

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The note in a run's folder, or None if there is none or it makes no sense."""
        try:
            data = json.loads((folder / FILE).read_bytes())
            return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data})
        except (OSError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Keep it, whole or not at all. Raises OSError."""
        part = folder / f".{FILE}.part"
        with _writing:  # two threads of a tracker would take each other's file away
            values = asdict(self)
            part.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(part, folder / FILE)
