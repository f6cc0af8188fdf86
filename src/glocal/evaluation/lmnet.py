"""The evaluation of LM-Net (arXiv 2501.03838) as its publication and code did it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from glocal.evaluation.cases import EvaluatedCase
from glocal.evaluation.metrics import overlap_metrics
from glocal.evaluation.preset import Figure, Preset
from glocal.evaluation.surface import FloatArray, modified_hausdorff

__all__ = ["LMNET"]


def _measure(case: EvaluatedCase, classes: int) -> dict[str, float]:
    predicted, true = case.prediction > 0, case.truth > 0
    sizes = int(np.count_nonzero(predicted)), int(np.count_nonzero(true))
    return {
        "hausdorff": modified_hausdorff(predicted, true),
        "diagonal": math.hypot(*true.shape),
        "rad": (sizes[0] - sizes[1]) / sizes[1] if sizes[1] else 0.0,
    }


def _figures(confusion: NDArray[np.int64], cases: Mapping[str, FloatArray]) -> list[Figure]:
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


LMNET = Preset(
    "lmnet",
    "LM-Net, arXiv 2501.03838, Tables 1-10, and its published code",
    (256, 256),
    _measure,
    _figures,
    (
        "mDice and mIoU include the background and come from one confusion matrix of the whole split: "
        "do not compare them with per-image foreground means of other publications.",
        "The paper does not say how images with an undefined Hd were treated, nor whether RAD is pooled: both "
        "readings are given.",
        "The paper prints fractions in per cent.",
        "With more than two classes, foreground means any class but the background.",
    ),
)
"""By the name ``lmnet``."""
