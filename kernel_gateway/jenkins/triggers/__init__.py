"""Triggers: what a ``triggers.yaml`` watches, and which Jenkins job is started when that has changed.

A check goes through these modules in this order:

- `file` reads the ``triggers.yaml`` into the `plan`: triggers, their conditions and limits. `values` reads fields.
- `sources` has one module for each kind of condition; it says what is there now, as `Evidence`.
- `conditions` compares that with what is remembered, and decides. Pure: no clock, file or socket of its own.
- `memory` is what is remembered, and how it changes; pure too. `state` keeps it in a file.
- `starting` starts a build once, whatever is killed in between; `builds` is what it needs of Jenkins.
- `check` does all this, `table` tells about it, `service` does it again and again for a gateway.

A new kind of condition is one file in `sources` and one line in its registry.
"""

from __future__ import annotations
