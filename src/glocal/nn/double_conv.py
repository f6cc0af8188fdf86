"""Two 3×3 convolutions, each with batch norm and ReLU: the stage of every U-Net (arXiv 1505.04597)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["DoubleConv"]


class DoubleConv(nn.Module):
    """3×3 convolution, batch norm, ReLU, and the same again; the size stays.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        hidden: Channels between the two; default: those of the output.
        bias: Whether the convolutions have biases, which their batch norms make idle.

    Example:
        >>> import torch
        >>> from glocal.nn import DoubleConv
        >>> DoubleConv(3, 16)(torch.rand(2, 3, 7, 9)).shape
        torch.Size([2, 16, 7, 9])
    """

    def __init__(self, in_channels: int, out_channels: int, hidden: int | None = None, *, bias: bool = False) -> None:
        super().__init__()
        hidden = out_channels if hidden is None else hidden
        self.first = ConvNorm(nn.Conv2d(in_channels, hidden, 3, padding=1, bias=bias))
        self.second = ConvNorm(nn.Conv2d(hidden, out_channels, 3, padding=1, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        x = F.relu(self.first(x), inplace=True)
        return F.relu(self.second(x), inplace=True)
