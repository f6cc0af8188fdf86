"""A gate a pixel and channel from a bottleneck of large convolutions (SPE of HiPerformer, arXiv 2509.20280)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["SpatialBottleneckGate"]


class SpatialBottleneckGate(nn.Module):
    """7×7 convolution to C/r, batch norm, ReLU, 7×7 convolution back to C, batch norm, sigmoid; multiplied into x.

    It is the spatial half of the global attention mechanism (arXiv 2112.05561). HiPerformer's SPE puts it on the map of
    the local branch.

    Args:
        channels: C, in and out.
        reduction: r.
        kernel_size: Side of both convolutions, odd.

    Raises:
        ValueError: ``reduction`` leaves no channel in the middle, or ``kernel_size`` is even.

    Example:
        >>> import torch
        >>> from glocal.nn import SpatialBottleneckGate
        >>> gate = SpatialBottleneckGate(24)
        >>> gate(torch.rand(2, 24, 7, 9)).shape
        torch.Size([2, 24, 7, 9])
    """

    def __init__(self, channels: int, reduction: int = 4, kernel_size: int = 7) -> None:
        super().__init__()
        if not 1 <= reduction <= channels:
            raise ValueError(f"reduction {reduction} of {channels} channels leaves none; use 1 to {channels}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}; it must be odd")
        middle, padding = channels // reduction, kernel_size // 2
        self.reduce = ConvNorm(nn.Conv2d(channels, middle, kernel_size, padding=padding))
        self.expand = ConvNorm(nn.Conv2d(middle, channels, kernel_size, padding=padding))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C, H, W)``."""
        return x * torch.sigmoid(self.expand(F.relu(self.reduce(x))))
