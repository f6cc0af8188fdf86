"""The head of RetinaNet: at every anchor, classes and a box (Lin et al., arXiv 1708.02002 §4)."""

from __future__ import annotations

import math

from torch import Tensor, nn

__all__ = ["RetinaNetHead"]


class RetinaNetHead(nn.Module):
    """Two towers of 3×3 convolutions, for classes and for boxes; every map of a pyramid goes through the same head.

    Args:
        channels: Channels of the maps and of the towers.
        num_classes: Classes, each present or absent by itself.
        anchors: Boxes around every cell.
        depth: Convolutions of a tower, each with a ReLU.
        prior: Probability of every class at every anchor before training.

    Example:
        >>> import torch
        >>> from glocal.nn import RetinaNetHead
        >>> logits, offsets = RetinaNetHead(16, num_classes=3)(torch.rand(2, 16, 5, 4))
        >>> logits.shape, offsets.shape
        (torch.Size([2, 180, 3]), torch.Size([2, 180, 4]))
    """

    def __init__(
        self, channels: int, num_classes: int, *, anchors: int = 9, depth: int = 4, prior: float = 0.01
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.class_tower = _tower(channels, depth)
        self.box_tower = _tower(channels, depth)
        self.classes = nn.Conv2d(channels, anchors * num_classes, 3, padding=1)
        self.boxes = nn.Conv2d(channels, anchors * 4, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        assert self.classes.bias is not None
        nn.init.constant_(self.classes.bias, -math.log((1 - prior) / prior))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One map -> what it says at its anchors, cell by cell in rows, the anchors of a cell together.

        Args:
            x: ``(N, channels, H, W)``.

        Returns:
            Logits ``(N, H · W · anchors, num_classes)`` and offsets ``(N, H · W · anchors, 4)`` from the anchors.
        """
        logits = self.classes(self.class_tower(x)).permute(0, 2, 3, 1)
        offsets = self.boxes(self.box_tower(x)).permute(0, 2, 3, 1)
        return logits.unflatten(3, (-1, self.num_classes)).flatten(1, 3), offsets.unflatten(3, (-1, 4)).flatten(1, 3)


def _tower(channels: int, depth: int) -> nn.Sequential:
    layers = [layer for _ in range(depth) for layer in (nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*layers)
