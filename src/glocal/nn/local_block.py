"""Residual blocks of a depth-wise convolution and a perceptron (ConvNeXt, arXiv 2201.03545; HiFuse's local branch)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.drop_path import DropPath

__all__ = ["ConvNeXtBlock", "LocalBlock"]


class LocalBlock(nn.Module):
    """``x + GELU(linear(layer norm(depth-wise 3×3(x))))``: HiFuse's light ConvNeXt block (arXiv 2209.10218).

    Args:
        channels: C.
        drop_path: Probability that a sample skips the block, in training.

    Example:
        >>> import torch
        >>> from glocal.nn import LocalBlock
        >>> LocalBlock(24)(torch.rand(2, 24, 7, 9)).shape
        torch.Size([2, 24, 7, 9])
    """

    def __init__(self, channels: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.linear = nn.Linear(channels, channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C, H, W)``, channels-last in memory where ``x`` is."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        out: Tensor = x + self.drop_path(F.gelu(self.linear(y))).permute(0, 3, 1, 2)
        return out


class ConvNeXtBlock(nn.Module):
    """``x + γ · linear(GELU(linear(layer norm(depth-wise 7×7(x)))))``, four times as wide in the middle.

    :meth:`merge` folds γ into the last layer.

    Args:
        channels: C.
        drop_path: Probability that a sample skips the block, in training.
        layer_scale: What each channel of γ begins with.

    Example:
        >>> import torch
        >>> from glocal.nn import ConvNeXtBlock
        >>> ConvNeXtBlock(24)(torch.rand(2, 24, 7, 9)).shape
        torch.Size([2, 24, 7, 9])
    """

    def __init__(self, channels: int, drop_path: float = 0.0, *, layer_scale: float = 1e-6) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)
        self.gamma: nn.Parameter | None = nn.Parameter(torch.full((channels,), layer_scale))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C, H, W)``, channels-last in memory where ``x`` is."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.fc2(F.gelu(self.fc1(y)))
        y = self.drop_path(y if self.gamma is None else self.gamma * y)
        out: Tensor = x + y.permute(0, 3, 1, 2)
        return out

    @torch.no_grad()
    def merge(self) -> None:
        """Fold γ into the last layer, in place; a second call changes nothing."""
        if self.gamma is None:
            return
        self.fc2.weight.mul_(self.gamma[:, None])
        self.fc2.bias.mul_(self.gamma)
        self.gamma = None
