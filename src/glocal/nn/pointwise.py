"""The 1×1 convolution as what it is, a matrix product."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PointwiseConv2d"]


class PointwiseConv2d(nn.Conv2d):
    """1×1 convolution, computed as one matrix product over all pixels; the result is channels-last in memory.

    For maps that are channels-last nothing is copied. The tensors are those of :class:`torch.nn.Conv2d`.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        bias: Whether there is a bias.

    Example:
        >>> import torch
        >>> from glocal.nn import PointwiseConv2d
        >>> PointwiseConv2d(24, 8)(torch.rand(2, 24, 7, 9)).shape
        torch.Size([2, 8, 7, 9])
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
