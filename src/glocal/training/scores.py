"""Dice on the validation split while training: at the training size, from one table of counts per image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Scores", "confusion", "scores"]


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
