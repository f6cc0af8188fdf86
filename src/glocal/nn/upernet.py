"""The head of UPerNet (Xiao et al., Unified Perceptual Parsing for Scene Understanding, arXiv 1807.10221 §3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm_relu import ConvNormReLU
from glocal.nn.pixel_classifier import PixelClassifier
from glocal.nn.resize import resize_like

__all__ = ["UPerNetHead"]


class UPerNetHead(nn.Module):
    """Logits on the finest of several maps: pyramid pooling on the coarsest, a feature pyramid, and all maps fused.

    The coarsest map is averaged to grids of ``pool_scales``, each of which goes through a 1×1 convolution back to the
    map's size; map and grids are fused by a 3×3 convolution. The finer maps go through 1×1 convolutions, get the next
    coarser one added, top down (bilinear), and go through 3×3 convolutions. All are brought to the finest size and
    fused by a 3×3 convolution. Every convolution but the last has a batch norm and a ReLU.

    Args:
        in_channels: Channels of the maps, finest first.
        num_classes: Channels of the logits.
        channels: Width of the head.
        pool_scales: Sides of the grids.
        dropout: Of whole channels, in training.

    Raises:
        ValueError: No map, or a grid without a cell.

    Example:
        >>> import torch
        >>> from glocal.nn import UPerNetHead
        >>> maps = [torch.rand(2, 12 << i, 16 >> i, 24 >> i) for i in range(3)]
        >>> UPerNetHead([12, 24, 48], num_classes=5, channels=16)(maps).shape
        torch.Size([2, 5, 16, 24])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        channels: int = 512,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not in_channels:
            raise ValueError("in_channels is empty; give the channels of at least one map")
        if any(scale < 1 for scale in pool_scales):
            raise ValueError(f"pool_scales is {list(pool_scales)}; a grid has a side of at least 1")
        *finer, coarsest = in_channels
        self.pool_scales = tuple(pool_scales)
        self.pooled = nn.ModuleList(ConvNormReLU(coarsest, channels, 1) for _ in self.pool_scales)
        self.bottleneck = ConvNormReLU(coarsest + len(self.pool_scales) * channels, channels)
        self.laterals = nn.ModuleList(ConvNormReLU(width, channels, 1) for width in finer)
        self.outputs = nn.ModuleList(ConvNormReLU(channels, channels) for _ in finer)
        self.fuse = ConvNormReLU(len(in_channels) * channels, channels)
        self.classifier = PixelClassifier(channels, num_classes, dropout)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps ``(N, C_i, H_i, W_i)``, finest first -> logits ``(N, num_classes, H_0, W_0)``."""
        *finer, coarsest = maps
        tops = [lateral(x) for lateral, x in zip(self.laterals, finer, strict=True)] + [self._pool(coarsest)]
        for i in range(len(finer) - 1, -1, -1):
            tops[i] = tops[i] + resize_like(tops[i + 1], tops[i])
        tops[:-1] = [output(x) for output, x in zip(self.outputs, tops[:-1], strict=True)]
        x = self.fuse(torch.cat([tops[0], *(resize_like(x, tops[0]) for x in tops[1:])], 1))
        logits: Tensor = self.classifier(x)
        return logits

    def _pool(self, x: Tensor) -> Tensor:
        """Pyramid pooling (PSPNet, arXiv 1612.01105 §3.2): ``(N, C, H, W)`` -> ``(N, channels, H, W)``."""
        grids = [conv(F.adaptive_avg_pool2d(x, side)) for side, conv in zip(self.pool_scales, self.pooled, strict=True)]
        out: Tensor = self.bottleneck(torch.cat([x, *(resize_like(grid, x) for grid in grids)], 1))
        return out
