"""Evaluations as publications did them, to compare with their tables; one :class:`Preset` each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.errors import lookup
from glocal.evaluation.metrics import overlap_metrics
from glocal.evaluation.surface import FloatArray, modified_hausdorff

__all__ = ["PRESETS", "Figure", "Preset", "get_preset"]


@dataclass(frozen=True)
class Figure:
    """One number of a published evaluation.

    Attributes:
        name: As the publication prints it, with a suffix where we offer several readings of one name.
        value: A fraction, not per cent, or a distance; NaN where it is undefined.
        unit: ``""`` or ``"px"``.
        definition: How it is computed here, with what happens to undefined values.
        n: Cases that went into it; of a mean over classes, classes.
        n_undefined: Those left out of it.
    """

    name: str
    value: float
    unit: str
    definition: str
    n: int
    n_undefined: int = 0


@dataclass(frozen=True)
class Preset:
    """How a publication evaluates.

    Attributes:
        name: As given.
        source: Publication, and where its evaluation is described.
        resolution: Height and width at which it evaluates, ``None`` for the original; the caller resizes.
        measure: ``(prediction, truth)`` class indices of one case → the numbers that pixel counts do not give.
        figures: ``(confusion (K, K) of all cases pooled, those numbers by name, each (cases,))`` → published metrics.
        remarks: What a reader must know before comparing.
    """

    name: str
    source: str
    resolution: tuple[int, int] | None
    measure: Callable[[NDArray[Any], NDArray[Any]], dict[str, float]]
    figures: Callable[[NDArray[np.int64], Mapping[str, FloatArray]], list[Figure]]
    remarks: tuple[str, ...] = ()


def _lmnet_measure(prediction: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    predicted, true = prediction > 0, truth > 0
    sizes = int(np.count_nonzero(predicted)), int(np.count_nonzero(true))
    return {
        "hausdorff": modified_hausdorff(predicted, true),
        "diagonal": math.hypot(*truth.shape),
        "rad": (sizes[0] - sizes[1]) / sizes[1] if sizes[1] else 0.0,
    }


def _lmnet_figures(confusion: NDArray[np.int64], cases: Mapping[str, FloatArray]) -> list[Figure]:
    """The metrics of LM-Net's tables, pooled over all cases unless their definition says otherwise."""
    n = cases["hausdorff"].size
    hits, true, predicted = confusion[1:, 1:].sum(), confusion[1:].sum(), confusion[:, 1:].sum()
    foreground = {
        name: float(value) if name == "rad" else float(np.nan_to_num(value))
        for name, value in overlap_metrics(np.array([hits, predicted, true]), int(confusion.sum())).items()
    }
    counts = np.stack([np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)], axis=1)
    by_class = overlap_metrics(counts, int(confusion.sum()))
    distances = cases["hausdorff"]
    known = np.isfinite(distances)
    zero = "0/0 counts as 0"
    absent = "a class neither there nor predicted in the whole split is left out"
    hausdorff = (
        "per image: larger of the two mean nearest-neighbour distances between all foreground pixels, averaged; "
        "both masks empty count as 0, one empty "
    )
    return [
        Figure("Accuracy", foreground["accuracy"], "", "foreground against background, pooled", n),
        Figure("Precision", foreground["precision"], "", f"foreground, pooled; {zero}", n),
        Figure("Recall", foreground["recall"], "", f"foreground, pooled; {zero}", n),
        Figure("Specificity", foreground["specificity"], "", f"foreground, pooled; {zero}", n),
        Figure("IoU", foreground["iou"], "", f"foreground, pooled; {zero}", n),
        Figure("mDice", float(np.nanmean(by_class["dice"])), "", f"class mean with background, pooled; {absent}", n),
        Figure("mIoU", float(np.nanmean(by_class["iou"])), "", f"class mean with background, pooled; {absent}", n),
        Figure(
            "Hd (skip)",
            float(distances[known].mean()) if known.any() else math.nan,
            "px",
            hausdorff + "is left out",
            int(known.sum()),
            int((~known).sum()),
        ),
        Figure(
            "Hd (penalty)",
            float(np.where(known, distances, cases["diagonal"]).mean()),
            "px",
            hausdorff + "counts as the image diagonal",
            n,
        ),
        Figure("RAD (pooled)", foreground["rad"], "", "all predicted less all true foreground pixels / all true", n),
        Figure("RAD (per image)", float(cases["rad"].mean()), "", "mean over images; an empty truth counts as 0", n),
    ]


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "lmnet",
            "LM-Net, arXiv 2501.03838, Tables 1-10, and its published code",
            (256, 256),
            _lmnet_measure,
            _lmnet_figures,
            (
                "mDice and mIoU include the background and come from one confusion matrix of the whole split: "
                "do not compare them with per-image foreground means of other publications.",
                "The paper does not say how images with an undefined Hd were treated, nor whether RAD is pooled: both "
                "readings are given.",
                "The paper prints fractions in per cent.",
                "With more than two classes, foreground means any class but the background.",
            ),
        ),
    )
}
"""By name."""


def get_preset(name: str) -> Preset:
    """Return the preset called ``name``.

    Raises:
        UserError: There is none of that name.
    """
    return lookup("evaluation preset {} is unknown", name, PRESETS)
