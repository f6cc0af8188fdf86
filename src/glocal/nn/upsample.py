"""Bilinear doubling followed by a convolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["UpsampleConv"]


class UpsampleConv(nn.Module):
    """Twice the size, bilinear with aligned corners, then a convolution.

    A 1×1 convolution commutes with the interpolation (both are linear, and the interpolation weights sum to 1), so
    there it runs first, on a quarter of the pixels.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the convolution's kernel, odd.

    Example:
        >>> import torch
        >>> from glocal.nn import UpsampleConv
        >>> UpsampleConv(24, 12)(torch.rand(1, 24, 5, 6)).shape
        torch.Size([1, 12, 10, 12])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, 2H, 2W)``."""
        if self.conv.kernel_size == (1, 1):
            return _double(self.conv(x))
        out: Tensor = self.conv(_double(x))
        return out

    def published_macs(self, inputs: tuple[Tensor, ...], output: Tensor) -> int:
        """Multiply-adds by the papers' counter, upsampling first: 11 an upsampled element, then the convolution."""
        upsampled = 4 * inputs[0].numel()
        return 11 * upsampled + upsampled * self.conv.weight[:, 0].numel()


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
