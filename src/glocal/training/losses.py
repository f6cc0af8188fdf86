"""Losses by name. For segmentation: of logits ``(N, K, H, W)`` of any float type and integer labels ``(N, H, W)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.errors import UserError, counted, optional_import
from glocal.training.classification_losses import ClassificationLoss

__all__ = [
    "LOSSES",
    "LOSS_OPTIONS",
    "LossConfig",
    "LossName",
    "SegmentationLoss",
    "balanced_weights",
    "effective_number_weights",
    "make_classification_loss",
    "make_loss",
    "resolve_loss",
]

LossName = Literal[
    "auto",
    "cross_entropy",
    "lmnet",
    "class_balanced",
    "dice_ce",
    "focal",
    "tversky",
    "boundary",
    "hiperformer",
    "dssaunet",
]

LOSS_OPTIONS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"weights": None, "label_smoothing": 0.0},
    "lmnet": {"weights": None, "label_smoothing": 0.001},
    "class_balanced": {"beta": 0.9999, "label_smoothing": 0.0},
    "dice_ce": {"weights": None, "label_smoothing": 0.0},
    "focal": {"weights": None, "gamma": 2.0},
    "tversky": {"false_positives": 0.3, "false_negatives": 0.7},
    "boundary": {"weights": None, "label_smoothing": 0.0, "boundary_weight": 0.1},
    "hiperformer": {},
    "dssaunet": {"argmax_dice": False},
}
"""Options each loss has, with their defaults; any other option is refused, so that none is ignored in silence."""

LOSSES: dict[str, tuple[str, ...]] = {
    "segmentation": tuple(LOSS_OPTIONS),
    "classification": ("cross_entropy", "class_balanced", "focal"),
}
"""The losses of each task."""


@dataclass(frozen=True)
class LossConfig:
    """Which loss, and its options. An option left empty takes the default of the loss.

    Attributes:
        name: auto (dice_ce for segmentation, cross_entropy for classification). Both tasks: cross_entropy;
            class_balanced (cross-entropy weighted by effective numbers, as in LM-Net's paper); focal. Segmentation:
            lmnet (published LM-Net: weighted cross-entropy + weighted Dice); dice_ce; tversky; boundary (dice_ce +
            distance); hiperformer and dssaunet (cross-entropy and Dice in halves, as published).
        weights: One weight per class, background first, or balanced: by how rare each is in the training cases.
            Default: all 1; for lmnet 1 for background and 4 for the rest.
        label_smoothing: Share of the target spread over all classes, in [0, 1).
        beta: class_balanced: in [0, 1); 0 weights all classes alike, towards 1 by inverse frequency.
        gamma: focal: how much well-classified pixels count less.
        false_positives: tversky: penalty of false positives (alpha).
        false_negatives: tversky: penalty of false negatives (beta).
        boundary_weight: boundary: factor of the logarithmic Hausdorff-distance term.
        argmax_dice: dssaunet: whether Dice is that of the argmax, as published, which has no gradient.
    """

    name: LossName = "auto"
    weights: list[float] | Literal["balanced"] | None = None
    label_smoothing: float | None = None
    beta: float | None = None
    gamma: float | None = None
    false_positives: float | None = None
    false_negatives: float | None = None
    boundary_weight: float | None = None
    argmax_dice: bool | None = None


class SegmentationLoss(nn.Module):
    """A loss computed in float32 whatever the precision around it, so that float16 cannot overflow in its sums."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], num_classes: int) -> None:
        super().__init__()
        self.function = function
        self.num_classes = num_classes

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """``(N, K, H, W)`` and ``(N, H, W)`` -> scalar float32.

        Raises:
            ValueError: The logits have not ``num_classes`` channels, or the labels another size.
        """
        if logits.shape[1] != self.num_classes or logits.shape[2:] != labels.shape[1:]:
            raise ValueError(
                f"the loss takes logits (N, {self.num_classes}, H, W) and labels (N, H, W), "
                f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
            )
        with torch.autocast(logits.device.type, enabled=False):
            return self.function(logits.float(), labels.long())


def effective_number_weights(class_pixels: Sequence[int], beta: float) -> list[float]:
    """Class weights ``(1 - beta) / (1 - beta ** n)``, scaled to sum to the number of classes.

    Cui et al., *Class-balanced loss based on effective number of samples*, CVPR 2019, which LM-Net's paper follows.

    Args:
        class_pixels: ``n``, how many training pixels each class has. A class without pixels gets weight 0.
        beta: In [0, 1).

    Returns:
        One weight per class.
    """
    raw = [(1 - beta) / (1 - beta**n) if n > 0 else 0.0 for n in class_pixels]
    return [len(raw) * w / sum(raw) for w in raw]


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """Class weights ``total / (K * n)`` from how often each class occurs; a class that does not occur gets 0."""
    return [sum(counts) / (len(counts) * n) if n > 0 else 0.0 for n in counts]


def resolve_loss(config: LossConfig) -> LossConfig:
    """``config`` with the defaults of its loss filled in.

    Raises:
        UserError: The name is unknown, an option does not belong to the loss, or a value is out of range.
    """
    if config.name not in LOSS_OPTIONS:
        raise UserError(f"loss.name is {config.name!r}; choose from: {', '.join(get_args(LossName))}")
    options = LOSS_OPTIONS[config.name]
    given = {key: value for key, value in vars(config).items() if key != "name" and value is not None}
    for key in given:
        if key not in options:
            raise UserError(
                f"loss.{key} has no effect on the loss {config.name!r}; remove it (its options: {', '.join(options)})"
            )
    resolved = replace(config, **{**options, **given})
    smoothing, beta = resolved.label_smoothing or 0.0, resolved.beta or 0.0
    if not 0 <= smoothing < 1:
        raise UserError(f"loss.label_smoothing is {smoothing}; it must be at least 0 and below 1")
    if not 0 <= beta < 1:
        raise UserError(f"loss.beta is {beta}; it must be at least 0 and below 1")
    for key in ("gamma", "false_positives", "false_negatives", "boundary_weight"):
        if (getattr(resolved, key) or 0.0) < 0:
            raise UserError(f"loss.{key} is {getattr(resolved, key)}; it must not be negative")
    if isinstance(resolved.weights, str):
        if resolved.weights != "balanced":
            raise UserError(f"loss.weights is {resolved.weights!r}; give one weight per class, or balanced")
    elif resolved.weights is not None and (min(resolved.weights, default=0) < 0 or sum(resolved.weights) <= 0):
        raise UserError(f"loss.weights is {resolved.weights}; give one weight of at least 0 per class, not all 0")
    return resolved


def _weights(config: LossConfig, num_classes: int, counts: Sequence[int] | None) -> list[float] | None:
    """One weight per class, or None for all alike."""
    weights = config.weights
    if weights is None and config.name == "lmnet":
        weights = [1.0] + [4.0] * (num_classes - 1)
    if config.name == "class_balanced":
        assert counts is not None
        assert config.beta is not None
        weights = effective_number_weights(counts, config.beta)
    if isinstance(weights, str):
        assert counts is not None
        weights = balanced_weights(counts)
    if weights is not None and len(weights) != num_classes:
        raise UserError(
            f"loss.weights has {counted(len(weights), 'value')}; the data has {num_classes} classes, give one for each"
        )
    return weights


def make_classification_loss(
    config: LossConfig, num_classes: int, counts: Sequence[int], cases: int, multi_label: bool = False
) -> ClassificationLoss:
    """Make the loss of a classifier.

    Args:
        config: Name and options; empty ones take the defaults of the loss.
        num_classes: K.
        counts: Training cases that show each class.
        cases: Training cases.
        multi_label: Whether a case may show several classes, or none; ``balanced`` is then absent over present.

    Raises:
        UserError: Options that do not belong to the loss, not one weight per class, or a loss for segmentation.
    """
    config = resolve_loss(config)
    assert config.name in LOSSES["classification"]
    if multi_label and config.weights == "balanced":
        weights: list[float] | None = [(cases - n) / n if n else 0.0 for n in counts]
    else:
        weights = _weights(config, num_classes, counts)
    return ClassificationLoss(
        num_classes,
        weights=weights,
        label_smoothing=config.label_smoothing or 0.0,
        gamma=config.gamma or 0.0,
        multi_label=multi_label,
    )


def make_loss(config: LossConfig, num_classes: int, class_pixels: Sequence[int] | None = None) -> SegmentationLoss:
    """Make the loss of a segmentation network.

    Args:
        config: Name and options; empty ones take the defaults of the loss.
        num_classes: K, at least 2, background included.
        class_pixels: Training pixels of each class; needed by ``class_balanced`` and ``balanced`` weights.

    Raises:
        UserError: Options that do not belong to the loss, or not one weight per class.
    """
    config = resolve_loss(config)
    weights = _weights(config, num_classes, class_pixels)
    smoothing = config.label_smoothing or 0.0
    if config.name in ("cross_entropy", "class_balanced"):
        return SegmentationLoss(_CrossEntropy(weights, smoothing), num_classes)
    losses = optional_import("monai.losses", "train")
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float32)
    labels = {"to_onehot_y": True}
    if config.name == "lmnet":
        # Dice with squared denominator over the whole batch; the weighted sum is divided by K (LM-Net spec 6.3)
        dice = losses.DiceLoss(softmax=True, squared_pred=True, batch=True, weight=weight, **labels)
        return SegmentationLoss(_Sum([(1.0, _CrossEntropy(weights, smoothing)), (1.0, _Monai(dice))]), num_classes)
    if config.name in ("hiperformer", "dssaunet"):
        dice = losses.DiceLoss(**_half_dice(config), batch=True, **labels)
        return SegmentationLoss(_Sum([(0.5, _CrossEntropy(None, 0.0)), (0.5, _Monai(dice))]), num_classes)
    if config.name == "focal":
        focal = losses.FocalLoss(gamma=config.gamma, weight=weight, use_softmax=True, **labels)
        return SegmentationLoss(_Monai(focal), num_classes)
    if config.name == "tversky":
        tversky = losses.TverskyLoss(
            softmax=True, alpha=config.false_positives, beta=config.false_negatives, batch=True, **labels
        )
        return SegmentationLoss(_Monai(tversky), num_classes)
    dice_ce = _Monai(losses.DiceCELoss(softmax=True, batch=True, weight=weight, label_smoothing=smoothing, **labels))
    if config.name == "dice_ce":
        return SegmentationLoss(dice_ce, num_classes)
    assert config.boundary_weight is not None
    distance = _Monai(losses.LogHausdorffDTLoss(softmax=True, **labels))  # Karimi and Salcudean, IEEE TMI 2019
    return SegmentationLoss(_Sum([(1.0, dice_ce), (config.boundary_weight, distance)]), num_classes)


