"""Multi-head self-attention over all tokens."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GlobalAttention", "head_width"]


def head_width(channels: int, num_heads: int) -> int:
    """Channels of one head.

    Raises:
        ValueError: The heads do not divide the channels; the message names numbers that do.
    """
    if num_heads < 1 or channels % num_heads:
        fitting = [str(n) for n in range(1, min(channels, 16) + 1) if channels % n == 0]
        raise ValueError(
            f"{channels} channels cannot be split into {num_heads} heads; num_heads may be {', '.join(fitting)}"
        )
    return channels // num_heads


class GlobalAttention(nn.Module):
    """Multi-head self-attention over tokens, by fused scaled-dot-product attention. No mask, no dropout.

    Args:
        channels: Channels of a token.
        num_heads: Heads; must divide ``channels``.

    Raises:
        ValueError: ``num_heads`` does not divide ``channels``.

    Example:
        >>> import torch
        >>> from glocal.nn import GlobalAttention
        >>> GlobalAttention(60, num_heads=12)(torch.rand(2, 35, 60)).shape
        torch.Size([2, 35, 60])
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        head_width(channels, num_heads)
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        for layer in (self.qkv, self.proj):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, tokens, C)`` -> ``(N, tokens, C)``."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        out: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out
