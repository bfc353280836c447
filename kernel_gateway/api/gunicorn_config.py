"""gunicorn's hooks; `kernel-gateway serve` names this module on its command line."""

from __future__ import annotations

import signal
from typing import Any

from ..kernels.guard import die_with_parent


def on_starting(server: Any) -> None:
    """In the master: end when the supervisor is gone, or the next service finds its port taken."""
    die_with_parent(signal.SIGTERM)
