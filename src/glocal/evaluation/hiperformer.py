"""The evaluation of volumes that HiPerformer's published code has from TransUNet (arXiv 2509.20280; 2102.04306)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from glocal.evaluation.cases import EvaluatedCase
from glocal.evaluation.preset import Figure, Preset
from glocal.evaluation.surface import BoolArray, FloatArray, surface_distances

__all__ = ["HIPERFORMER", "dice_and_hd95"]


def dice_and_hd95(prediction: BoolArray, truth: BoolArray, spacing: tuple[float, ...] = ()) -> tuple[float, float]:
    """Dice and HD95 of one class by the published rules.

    HD95 is the 95th percentile of the surface distances of both directions *together*. Empty masks: something predicted
    where there is nothing counts as (1, 0); nothing predicted as (0, 0), whether there is something or not.

    Args:
        prediction: Boolean, 2-D or 3-D.
        truth: Boolean, same shape.
        spacing: Of the voxels along each axis; empty for 1, as published.
    """
    sizes = int(np.count_nonzero(prediction)), int(np.count_nonzero(truth))
    if not all(sizes):
        return (1.0 if sizes[0] else 0.0), 0.0
    found = surface_distances(prediction, truth, spacing)
    assert found is not None
    both = np.concatenate([found.from_prediction, found.from_truth])
    hits = int(np.count_nonzero(prediction & truth))
    return 2 * hits / sum(sizes), float(np.percentile(both, 95))


def _measure(case: EvaluatedCase, classes: int) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for k in range(1, classes):
        predicted, true = case.prediction == k, case.truth == k
        numbers[f"dice {k}"], numbers[f"hd95 {k}"] = dice_and_hd95(predicted, true)
        known = case.spacing is not None
        numbers[f"mm {k}"] = dice_and_hd95(predicted, true, tuple(case.spacing or ()))[1] if known else np.nan
        numbers[f"rule {k}"] = float(not (predicted.any() and true.any()))
    return numbers


def _figures(confusion: NDArray[np.int64], cases: Mapping[str, FloatArray]) -> list[Figure]:
    """Means over cases, then over the foreground classes."""
    classes = range(1, len(confusion))
    n = len(cases["dice 1"])
    by_rule = sum(int(cases[f"rule {k}"].sum()) for k in classes)
    rules = (
        "mean over cases, then over foreground classes; nothing there but something predicted counts as DSC 1 and "
        "HD95 0, nothing predicted as DSC 0 and HD95 0, whether there is something or not "
        f"({by_rule} of {n * len(classes)} values are by these rules)"
    )
    figures = [
        Figure("DSC", _mean(cases, "dice", classes), "", rules, n),
        Figure("HD95", _mean(cases, "hd95", classes), "px", f"{rules}; voxels 1 apart along every axis", n),
    ]
    distances = np.stack([cases[f"mm {k}"] for k in classes])
    if not np.isnan(distances).any():
        text = f"{rules}; with the spacing of the voxels, which the published code does not pass"
        figures.append(Figure("HD95 (mm)", float(distances.mean()), "mm", text, n))
    for k in classes:
        figures.append(Figure(f"DSC of class {k}", float(cases[f"dice {k}"].mean()), "", "mean over cases", n))
        figures.append(Figure(f"HD95 of class {k}", float(cases[f"hd95 {k}"].mean()), "px", "mean over cases", n))
    return figures


def _mean(cases: Mapping[str, FloatArray], what: str, classes: range) -> float:
    return float(np.mean([cases[f"{what} {k}"].mean() for k in classes]))


HIPERFORMER = Preset(
    "hiperformer",
    "HiPerformer, arXiv 2509.20280, and its published code (the protocol of TransUNet, arXiv 2102.04306)",
    None,
    _measure,
    _figures,
    (
        "A structure invented where there is none is a perfect score, a correctly empty prediction scores 0, and a "
        "missed structure lowers the mean HD95: compare with published tables alone.",
        "The published HD95 is in voxels, one slice step counting as 1, though the paper prints mm; it is the 95th "
        "percentile of both directions together, lower than hd95 above where the surfaces differ in size.",
        "Predictions are made for it as published: slices resized to the network by a cubic spline, the highest class "
        "taken there, that mask resized back to the nearest. No post-processing.",
        "The paper prints DSC in per cent. A picture counts as a volume of one slice.",
    ),
    resizing="spline",
    volumes=True,
)
"""``glocal evaluate RUN --preset hiperformer``."""
