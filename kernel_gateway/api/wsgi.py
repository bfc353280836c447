"""The application as gunicorn loads it: ``kernel_gateway.api.wsgi:app``. Settings come from the environment."""

from __future__ import annotations

import os

from ..agents.logs import log_to_stderr
from ..settings import Settings
from ..sources import load_source
from . import create_app
from .service import KEY

# A third of a second of imports that the first submission would wait for otherwise.
_FIRST = (
    b'{"cells": [{"cell_type": "code", "source": "1", "metadata": {}, "outputs": []}], "nbformat": 4, "metadata": {}}'
)

log_to_stderr()
app = create_app(Settings.from_environ(os.environ))
load_source(_FIRST, name="first", path=None, suffix=".ipynb")
app.extensions[KEY].kernelspecs()
