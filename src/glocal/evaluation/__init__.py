"""Evaluation of segmentations and classifications: metrics, their statistics, the report. Knows nothing of networks."""

from __future__ import annotations

from glocal.evaluation.calibration import expected_calibration_error, fit_temperature, probabilities
from glocal.evaluation.cases import CaseResult, EvaluatedCase
from glocal.evaluation.classification import ClassificationEvaluation, ClassifiedCase, evaluate_classification
from glocal.evaluation.classification_presets import (
    CLASSIFICATION_PRESETS,
    ClassificationPreset,
    get_classification_preset,
)
from glocal.evaluation.classification_table import logits_of, read_prediction_table
from glocal.evaluation.evaluation import Evaluation, Settings, evaluate
from glocal.evaluation.metrics import METRICS, Metric
from glocal.evaluation.policy import POLICIES, EmptyPolicy, get_policy
from glocal.evaluation.presets import PRESETS, Figure, Preset, get_preset
from glocal.evaluation.surface import SurfaceDistances, surface_distances

__all__ = [
    "CLASSIFICATION_PRESETS",
    "METRICS",
    "POLICIES",
    "PRESETS",
    "CaseResult",
    "ClassificationEvaluation",
    "ClassificationPreset",
    "ClassifiedCase",
    "EmptyPolicy",
    "EvaluatedCase",
    "Evaluation",
    "Figure",
    "Metric",
    "Preset",
    "Settings",
    "SurfaceDistances",
    "evaluate",
    "evaluate_classification",
    "expected_calibration_error",
    "fit_temperature",
    "get_classification_preset",
    "get_policy",
    "get_preset",
    "logits_of",
    "probabilities",
    "read_prediction_table",
    "surface_distances",
]
