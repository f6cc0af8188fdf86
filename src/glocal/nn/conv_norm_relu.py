"""A convolution, its batch norm and a ReLU: what heads for dense prediction are made of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["ConvNormReLU"]


class ConvNormReLU(ConvNorm):
    """2-D convolution that keeps the size, batch norm, ReLU. ``merge`` folds the norm into the convolution.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel, odd.

    Raises:
        ValueError: ``out_channels`` is below 1.

    Example:
        >>> import torch
        >>> from glocal.nn import ConvNormReLU
        >>> ConvNormReLU(12, 8)(torch.rand(2, 12, 5, 7)).shape
        torch.Size([2, 8, 5, 7])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        if out_channels < 1:
            raise ValueError(f"{out_channels} channels; a convolution gives at least 1")
        super().__init__(nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False))
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        return F.relu(super().forward(x))
