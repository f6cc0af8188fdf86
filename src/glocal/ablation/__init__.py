"""Declared ablations: rows of options of a network, beside what its paper printed for them.

``count_ablation(get_ablation("lmnet_table8"))`` counts, ``plan_ablation`` and ``run_ablation`` train the rows like a
benchmark and write the table.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from glocal.ablation.catalogue import ABLATIONS, get_ablation
from glocal.ablation.counting import Counts, Entry, count_ablation
from glocal.ablation.declared import Ablation, Measure, Printed, Row
from glocal.ablation.table import AblationTable
from glocal.benchmark.values import Values

if TYPE_CHECKING:
    from glocal.ablation.running import plan_ablation, read_ablation, run_ablation

__all__ = [
    "ABLATIONS",
    "Ablation",
    "AblationTable",
    "Counts",
    "Entry",
    "Measure",
    "Printed",
    "Row",
    "Values",
    "count_ablation",
    "get_ablation",
    "plan_ablation",
    "read_ablation",
    "run_ablation",
]


def __getattr__(name: str) -> Any:
    """Import what trains when it is first asked for; counting does without the extra for training."""
    if name not in ("plan_ablation", "read_ablation", "run_ablation"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.running"), name)
