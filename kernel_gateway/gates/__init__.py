"""Gates: conditions on a run's metrics that decide whether it may go on, e.g. ``accuracy >= 0.92``.

`parse_gate` reads one, `Gate.evaluate` judges it. A gate compares; it never executes anything.

What may stand in one:

- comparisons ``>= <= > < == !=``, also chains (``0.1 < loss < 0.9``), several of them joined by ``and``;
- numbers (``0.92``, ``1e-3``, ``90%``), ``+ - * /`` and parentheses;
- metrics by name. A bare name may have dots, dashes, slashes, colons and ``@`` inside (``val/acc``, ``top-5``), so that
  a minus or a slash between two names needs blanks around it; any other name is quoted: ``"val acc"``, `` `1st` ``.
  A metric alone means its last value; ``first last min max mean count`` take another: ``max(f1)``;
- ``abs(…)`` of a value;
- the baseline: ``baseline.f1`` (or ``champion.f1``) is the metric ``f1`` of the run or model to compare with, and
  ``baseline`` alone its metric of the name that stands on the left: ``loss <= baseline * 1.02``.
"""

from __future__ import annotations

from .expressions import MetricLike, Metrics
from .gate import Gate, Verdict
from .grammar import parse_gate

__all__ = ["Gate", "MetricLike", "Metrics", "Verdict", "parse_gate"]
