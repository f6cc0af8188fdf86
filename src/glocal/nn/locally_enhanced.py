"""Attention over the whole map plus a depth-wise convolution (the last stage of DSSAU-Net, arXiv 2506.03684)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.global_attention import head_width
from glocal.nn.transformer import TransformerBlock

__all__ = ["LocallyEnhancedAttention", "PositionedBlock"]


class LocallyEnhancedAttention(nn.Module):
    """Multi-head attention over all tokens of a map, with a depth-wise convolution added before the projection.

    As published, the projection to queries, keys and values has no bias, and the convolution (local context
    enhancement) sees the block's input, where DSSA's sees the values.

    Args:
        channels: Channels C of a token.
        num_heads: Heads; must divide ``channels``.
        side_dwconv: Side of the depth-wise kernel, odd.

    Raises:
        ValueError: ``num_heads`` does not divide ``channels``, or the kernel has no centre.

    Example:
        >>> import torch
        >>> from glocal.nn import LocallyEnhancedAttention
        >>> attention = LocallyEnhancedAttention(64, num_heads=8)
        >>> attention(torch.rand(2, 6, 5, 64)).shape
        torch.Size([2, 6, 5, 64])
    """

    def __init__(self, channels: int, num_heads: int = 8, side_dwconv: int = 5) -> None:
        super().__init__()
        head_width(channels, num_heads)
        if side_dwconv < 1 or side_dwconv % 2 == 0:
            raise ValueError(f"side_dwconv is {side_dwconv}; a kernel with a centre needs an odd side, such as 5")
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.lce = nn.Conv2d(channels, channels, side_dwconv, padding=side_dwconv // 2, groups=channels)
        self.proj = nn.Linear(channels, channels)
        for layer in (self.qkv, self.proj):
            nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, H, W, C)``."""
        q, k, v = self.qkv(x.flatten(1, 2)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        y: Tensor = self.proj(out + self.lce(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return y


class PositionedBlock(nn.Module):
    """A transformer block on maps ``(N, C, H, W)`` with a depth-wise 3×3 convolution for the position in front of it.

    Args:
        channels: Channels C.
        attention: Maps ``(N, H, W, C)`` to the same shape.
        mlp_ratio: Width of the perceptron's middle, in multiples of ``channels``.
        drop_path: Probability that a sample skips one of the two branches, in training.

    Example:
        >>> import torch
        >>> from glocal.nn import DualSparseSelectionAttention, PositionedBlock
        >>> block = PositionedBlock(64, DualSparseSelectionAttention(64, num_heads=2))
        >>> torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), block)(torch.rand(1, 3, 34, 30)).shape
        torch.Size([1, 64, 32, 28])
    """

    def __init__(self, channels: int, attention: nn.Module, mlp_ratio: float = 3, drop_path: float = 0.0) -> None:
        super().__init__()
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.block = TransformerBlock(channels, attention, mlp_ratio, dropout=0.0, drop_path=drop_path, eps=1e-6)
        for layer in (self.block.mlp.fc1, self.block.mlp.fc2):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C, H, W)``, channels-last in memory."""
        x = x + self.position(x)
        out: Tensor = self.block(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out
