"""Atrous spatial pyramid pooling, as LM-Net's Table 8 compares with (arXiv 2501.03838)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["ASPP"]


class ASPP(nn.Module):
    """Dilated 3×3 convolutions side by side with the mean of the map, concatenated and mixed by a 1×1 convolution.

    Differs from DeepLab's: the first branch is 3×3 too, and in the dilated branches the ReLU stands before the norm.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of every branch and of the output.
        rates: Dilations.

    Example:
        >>> import torch
        >>> from glocal.nn import ASPP
        >>> ASPP(20, 16)(torch.rand(2, 20, 16, 13)).shape
        torch.Size([2, 16, 16, 13])
    """

    def __init__(self, in_channels: int, out_channels: int, rates: Sequence[int] = (1, 6, 12, 18)) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 3, padding=rate, dilation=rate),
                nn.ReLU(inplace=True),
                nn.BatchNorm2d(out_channels),
            )
            for rate in rates
        )
        self.pooled = ConvNorm(nn.Conv2d(in_channels, out_channels, 1))
        self.fuse = ConvNorm(nn.Conv2d((len(rates) + 1) * out_channels, out_channels, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        pooled = F.relu(self.pooled(x.mean((2, 3), keepdim=True))).expand(-1, -1, *x.shape[-2:])
        return F.relu(self.fuse(torch.cat([*(branch(x) for branch in self.branches), pooled], 1)))
