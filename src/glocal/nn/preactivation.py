"""Residual blocks that normalise before they convolve: ResUNet (arXiv 1711.10684) and ResUNet++ (arXiv 1911.07067)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["PreActivationBlock", "PreActivationStem"]


class PreActivationBlock(nn.Module):
    """Batch norm, ReLU, 3×3 convolution, batch norm, ReLU, 3×3 convolution; plus 3×3 convolution and batch norm of x.

    Nothing follows the sum. The shortcut is the 3×3 convolution of the published code; the paper has an identity.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Of the first convolution and of the shortcut.

    Example:
        >>> import torch
        >>> from glocal.nn import PreActivationBlock
        >>> PreActivationBlock(12, 24, stride=2)(torch.rand(2, 12, 7, 10)).shape
        torch.Size([2, 24, 4, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.first = ConvNorm(nn.Conv2d(in_channels, out_channels, 3, stride, padding=1))
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = ConvNorm(nn.Conv2d(in_channels, out_channels, 3, stride, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, ceil(H / stride), ceil(W / stride))``."""
        y = self.first(F.relu(self.norm(x), inplace=True))
        y = self.second(F.relu(y, inplace=True))
        out: Tensor = y + self.shortcut(x)
        return out


class PreActivationStem(nn.Module):
    """How such a network begins: 3×3 convolution, batch norm, ReLU, 3×3 convolution; plus a 3×3 convolution of x.

    Args:
        in_channels: Channels of the image.
        out_channels: Channels of the output.

    Example:
        >>> import torch
        >>> from glocal.nn import PreActivationStem
        >>> PreActivationStem(3, 16)(torch.rand(2, 3, 7, 9)).shape
        torch.Size([2, 16, 7, 9])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        out: Tensor = self.second(F.relu(self.first(x), inplace=True)) + self.shortcut(x)
        return out
