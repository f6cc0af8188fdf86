"""A 1×1 convolution over maps of several sizes, brought to one size and concatenated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["ResizedFusion"]


class ResizedFusion(ConvNorm):
    """Maps at one size, concatenated, then a 1×1 convolution (with batch norm and ReLU).

    A 1×1 convolution commutes with the interpolation (both are linear, and the interpolation weights sum to 1), so each
    map meets its part of the kernel at its own size, and what is concatenated is never made.

    Args:
        channels: Of each map.
        out_channels: Channels of the output.
        norm: Whether batch norm and ReLU follow; without them the convolution has a bias.

    Example:
        >>> import torch
        >>> from glocal.nn import ResizedFusion
        >>> fuse = ResizedFusion([8, 12], 6)
        >>> fuse([torch.rand(2, 8, 6, 10), torch.rand(2, 12, 3, 5)], (12, 20)).shape
        torch.Size([2, 6, 12, 20])
    """

    def __init__(self, channels: Sequence[int], out_channels: int, *, norm: bool = True) -> None:
        super().__init__(nn.Conv2d(sum(channels), out_channels, 1, bias=not norm))
        self.channels = list(channels)
        self.activated = norm
        if norm:
            nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        else:
            self.norm = None

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:  # type: ignore[override]
        """``(N, channels[i], h_i, w_i)`` each -> ``(N, out_channels, *size)``; bilinear, corners not aligned."""
        y = None
        bias = self.conv.bias
        for x, weight in zip(maps, torch.split(self.conv.weight, self.channels, 1), strict=True):
            part = F.conv2d(x, weight, bias)
            bias = None  # it is added once
            if part.shape[-2:] != size:
                part = F.interpolate(part, size=size, mode="bilinear", align_corners=False)
            y = part if y is None else y + part
        assert y is not None
        if self.norm is not None:
            y = self.norm(y)
        return F.relu(y, inplace=True) if self.activated else y

    def published_macs(self, inputs: tuple[Sequence[Tensor], tuple[int, int]], output: Tensor) -> int:
        """Multiply-adds by the papers' counter: the convolution behind the resizing, and 4 an element of the norm."""
        return output.numel() * (sum(self.channels) + (4 if self.activated else 0))
