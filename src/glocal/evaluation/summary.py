"""The content of ``summary.json``: statistics over cases, pooled figures, conventions; ``None`` for undefined."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.evaluation.metrics import METRIC_NAMES, METRICS, OVERLAP_METRICS, overlap_metrics
from glocal.evaluation.policy import Empty
from glocal.evaluation.statistics import Bootstrap, describe, finite, with_class_means
from glocal.evaluation.surface import FloatArray

if TYPE_CHECKING:
    from glocal.evaluation.evaluation import Evaluation

__all__ = ["FORMAT", "summarise"]

FORMAT = 1
_OVERLAP = [METRIC_NAMES.index(name) for name in OVERLAP_METRICS]


def summarise(evaluation: Evaluation) -> dict[str, Any]:
    """Return the summary of ``evaluation``; ``docs/evaluation.md`` explains every key."""
    settings = evaluation.settings
    groups = [result.group for result in evaluation.results]
    bootstrap = Bootstrap.over(groups, resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed)
    return {
        "format": FORMAT,
        "cases": len(groups),
        "groups": len({group for group in groups if group is not None}),
        "classes": list(evaluation.classes),
        "background": evaluation.classes[0],
        "conventions": _conventions(evaluation, bootstrap),
        **_over_cases(evaluation, bootstrap),
        "pooled": _pooled(evaluation, bootstrap),
        "confusion": evaluation.confusion.tolist(),
        "published": _published(evaluation),
        "notes": list(evaluation.notes),
    }


def _conventions(evaluation: Evaluation, bootstrap: Bootstrap) -> dict[str, Any]:
    settings = evaluation.settings
    spacings = sorted({result.spacing for result in evaluation.results if result.spacing})
    return {
        "policy": dataclasses.asdict(settings.policy),
        "unit": settings.unit,
        "tolerance": settings.tolerance,
        "spacing": [list(spacing) for spacing in spacings[:10]] or None,
        "spacings": len(spacings),
        "surface": "pixels with a face neighbour outside the mask; outside the image is outside the mask",
        "metrics": {metric.name: metric.formula for metric in METRICS},
        "macro": "mean over the classes of a case, then statistics over cases; NaN left out at both steps",
        "interval": {
            "of": "the mean",
            "method": "studentised bootstrap over clusters (groups, or single cases without one); percentile bootstrap "
            "for pooled figures",
            "clusters": bootstrap.num_clusters,
            "resamples": settings.resamples,
            "confidence": settings.confidence,
            "seed": settings.seed,
        },
    }


def _over_cases(evaluation: Evaluation, bootstrap: Bootstrap) -> dict[str, Any]:
    """Blocks ``per_class`` and ``macro``. One bootstrap serves all columns."""
    values = evaluation.values
    num_classes = values.shape[1]
    stacked = np.moveaxis(with_class_means(np.moveaxis(values, 1, 2)), 2, 1)  # (N, K + 2, M)
    intervals = bootstrap.means(stacked.reshape(len(stacked), -1)).reshape(*stacked.shape[1:], 2)
    filled = np.stack([result.filled for result in evaluation.results]).sum(axis=0)

    def block(row: int, columns: list[int], by_policy: bool) -> dict[str, Any]:
        facts = {}
        for m in columns:
            statistics = describe(stacked[:, row, m]) | {"ci": [finite(end) for end in intervals[row, m]]}
            if by_policy:
                statistics["n_by_policy"] = int(filled[row, m])
            facts[METRIC_NAMES[m]] = statistics | {"policy": evaluation.settings.policy.name}
        return facts

    everything = list(range(len(METRICS)))
    states = [[result.empty[k] for result in evaluation.results] for k in range(num_classes)]
    return {
        "per_class": {
            name: {
                "empty": {
                    "neither": states[k].count(Empty.NEITHER),
                    "both": states[k].count(Empty.BOTH),
                    "truth": states[k].count(Empty.TRUTH),
                    "prediction": states[k].count(Empty.PREDICTION),
                },
                "metrics": block(k, everything if k else _OVERLAP, True),
            }
            for k, name in enumerate(evaluation.classes)
        },
        "macro": {
            "foreground": block(num_classes, everything, False),
            "with_background": block(num_classes + 1, _OVERLAP, False),
        },
    }


def _pooled(evaluation: Evaluation, bootstrap: Bootstrap) -> dict[str, Any]:
    """Metrics of one confusion matrix of all cases."""
    counts = evaluation.counts
    pixels = np.array([result.pixels for result in evaluation.results], np.int64)
    metrics = overlap_metrics(counts.sum(axis=0), int(pixels.sum()))
    table = {name: with_class_means(column) for name, column in metrics.items()}
    intervals = bootstrap.pooled(counts, pixels)

    def block(row: int) -> dict[str, Any]:
        return {
            name: {"value": finite(column[row]), "ci": [finite(end) for end in intervals[name][row]]}
            for name, column in table.items()
        }

    num_classes = len(evaluation.classes)
    return {
        "definition": "from pixel counts added up over all cases; a class absent from all of them is left out of means",
        "per_class": {name: block(k) for k, name in enumerate(evaluation.classes)},
        "macro": {"foreground": block(num_classes), "with_background": block(num_classes + 1)},
        "pixel_accuracy": float(np.trace(evaluation.confusion) / evaluation.confusion.sum()),
    }


def _published(evaluation: Evaluation) -> dict[str, Any] | None:
    """The preset's figures, each beside the per-image foreground mean that bears the same name."""
    preset = evaluation.settings.preset
    if preset is None:
        return None
    means = per_image_means(evaluation.values)
    figures = []
    for figure in preset.figures(evaluation.confusion, evaluation.published):
        entry = dataclasses.asdict(figure) | {"value": finite(figure.value)}
        figures.append(entry | {"per_image_foreground": means.get(_BESIDE.get(figure.name, ""))})
    return {
        "preset": preset.name,
        "source": preset.source,
        "resolution": list(preset.resolution) if preset.resolution else None,
        "figures": figures,
        "remarks": list(preset.remarks),
    }


_BESIDE = {
    "Accuracy": "accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "Specificity": "specificity",
    "mDice": "dice",
    "mIoU": "iou",
    "IoU": "iou",
    "RAD (per image)": "rad",
}
"""Which of our metrics measures the same thing as a published figure."""


def per_image_means(values: FloatArray) -> dict[str, float | None]:
    """Return by metric the mean over cases of the mean over the foreground classes, for values ``(N, K, M)``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing defined
        means = np.nanmean(np.nanmean(values[:, 1:], axis=1), axis=0)
    return {name: finite(mean) for name, mean in zip(METRIC_NAMES, means, strict=True)}
