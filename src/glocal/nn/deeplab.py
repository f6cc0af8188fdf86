"""Atrous spatial pyramid pooling of DeepLabv3 (arXiv 1706.05587, §3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm
from glocal.nn.dilated import DilatedConv2d

__all__ = ["AtrousPyramid"]


class AtrousPyramid(nn.Module):
    """A 1×1 convolution, dilated 3×3 convolutions and the mean of the map side by side, mixed by a 1×1 convolution.

    Batch norm and ReLU follow every convolution; all are without bias. In training the mean of a batch of one image is
    a single number a channel, of which there are no statistics: take batches of two at least.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of every branch and of the output.
        rates: Dilations.
        dropout: Of the output, in training.

    Example:
        >>> import torch
        >>> from glocal.nn import AtrousPyramid
        >>> AtrousPyramid(20, 16, (6, 12, 18))(torch.rand(2, 20, 16, 13)).shape
        torch.Size([2, 16, 16, 13])
    """

    def __init__(self, in_channels: int, out_channels: int, rates: Sequence[int], dropout: float = 0.5) -> None:
        super().__init__()
        dilated = [DilatedConv2d(in_channels, out_channels, rate, bias=False) for rate in rates]
        plain = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.branches = nn.ModuleList(ConvNorm(conv) for conv in (plain, *dilated))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.pooled = ConvNorm(nn.Conv2d(in_channels, out_channels, 1, bias=False))
        self.fuse = ConvNorm(nn.Conv2d((len(rates) + 2) * out_channels, out_channels, 1, bias=False))
        self.dropout = nn.Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        maps = [F.relu(branch(x)) for branch in self.branches]
        maps.append(F.relu(self.pooled(self.pool(x))).expand_as(maps[0]))
        out: Tensor = self.dropout(F.relu(self.fuse(torch.cat(maps, 1))))
        return out
