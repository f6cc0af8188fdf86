"""One case: its two label maps, checked and measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.errors import UserError
from glocal.evaluation.metrics import METRIC_NAMES, METRICS, confusion_matrix, distance_metrics, overlap_metrics
from glocal.evaluation.policy import Empty, EmptyPolicy
from glocal.evaluation.surface import FloatArray

__all__ = ["CaseResult", "EvaluatedCase", "check_case", "measure_case"]


@dataclass(frozen=True, eq=False)
class EvaluatedCase:
    """A prediction beside the truth, at the resolution at which they are compared.

    Attributes:
        id: Name of the case, unique.
        prediction: Class indices, integer or boolean, ``(H, W)`` or ``(D, H, W)``.
        truth: Class indices, same shape.
        group: What the case shares with others (a patient); ``None`` for a case of its own.
        spacing: Millimetres between neighbouring pixels along each axis of the arrays; ``None`` where unknown.
        image: For the pictures of the report only: the same shape, or with a last axis of 1 or 3 channels; bytes and
            floats in [0, 1] are shown as they are, other ranges stretched.
    """

    id: str
    prediction: NDArray[Any]
    truth: NDArray[Any]
    group: str | None = None
    spacing: tuple[float, ...] | None = None
    image: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class CaseResult:
    """The numbers of one case; K classes, M metrics in the order of :data:`~glocal.evaluation.metrics.METRICS`.

    Attributes:
        id: Of the case.
        group: Of the case.
        shape: Of its arrays.
        spacing: As measured with, empty for pixels.
        values: float64 ``(K, M)``; NaN where left out.
        filled: bool ``(K, M)``; the policy, not the formula, gave the value.
        counts: int64 ``(K, 3)``; pixels in both masks, predicted pixels, true pixels.
        empty: Of each class, which mask is empty.
    """

    id: str
    group: str | None
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    values: FloatArray
    filled: NDArray[np.bool_]
    counts: NDArray[np.int64]
    empty: tuple[Empty, ...]

    @property
    def pixels(self) -> int:
        """Number of pixels of the case."""
        return math.prod(self.shape)


def check_case(case: EvaluatedCase, num_classes: int) -> None:
    """Refuse a case that cannot be compared.

    Raises:
        UserError: The arrays differ in shape, are empty, are not whole numbers, hold a value that is no class, or the
            spacing is not one positive number per axis. The message names the case.
    """
    prediction, truth = case.prediction, case.truth
    if prediction.shape != truth.shape:
        raise UserError(
            f"case {case.id!r}: the prediction has shape {prediction.shape} and the truth {truth.shape}; "
            "predict at the size of the truth"
        )
    if truth.ndim not in (2, 3) or truth.size == 0:
        raise UserError(f"case {case.id!r}: label maps are (H, W) or (D, H, W) and not empty, got {truth.shape}")
    for what, labels in (("prediction", prediction), ("truth", truth)):
        if labels.dtype.kind not in "bui":
            raise UserError(
                f"case {case.id!r}: the {what} has type {labels.dtype}; give class indices as whole numbers"
            )
        lowest, highest = int(labels.min()), int(labels.max())
        if lowest < 0 or highest >= num_classes:
            value = lowest if lowest < 0 else highest
            raise UserError(
                f"case {case.id!r}: the {what} holds the value {value}, but the {num_classes} classes are "
                f"0 … {num_classes - 1}; correct the label map or name every class"
            )
    if case.spacing is not None:
        spacing = tuple(case.spacing)
        if len(spacing) != truth.ndim or not all(math.isfinite(step) and step > 0 for step in spacing):
            raise UserError(
                f"case {case.id!r}: spacing {spacing} is not {truth.ndim} positive lengths in mm; "
                "correct the header or evaluate in pixels (unit 'px')"
            )


def measure_case(
    case: EvaluatedCase, num_classes: int, policy: EmptyPolicy, tolerance: float, spacing: Sequence[float] = ()
) -> tuple[CaseResult, NDArray[np.int64]]:
    """Compute every metric of every class of a checked case.

    Args:
        case: See :func:`check_case`.
        num_classes: K; class 0 is the background, whose surface is not measured.
        policy: For undefined values.
        tolerance: Of NSD, in the unit of ``spacing``.
        spacing: To measure with; empty for pixels.

    Returns:
        The numbers, and the confusion matrix ``(K, K)``, true class by predicted class.
    """
    shape = case.truth.shape
    confusion = confusion_matrix(case.prediction, case.truth, num_classes)
    counts = np.stack([np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)], axis=1)
    values = np.full((num_classes, len(METRICS)), np.nan)
    for name, column in overlap_metrics(counts, case.truth.size).items():
        values[:, METRIC_NAMES.index(name)] = column
    empty = tuple(Empty.of(int(predicted), int(true)) for _, predicted, true in counts)
    for k in range(1, num_classes):
        if empty[k] is not Empty.BOTH:
            found = distance_metrics(case.prediction == k, case.truth == k, spacing, tolerance=tolerance)
            for name, value in found.items():
                values[k, METRIC_NAMES.index(name)] = value
    diagonal = math.hypot(*(size * step for size, step in zip(shape, spacing or (1.0,) * len(shape), strict=True)))
    undefined = np.isnan(values)
    for k, m in np.argwhere(undefined):
        if k or not METRICS[m].surface:
            values[k, m] = policy.fill(METRICS[m], empty[k], diagonal)
    filled = undefined & ~np.isnan(values)
    return CaseResult(case.id, case.group, shape, tuple(spacing), values, filled, counts, empty), confusion
