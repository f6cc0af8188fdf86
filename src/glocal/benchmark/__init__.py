"""Benchmarks: networks trained and measured under equal conditions, in a folder that survives every interruption.

``plan = make_plan(data, [Variant("lmnet", "lmnet"), Variant("unet", "unet")], folds=5, seeds=(0, 1, 2))`` says what is
to be done, ``run_plan(plan, "bench")`` does what is not done yet, ``read_benchmark("bench")`` reads what is there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from glocal.benchmark.folder import BenchmarkFolder, CellResult, read_benchmark
from glocal.benchmark.plan import Cell, Plan, Variant

if TYPE_CHECKING:
    from glocal.benchmark.choice import choose_variants
    from glocal.benchmark.making import make_plan
    from glocal.benchmark.probe import Probe, probe_plan
    from glocal.benchmark.run import run_plan

__all__ = [
    "BenchmarkFolder",
    "Cell",
    "CellResult",
    "Plan",
    "Probe",
    "Variant",
    "choose_variants",
    "make_plan",
    "probe_plan",
    "read_benchmark",
    "run_plan",
]

_HOMES = {
    "Probe": "probe",
    "choose_variants": "choice",
    "make_plan": "making",
    "probe_plan": "probe",
    "run_plan": "run",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch and the recipes when it is first asked for; reading results needs neither."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
