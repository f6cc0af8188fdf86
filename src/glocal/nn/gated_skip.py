"""A skip connection gated by the decoder and widened by a pyramid of kernels (PGA of HiPerformer, arXiv 2509.20280)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from glocal.nn.attention_gate import GroupedAttentionGate
from glocal.nn.pyramid_squeeze import PyramidSqueezeAttention

__all__ = ["GatedPyramidSkip"]


class GatedPyramidSkip(nn.Module):
    """The gated one of skip and decoder beside the other, through pyramid squeeze attention: twice the channels.

    Args:
        channels: Of decoder and skip, a multiple of 2.
        gated: What the gate is put on, as in :class:`GroupedAttentionGate`.
        reduction: As in :class:`PyramidSqueezeAttention`.

    Example:
        >>> import torch
        >>> from glocal.nn import GatedPyramidSkip
        >>> fuse = GatedPyramidSkip(32)
        >>> fuse(torch.rand(2, 32, 7, 9), torch.rand(2, 32, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
    """

    def __init__(self, channels: int, *, gated: Literal["skip", "decoder"] = "skip", reduction: int = 16) -> None:
        super().__init__()
        self.gate = GroupedAttentionGate(channels, channels // 2, gated=gated)
        self.attention = PyramidSqueezeAttention(2 * channels, 2 * channels, reduction=reduction)

    def forward(self, decoder: Tensor, skip: Tensor) -> Tensor:
        """Two maps ``(N, C, H, W)`` -> ``(N, 2C, H, W)``."""
        gated = self.gate(decoder, skip)
        other = decoder if self.gate.gated == "skip" else skip
        out: Tensor = self.attention(torch.cat([gated, other], 1))
        return out
