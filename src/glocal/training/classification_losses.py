"""Losses of a classifier: of logits ``(N, K)`` and class indices, shares of classes, or classes that are present."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ClassificationLoss"]


class ClassificationLoss(nn.Module):
    """Cross-entropy or focal loss, in float32 whatever the precision around it.

    Args:
        num_classes: K.
        weights: One per class. Of classes that exclude each other the mean is over the weights of the targets (torch's
            definition); in a multi-label set they multiply the loss where the class is present.
        label_smoothing: Share of the target spread over all classes; multi-label: over present and absent.
        gamma: 0 for cross-entropy; otherwise focal: each term times (1 - p) ** gamma (Lin et al., ICCV 2017).
        multi_label: Each class is present or absent by itself (sigmoid), rather than one of them (softmax).
    """

    weight: Tensor | None

    def __init__(
        self,
        num_classes: int,
        *,
        weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        gamma: float = 0.0,
        multi_label: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.gamma = gamma
        self.multi_label = multi_label
        weight = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """``(N, K)`` and ``(N,)`` class indices or ``(N, K)`` shares -> scalar float32, the mean over images.

        Raises:
            ValueError: The logits have not ``num_classes`` columns, or the labels do not go with them.
        """
        n = len(logits)
        if logits.shape != (n, self.num_classes) or labels.shape not in ((n,), logits.shape):
            raise ValueError(
                f"the loss takes logits (N, {self.num_classes}) and labels (N,) or (N, {self.num_classes}), "
                f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
            )
        with torch.autocast(logits.device.type, enabled=False):
            shares = labels.float() if labels.ndim == 2 else F.one_hot(labels.long(), self.num_classes).float()
            return self._sigmoid(logits.float(), shares) if self.multi_label else self._softmax(logits.float(), shares)

    def _softmax(self, logits: Tensor, shares: Tensor) -> Tensor:
        log_p = logits.log_softmax(dim=1)
        smooth = (1 - self.label_smoothing) * shares + self.label_smoothing / self.num_classes
        terms = -smooth * log_p
        if self.gamma:
            terms = terms * (1 - log_p.exp()) ** self.gamma
        if self.weight is None:
            return terms.sum() / len(logits)
        return (terms * self.weight).sum() / (shares * self.weight).sum()

    def _sigmoid(self, logits: Tensor, shares: Tensor) -> Tensor:
        smooth = (1 - self.label_smoothing) * shares + self.label_smoothing / 2
        present, absent = -smooth * F.logsigmoid(logits), -(1 - smooth) * F.logsigmoid(-logits)
        if self.gamma:
            p = logits.sigmoid()
            present, absent = present * (1 - p) ** self.gamma, absent * p**self.gamma
        if self.weight is not None:
            present = present * self.weight
        return (present + absent).mean()
