"""The decoder step of TransUNet: bilinear doubling, the skip beside it, two convolutions (arXiv 2102.04306, §3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glocal.nn.double_conv import DoubleConv

__all__ = ["UpsampleSkipBlock"]


class UpsampleSkipBlock(nn.Module):
    """Twice the size, bilinear with aligned corners; concatenated with the skip; convolution, norm and ReLU, twice.

    Args:
        in_channels: Channels of the map.
        skip_channels: Channels of the skip; 0: there is none.
        out_channels: Channels of the output.
        bias: Whether the convolutions have biases.
        skip_first: Whether the skip comes before the map in the channels.

    Example:
        >>> import torch
        >>> from glocal.nn import UpsampleSkipBlock
        >>> step = UpsampleSkipBlock(24, 12, 8)
        >>> step(torch.rand(2, 24, 5, 7), torch.rand(2, 12, 10, 14)).shape
        torch.Size([2, 8, 10, 14])
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        *,
        bias: bool = False,
        skip_first: bool = False,
    ) -> None:
        super().__init__()
        self.skip_first = skip_first
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.conv = DoubleConv(in_channels + skip_channels, out_channels, bias=bias)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """``(N, in, H, W)`` and the skip ``(N, skip, 2H, 2W)`` -> ``(N, out, 2H, 2W)``."""
        x = self.up(x)
        if skip is not None:
            x = torch.cat([skip, x] if self.skip_first else [x, skip], 1)
        y: Tensor = self.conv(x)
        return y
