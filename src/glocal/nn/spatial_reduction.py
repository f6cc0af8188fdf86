"""Attention of every pixel to a map made smaller (Pyramid Vision Transformer, arXiv 2102.12122, §3.3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.global_attention import head_width

__all__ = ["SpatialReductionAttention"]


class SpatialReductionAttention(nn.Module):
    """Multi-head attention whose keys and values come from a map made smaller by a strided convolution.

    Args:
        channels: C.
        num_heads: Heads; must divide ``channels``.
        reduction: Side r of the patches that become one key: a convolution r×r with stride r, then a layer norm. Rows
            and columns that fill no patch are left out; a map smaller than a patch is padded with zeros to one.
            1: keys and values come from the input itself, which may then be tokens.
        qkv_bias: Whether the projections to queries, keys and values have a bias.
        attention_dropout: Of the attention weights, in training.
        dropout: Behind the last projection, in training.

    Raises:
        ValueError: ``num_heads`` does not divide ``channels``, ``reduction`` is below 1, or a dropout is not a
            probability below 1.

    Example:
        >>> import torch
        >>> from glocal.nn import SpatialReductionAttention, TransformerBlock
        >>> block = TransformerBlock(24, SpatialReductionAttention(24, num_heads=3, reduction=4), mlp_ratio=4)
        >>> block(torch.rand(2, 14, 9, 24)).shape
        torch.Size([2, 14, 9, 24])
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        reduction: int = 1,
        *,
        qkv_bias: bool = True,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        head_width(channels, num_heads)
        if reduction < 1:
            raise ValueError(f"reduction is {reduction}; it is the side of a patch, at least 1")
        for name, rate in (("attention_dropout", attention_dropout), ("dropout", dropout)):
            if not 0 <= rate < 1:
                raise ValueError(f"{name} is {rate}; it is a probability, at least 0 and below 1")
        self.num_heads = num_heads
        self.reduction = reduction
        self.attention_dropout = attention_dropout
        self.dropout = dropout
        self.q = nn.Linear(channels, channels, bias=qkv_bias)
        self.kv = nn.Linear(channels, 2 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.sr = nn.Conv2d(channels, channels, reduction, reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(channels) if reduction > 1 else None
        for layer in (self.q, self.kv, self.proj):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """Attention of the pixels of a map, or of tokens.

        Args:
            x: ``(N, H, W, C)``; with ``reduction`` 1 also tokens ``(N, ..., C)``.
            source: What keys and values come from, ``(N, H', W', C)`` or tokens likewise; default: ``x``.

        Returns:
            As ``x``.
        """
        q = self._split(self.q(x).flatten(1, -2))
        k, v = self.kv(self._reduced(x if source is None else source)).chunk(2, -1)
        dropout = self.attention_dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, self._split(k), self._split(v), dropout_p=dropout)
        out = self.proj(out.transpose(1, 2).reshape(x.shape))
        return F.dropout(out, self.dropout, self.training)

    def _split(self, z: Tensor) -> Tensor:
        """``(N, tokens, C)`` -> ``(N, heads, tokens, C / heads)``."""
        return z.reshape(*z.shape[:2], self.num_heads, z.shape[2] // self.num_heads).transpose(1, 2)

    def _reduced(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> tokens ``(N, (H // r) · (W // r), C)``."""
        if self.sr is None or self.norm is None:
            return x.flatten(1, -2)
        down, right = (max(0, self.reduction - side) for side in x.shape[1:3])
        if down or right:
            x = F.pad(x, (0, 0, 0, right, 0, down))
        reduced: Tensor = self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).flatten(1, 2))
        return reduced
