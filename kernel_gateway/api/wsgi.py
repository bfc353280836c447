"""The application as gunicorn loads it: ``kernel_gateway.api.wsgi:app``. Settings come from the environment."""

from __future__ import annotations

import os

from ..agents.logs import log_to_stderr
from ..settings import Settings
from . import create_app

log_to_stderr()
app = create_app(Settings.from_environ(os.environ))
