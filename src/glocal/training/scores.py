"""Scores on the validation split while training: Dice at the training size, and what a classifier gets right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glocal.evaluation.ranking import Ranking

__all__ = ["SCORES", "SHOWN", "ClassScores", "Scores", "class_scores", "confusion", "scores"]

SCORES = {
    "segmentation": ("mdice", "foreground_iou", "image_dice"),
    "classification": ("accuracy", "balanced_accuracy", "macro_f1", "auroc"),
}
"""Columns of ``metrics.csv`` that the best epoch can be chosen by, for each task."""

SHOWN = {
    "segmentation": {"mDice": "mdice", "Dice per image": "image_dice"},
    "classification": {"accuracy": "accuracy", "balanced accuracy": "balanced_accuracy", "AUROC": "auroc"},
}
"""The scores that are said after each epoch: words for the reader -> column."""


@dataclass(frozen=True)
class Scores:
    """What the best epoch can be chosen by."""

    mdice: float
    """Mean Dice of all classes, background included, each pooled over all pixels (LM-Net's paper, spec 6.5)."""
    foreground_iou: float
    """Mean intersection over union of the foreground classes, pooled likewise (LM-Net's published code)."""
    image_dice: float
    """Mean over images of the mean Dice of the foreground classes that occur in truth or prediction of the image."""


def confusion(prediction: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Counts ``(N, K, K)`` of pixels by image, true class and predicted class, from two ``(N, H, W)`` label maps."""
    n = len(labels)
    image = torch.arange(n, device=labels.device).view(n, 1, 1)
    index = (image * num_classes + labels.long()) * num_classes + prediction.long()
    return torch.bincount(index.flatten(), minlength=n * num_classes**2).view(n, num_classes, num_classes)


def _mean_where(values: Tensor, where: Tensor) -> float:
    """Mean of the values that count; nan where none does."""
    return float(values[where].mean()) if bool(where.any()) else float("nan")


def scores(counts: Tensor) -> Scores:
    """Scores of a split.

    Args:
        counts: ``(N, K, K)`` of :func:`confusion`, for all images.

    Returns:
        Classes that neither truth nor prediction has are left out of the means; a mean of nothing is nan.
    """
    counts = counts.double().cpu()
    hits = counts.diagonal(dim1=1, dim2=2)
    sizes = counts.sum(dim=1) + counts.sum(dim=2)
    occurs = sizes > 0
    dice = 2 * hits / sizes.clamp(min=1)
    pooled_hits, pooled_sizes = hits.sum(dim=0), sizes.sum(dim=0)
    pooled_dice = 2 * pooled_hits / pooled_sizes.clamp(min=1)
    iou = pooled_hits / (pooled_sizes - pooled_hits).clamp(min=1)
    foreground = occurs[:, 1:]
    with_foreground = foreground.any(dim=1)
    per_image = (dice[:, 1:] * foreground).sum(dim=1) / foreground.sum(dim=1).clamp(min=1)
    return Scores(
        mdice=_mean_where(pooled_dice, pooled_sizes > 0),
        foreground_iou=_mean_where(iou[1:], pooled_sizes[1:] > 0),
        image_dice=_mean_where(per_image, with_foreground),
    )


@dataclass(frozen=True)
class ClassScores:
    """What the best epoch of a classifier can be chosen by; a score of nothing is nan."""

    accuracy: float
    """Share of right answers: the highest logit, or in a multi-label set each class by itself, from 0 on or not."""
    balanced_accuracy: float
    """Mean recall of the classes; multi-label: mean over classes of (sensitivity + specificity) / 2."""
    macro_f1: float
    """Mean F1 of the classes."""
    auroc: float
    """Mean over classes of the area under the ROC curve, each against the rest."""


def class_scores(logits: Tensor, truth: Tensor) -> ClassScores:
    """Scores of a split.

    Args:
        logits: ``(N, K)``.
        truth: ``(N,)`` class indices, or ``(N, K)`` of 0 and 1.

    Returns:
        Classes that the truth does not show are left out of the means; and those it always shows, where a score needs
        images without the class, too.
    """
    values, several = logits.double().cpu(), truth.ndim == 2
    right = truth.bool().cpu() if several else torch.nn.functional.one_hot(truth.long().cpu(), values.shape[1]).bool()
    said = values >= 0 if several else torch.nn.functional.one_hot(values.argmax(dim=1), values.shape[1]).bool()
    probabilities = values.sigmoid() if several else values.softmax(dim=1)
    hits, number = (right & said).sum(dim=0).double(), float(len(right))
    shown, claimed = right.sum(dim=0).double(), said.sum(dim=0).double()
    recall = hits / shown
    specificity = (number - shown - claimed + hits) / (number - shown)
    columns = zip(probabilities.T.numpy(), right.T.numpy(), strict=True)
    areas = [float(Ranking(column, of).areas(np.ones((len(of), 1)))[0][0]) for column, of in columns]
    occurs, both = shown > 0, (shown > 0) & (shown < number)
    return ClassScores(
        accuracy=float((right == said).double().mean()) if several else float(hits.sum()) / number,
        balanced_accuracy=_mean_where((recall + specificity) / 2, both) if several else _mean_where(recall, occurs),
        macro_f1=_mean_where(2 * hits / (shown + claimed).clamp(min=1), occurs),
        auroc=_mean_where(torch.tensor(areas, dtype=torch.float64), both),
    )
