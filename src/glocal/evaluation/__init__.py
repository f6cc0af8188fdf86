"""Evaluation: metrics of segmentations, their statistics, and the report. Knows nothing of networks."""

from __future__ import annotations

from glocal.evaluation.cases import CaseResult, EvaluatedCase
from glocal.evaluation.evaluation import Evaluation, Settings, evaluate
from glocal.evaluation.metrics import METRICS, Metric
from glocal.evaluation.policy import POLICIES, EmptyPolicy, get_policy
from glocal.evaluation.presets import PRESETS, Figure, Preset, get_preset
from glocal.evaluation.surface import SurfaceDistances, surface_distances

__all__ = [
    "METRICS",
    "POLICIES",
    "PRESETS",
    "CaseResult",
    "EmptyPolicy",
    "EvaluatedCase",
    "Evaluation",
    "Figure",
    "Metric",
    "Preset",
    "Settings",
    "SurfaceDistances",
    "evaluate",
    "get_policy",
    "get_preset",
    "surface_distances",
]
