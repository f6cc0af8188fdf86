"""Prediction: :class:`Predictor`, tiling, test-time augmentation, writers, evaluation of a run, profiling."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glocal.inference.classifier import Classification, Classifier
    from glocal.inference.explanation import Explanation, explain, explain_classes
    from glocal.inference.files import FileResult, plan_files, predict_files
    from glocal.inference.mask_scoring import evaluate_masks
    from glocal.inference.postprocessing import Postprocessing, choose_postprocessing
    from glocal.inference.prediction import Prediction
    from glocal.inference.predictor import Predictor, load_predictor
    from glocal.inference.scoring import evaluate_run, evaluation_folder
    from glocal.inference.table import ClassifiedFile, classify_files, plan_table
    from glocal.inference.table_scoring import evaluate_table

__all__ = [
    "Classification",
    "ClassifiedFile",
    "Classifier",
    "Explanation",
    "FileResult",
    "Postprocessing",
    "Prediction",
    "Predictor",
    "choose_postprocessing",
    "classify_files",
    "evaluate_masks",
    "evaluate_run",
    "evaluate_table",
    "evaluation_folder",
    "explain",
    "explain_classes",
    "load_predictor",
    "plan_files",
    "plan_table",
    "predict_files",
]

_HOMES = {
    "Classification": "classifier",
    "ClassifiedFile": "table",
    "Classifier": "classifier",
    "Explanation": "explanation",
    "FileResult": "files",
    "Postprocessing": "postprocessing",
    "Prediction": "prediction",
    "Predictor": "predictor",
    "choose_postprocessing": "postprocessing",
    "classify_files": "table",
    "evaluate_masks": "mask_scoring",
    "evaluate_run": "scoring",
    "evaluate_table": "table_scoring",
    "evaluation_folder": "scoring",
    "explain": "explanation",
    "explain_classes": "explanation",
    "load_predictor": "predictor",
    "plan_files": "files",
    "plan_table": "table",
    "predict_files": "files",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: profiling needs no image reader."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
