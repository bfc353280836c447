"""Jenkins from outside, over python-jenkins.

- `connection` opens a Jenkins; its `server` has our errors. Jobs and triggers begin there.
- Jobs as code: `rendering` makes config.xml of YAML, with the `marker` of their owner; `planning` holds them
  beside those on Jenkins, by `comparison`; `applying` carries the plan out.
- The job of a notebook: `generating`, from its `parameters` and `headings`, in safe `groovy`.
- `triggers` start jobs when data, code or a model has changed.
"""

from __future__ import annotations

from .connection import Address, address, clear_errors, connect

__all__ = ["Address", "address", "clear_errors", "connect"]
