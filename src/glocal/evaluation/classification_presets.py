"""Evaluations of classifiers as publications did them; one :class:`ClassificationPreset` each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from glocal.errors import lookup
from glocal.evaluation.classification_metrics import Sample, measure
from glocal.evaluation.presets import Figure

__all__ = ["CLASSIFICATION_PRESETS", "ClassificationPreset", "get_classification_preset"]


@dataclass(frozen=True)
class ClassificationPreset:
    """How a publication evaluates a classifier of one label a case.

    Attributes:
        name: As given.
        source: Publication, and where its evaluation is described.
        figures: The cases → published metrics; ``n`` counts the cases of a figure, or the classes of a class mean.
        beside: Which of our numbers, ``(block, metric)``, measures the same thing as a published figure.
        remarks: What a reader must know before comparing.
    """

    name: str
    source: str
    figures: Callable[[Sample], list[Figure]]
    beside: dict[str, tuple[str, str]]
    remarks: tuple[str, ...] = ()


def _hifuse_figures(sample: Sample) -> list[Figure]:
    n, num_classes = sample.truth.shape
    found = {key: values[0] for key, values in measure(sample, np.ones((n, 1))).items()}
    figures = [Figure("Accuracy", float(found["overall", "accuracy"]), "", "cases predicted right / all cases", n)]
    for name, metric in (("Precision", "precision"), ("Recall", "recall"), ("F1", "f1")):
        mean = float(np.nan_to_num(found["per_class", metric]).mean())
        zero = "mean over all classes; a class without predictions or without cases counts as 0"
        text = f"{zero}; not the harmonic mean of Precision and Recall" if metric == "f1" else zero
        figures.append(Figure(name, mean, "", text, num_classes))
    areas = found["per_class", "auroc_logits"]
    known = areas[~np.isnan(areas)]
    figures.append(
        Figure(
            "AUC",
            float(known.mean()) if known.size else math.nan,
            "",
            "mean over the classes of the one-vs-rest area by the raw logit of the class; a class without cases, or "
            "of which all cases are, is left out (there undefined)",
            known.size,
            num_classes - known.size,
        )
    )
    for name, metric in (("MCC", "mcc"), ("Kappa", "kappa")):
        text = "of all classes, from hard predictions; undefined where all are one class"
        figures.append(Figure(name, float(found["overall", metric]), "", text, n))
    return figures


CLASSIFICATION_PRESETS: dict[str, ClassificationPreset] = {
    preset.name: preset
    for preset in (
        ClassificationPreset(
            "hifuse",
            "HiFuse, arXiv 2209.10218, as evaluated by the test script that its author names",
            _hifuse_figures,
            {
                "Accuracy": ("overall", "accuracy"),
                "Precision": ("macro", "precision"),
                "Recall": ("macro", "recall"),
                "F1": ("macro", "f1"),
                "AUC": ("macro", "auroc"),
                "MCC": ("overall", "mcc"),
                "Kappa": ("overall", "kappa"),
            },
            (
                "AUC takes the raw logit of a class; ours takes its probability. They differ, for a softmax does not "
                "keep the order of the cases.",
                "The publication chose the epoch by the accuracy on its validation set and does not say whether that "
                "was the test set.",
                "The paper prints per cent.",
            ),
        ),
    )
}
"""By name."""


def get_classification_preset(name: str) -> ClassificationPreset:
    """Return the preset called ``name``.

    Raises:
        UserError: There is none of that name.
    """
    return lookup("classification preset {} is unknown", name, CLASSIFICATION_PRESETS)
