"""The residual block of diffusion models' U-Nets, as FCBFormer uses it (arXiv 2208.08352)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GroupNormResidual"]


class GroupNormResidual(nn.Module):
    """Twice group norm -> SiLU -> 3×3 convolution, around a shortcut.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output; where they differ, the shortcut is a 1×1 convolution.
        groups: Of each norm, or their greatest common divisor with its channels.

    Example:
        >>> import torch
        >>> from glocal.nn import GroupNormResidual
        >>> GroupNormResidual(24, 32)(torch.rand(2, 24, 7, 9)).shape
        torch.Size([2, 32, 7, 9])
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int = 32) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(math.gcd(groups, in_channels), in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(math.gcd(groups, out_channels), out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in_channels, H, W)`` -> ``(N, out_channels, H, W)``."""
        y = self.conv1(F.silu(self.norm1(x)))
        out: Tensor = self.conv2(F.silu(self.norm2(y)))
        return out + (x if self.shortcut is None else self.shortcut(x))
