"""The block of HiFuse's global branch: windowed attention and one linear layer (arXiv 2209.10218)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.drop_path import DropPath

__all__ = ["WindowBlock"]


class WindowBlock(nn.Module):
    """``x + GELU(linear(attention(layer norm(x))))``: a Swin block with one layer in place of norm and perceptron.

    Args:
        channels: C.
        attention: Maps ``(N, H, W, C)`` to the same shape.
        drop_path: Probability that a sample skips the block, in training.

    Example:
        >>> import torch
        >>> from glocal.nn import WindowAttention, WindowBlock
        >>> block = WindowBlock(24, WindowAttention(24, num_heads=3, window_size=7, shift=True))
        >>> block(torch.rand(2, 10, 15, 24)).shape
        torch.Size([2, 10, 15, 24])
    """

    def __init__(self, channels: int, attention: nn.Module, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = attention
        self.linear = nn.Linear(channels, channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, H, W, C)``."""
        out: Tensor = x + self.drop_path(F.gelu(self.linear(self.attention(self.norm(x)))))
        return out
