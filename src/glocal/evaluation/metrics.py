"""The metrics: what each is called, what it means, and how it follows from pixel counts or surface distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glocal.evaluation.surface import BoolArray, FloatArray, surface_distances

__all__ = [
    "DISTANCE_METRICS",
    "METRICS",
    "METRIC_NAMES",
    "OVERLAP_METRICS",
    "Metric",
    "confusion_matrix",
    "distance_metrics",
    "overlap_metrics",
    "ratio",
]


@dataclass(frozen=True)
class Metric:
    """What a reader must know of one metric.

    Attributes:
        name: Key in tables and JSON.
        label: Name as printed.
        kind: ``"fraction"`` (no unit) or ``"distance"`` (mm or pixels).
        direction: 1 where more is better, -1 where less is better, 0 where it is signed and best at 0.
        best: The value of a perfect prediction.
        worst: What stands for a structure missed or invented: a value, ``"diagonal"`` for the diagonal of the image, or
            ``None`` where nothing can.
        formula: In words and symbols. P and T are the predicted and true pixels of the class, S(·) their surfaces.
        surface: It compares surfaces, so it is not computed for the background.
    """

    name: str
    label: str
    kind: Literal["fraction", "distance"]
    direction: Literal[-1, 0, 1]
    best: float
    worst: float | Literal["diagonal"] | None
    formula: str
    surface: bool = False


METRICS: tuple[Metric, ...] = (
    Metric("dice", "Dice", "fraction", 1, 1.0, 0.0, "2·|P∩T| / (|P| + |T|)"),
    Metric("iou", "IoU", "fraction", 1, 1.0, 0.0, "|P∩T| / |P∪T|"),
    Metric("precision", "Precision", "fraction", 1, 1.0, 0.0, "|P∩T| / |P|"),
    Metric("recall", "Recall", "fraction", 1, 1.0, 0.0, "|P∩T| / |T|"),
    Metric("specificity", "Specificity", "fraction", 1, 1.0, None, "pixels outside P and T / pixels outside T"),
    Metric("accuracy", "Accuracy", "fraction", 1, 1.0, None, "pixels on which P and T agree / all pixels"),
    Metric("rad", "RAD", "fraction", 0, 0.0, None, "(|P| − |T|) / |T|; below 0: too small, above 0: too large"),
    Metric("hd", "HD", "distance", -1, 0.0, "diagonal", "largest distance from S(P) to S(T) or back", True),
    Metric(
        "hd95",
        "HD95",
        "distance",
        -1,
        0.0,
        "diagonal",
        "larger of the 95th percentiles of the distances S(P) to S(T) and S(T) to S(P), linearly interpolated",
        True,
    ),
    Metric(
        "assd",
        "ASSD",
        "distance",
        -1,
        0.0,
        "diagonal",
        "mean of all distances from S(P) to S(T) and back, pooled",
        True,
    ),
    Metric(
        "nsd",
        "NSD",
        "fraction",
        1,
        1.0,
        0.0,
        "points of S(P) and S(T) within the tolerance of the other surface / all points of both",
        True,
    ),
)
"""Every metric, in the order of all tables."""

METRIC_NAMES: tuple[str, ...] = tuple(metric.name for metric in METRICS)
OVERLAP_METRICS: tuple[str, ...] = tuple(metric.name for metric in METRICS if not metric.surface)
DISTANCE_METRICS: tuple[str, ...] = tuple(metric.name for metric in METRICS if metric.surface)

_CHUNK = 2**22


def confusion_matrix(prediction: NDArray[Any], truth: NDArray[Any], num_classes: int) -> NDArray[np.int64]:
    """Count pixels by true class (row) and predicted class (column).

    Args:
        prediction: Class indices in ``0 … num_classes − 1``, any shape.
        truth: Same shape.
        num_classes: K.

    Returns:
        int64, shape ``(K, K)``.
    """
    flat_prediction, flat_truth = prediction.reshape(-1), truth.reshape(-1)
    counts = np.zeros(num_classes**2, np.int64)
    for start in range(0, flat_truth.size, _CHUNK):
        pair = flat_truth[start : start + _CHUNK].astype(np.int64) * num_classes
        pair += flat_prediction[start : start + _CHUNK]
        counts += np.bincount(pair, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def overlap_metrics(counts: NDArray[Any], pixels: NDArray[Any] | int) -> dict[str, FloatArray]:
    """Compute every metric that needs counts only.

    Args:
        counts: ``(…, 3)``: pixels in both masks, predicted pixels, true pixels.
        pixels: All pixels of the image; broadcast against ``(…)``.

    Returns:
        float64 arrays ``(…)`` by metric name, NaN where the denominator is 0.
    """
    hits, predicted, true = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    pixels = np.broadcast_to(np.asarray(pixels, np.float64), hits.shape)
    union = predicted + true - hits
    neither = pixels - union
    return {
        "dice": ratio(2 * hits, predicted + true),
        "iou": ratio(hits, union),
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, true),
        "specificity": ratio(neither, pixels - true),
        "accuracy": ratio(hits + neither, pixels),
        "rad": ratio(predicted - true, true),
    }


def ratio(numerator: Any, denominator: Any, *, nothing: float = float("nan")) -> FloatArray:
    """Divide arrays of shapes that broadcast; ``nothing`` where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, np.float64), denominator)
    quotient = np.full(numerator.shape, nothing)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient


def distance_metrics(
    prediction: BoolArray, truth: BoolArray, spacing: Sequence[float] = (), *, tolerance: float
) -> dict[str, float]:
    """Compute every metric that needs surfaces, from one pair of distance vectors.

    Args:
        prediction: Boolean, 2-D or 3-D.
        truth: Boolean, same shape.
        spacing: Distance between neighbouring pixels along each axis; empty for 1 along all of them.
        tolerance: Of NSD, in the unit of the spacing.

    Returns:
        Values by metric name, NaN where a mask is empty; but NSD is 0 where only one is: the surface of the other is
        there, unmatched.
    """
    distances = surface_distances(prediction, truth, spacing)
    if distances is None:
        nothing = dict.fromkeys(DISTANCE_METRICS, float("nan"))
        return nothing | {"nsd": 0.0} if prediction.any() or truth.any() else nothing
    return {
        "hd": distances.hausdorff,
        "hd95": distances.percentile(95),
        "assd": distances.average,
        "nsd": distances.within(tolerance),
    }