def _half_dice(config: LossConfig) -> dict[str, Any]:
    """Options of MONAI's Dice loss, which is the other half beside cross-entropy.

    HiPerformer (spec 6.3): all classes, squares in the denominator, 1e-5 added. DSSAU-Net (spec 6.3): foreground, 1e-6
    added; of the argmax as published, or of probabilities.
    """
    if config.name == "hiperformer":
        return {"softmax": True, "squared_pred": True, "smooth_nr": 1e-5, "smooth_dr": 1e-5}
    common = {"include_background": False, "smooth_nr": 1e-6, "smooth_dr": 1e-6}
    return {**common, "other_act": _chosen} if config.argmax_dice else {**common, "softmax": True}


def _chosen(logits: Tensor) -> Tensor:
    """``(N, K, H, W)`` -> 1 where a class has the highest logit, else 0."""
    return F.one_hot(logits.argmax(dim=1), logits.shape[1]).movedim(-1, 1).to(logits.dtype)


class _CrossEntropy(nn.Module):
    """Softmax cross-entropy; with weights the mean is over the weights of the targets (torch's definition)."""

    weight: Tensor | None

    def __init__(self, weights: Sequence[float] | None, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer(
            "weight", None if weights is None else torch.tensor(weights, dtype=torch.float32), persistent=False
        )
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, weight=self.weight, label_smoothing=self.label_smoothing)


class _Monai(nn.Module):
    """A MONAI loss, which wants the labels with a channel axis."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        value: Tensor = self.loss(logits, labels[:, None])
        return value


class _Sum(nn.Module):
    """Weighted sum of losses."""

    def __init__(self, terms: Sequence[tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.factors = [factor for factor, _ in terms]
        self.terms = nn.ModuleList([term for _, term in terms])

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        values = [factor * term(logits, labels) for factor, term in zip(self.factors, self.terms, strict=True)]
        return torch.stack(values).sum()
