"""A residual block with a plain and a dilated path side by side (HiPerformer, arXiv 2509.20280, local branch)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["TwoPathBlock"]


class _ResidualPath(nn.Module):
    """Two 3×3 convolutions, each with a batch norm, beside a shortcut; ReLU in between and behind the sum."""

    def __init__(self, in_channels: int, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(_conv3x3(in_channels, channels, dilation))
        self.conv2 = ConvNorm(_conv3x3(channels, channels, dilation))
        same = in_channels == channels
        self.shortcut = None if same else ConvNorm(nn.Conv2d(in_channels, channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return F.relu(self.conv2(F.relu(self.conv1(x))) + shortcut)


class TwoPathBlock(nn.Module):
    """A residual path with plain 3×3 convolutions and one with dilated ones; a 1×1 convolution fuses both.

    The dilated path sees further at the same cost and resolution.

    Args:
        in_channels: Channels of the input.
        channels: Channels of each path and of the output. Where they are not ``in_channels`` the shortcut of each path
            is a 1×1 convolution with a batch norm, else the identity.
        dilation: Of both 3×3 convolutions of the dilated path.

    Raises:
        ValueError: ``dilation`` is below 1.

    Example:
        >>> import torch
        >>> from glocal.nn import TwoPathBlock
        >>> block = TwoPathBlock(24, 48)
        >>> block(torch.rand(2, 24, 7, 9)).shape
        torch.Size([2, 48, 7, 9])
    """

    def __init__(self, in_channels: int, channels: int, dilation: int = 2) -> None:
        super().__init__()
        if dilation < 1:
            raise ValueError(f"dilation is {dilation}; it must be at least 1")
        self.plain = _ResidualPath(in_channels, channels, 1)
        self.dilated = _ResidualPath(in_channels, channels, dilation)
        self.fuse = ConvNorm(nn.Conv2d(2 * channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, channels, H, W)``."""
        return F.relu(self.fuse(torch.cat([self.plain(x), self.dilated(x)], 1)))


def _conv3x3(in_channels: int, channels: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
