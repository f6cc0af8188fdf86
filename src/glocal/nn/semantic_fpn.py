"""The head of Semantic FPN (Kirillov et al., Panoptic Feature Pyramid Networks, arXiv 1901.02446 §3)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from glocal.nn.conv_norm_relu import ConvNormReLU
from glocal.nn.pixel_classifier import PixelClassifier
from glocal.nn.resize import resize_like

__all__ = ["SemanticFPNHead"]


class SemanticFPNHead(nn.Module):
    """Logits on the finest of several maps: every map goes up to it step by step, and the results are summed.

    Level i has max(1, i) layers of 3×3 convolution, batch norm and ReLU, with a bilinear doubling behind each. The
    last doubling is one and the same for all coarser levels, so their sum is doubled in place of each.

    Args:
        in_channels: Channels of every map.
        num_classes: Channels of the logits.
        levels: How many maps; each has twice the stride of the one before.
        channels: Width of the head.
        dropout: Of whole channels, in training.

    Raises:
        ValueError: ``levels`` is below 1.

    Example:
        >>> import torch
        >>> from glocal.nn import FeaturePyramid, SemanticFPNHead
        >>> maps = FeaturePyramid([12, 24, 48], 32)([torch.rand(1, 12 << i, 16 >> i, 24 >> i) for i in range(3)])
        >>> SemanticFPNHead(32, num_classes=5, levels=3, channels=16)(maps).shape
        torch.Size([1, 5, 16, 24])
    """

    def __init__(
        self, in_channels: int, num_classes: int, *, levels: int = 4, channels: int = 128, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(f"levels is {levels}; it must be at least 1")
        convs = (
            [ConvNormReLU(channels if j else in_channels, channels) for j in range(max(1, i))] for i in range(levels)
        )
        self.levels = nn.ModuleList(map(nn.ModuleList, convs))
        self.classifier = PixelClassifier(channels, num_classes, dropout)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps ``(N, in_channels, H_i, W_i)``, finest first -> logits ``(N, num_classes, H_0, W_0)``.

        Raises:
            ValueError: More or fewer maps than ``levels``.
        """
        if len(maps) != len(self.levels):
            raise ValueError(f"{len(maps)} maps for a head of {len(self.levels)} levels; give one map a level")
        ready = []
        for i, x in enumerate(maps):
            for j, conv in enumerate(self.levels[i].children()):
                x = conv(resize_like(x, maps[i - j]) if j else x)
            ready.append(x)
        finest, *coarser = ready
        if coarser:
            finest = finest + resize_like(sum(coarser[1:], coarser[0]), finest)
        logits: Tensor = self.classifier(finest)
        return logits
