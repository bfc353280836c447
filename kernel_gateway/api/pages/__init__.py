"""The pages: the service for people with a browser. Rendered here, with one style sheet and one small script.

A new page is a file with its views and a template; name it below. Each view carries its `auth.scope`, and
`auth.form` if it takes a form. Jinja escapes names and texts; what a kernel made comes in through `embed` alone.
"""

from __future__ import annotations

from . import assets, compare, lineage, login, run, runs
from .blueprint import pages

__all__ = ["assets", "compare", "lineage", "login", "pages", "run", "runs"]
