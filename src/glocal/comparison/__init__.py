"""Comparison of evaluated models on the same cases: intervals, paired tests, ranks, costs.

``compare(["bench"])`` or ``compare(["runs/lmnet", "runs/unet"])``; ``.write("comparison")`` leaves tables and a report.
"""

from __future__ import annotations

from glocal.comparison.comparison import Comparison, compare

__all__ = ["Comparison", "compare"]
