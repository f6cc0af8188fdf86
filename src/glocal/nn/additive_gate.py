"""The attention gate of Attention U-Net: a skip, weighed pixel by pixel by the decoder (arXiv 1804.03999)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["AdditiveAttentionGate"]


class AdditiveAttentionGate(nn.Module):
    """``skip · sigmoid(N(w · ReLU(N(W_g decoder) + N(W_x skip))))``: one gate a pixel; N are batch norms.

    Both maps have one size, as in the code that made the gate popular; the paper gates with a coarser map.

    Args:
        channels: Of decoder and skip, and of the result.
        hidden: Channels between.

    Example:
        >>> import torch
        >>> from glocal.nn import AdditiveAttentionGate
        >>> gate = AdditiveAttentionGate(64, 32)
        >>> gate(torch.rand(2, 64, 7, 9), torch.rand(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.decoder = ConvNorm(nn.Conv2d(channels, hidden, 1))
        self.skip = ConvNorm(nn.Conv2d(channels, hidden, 1))
        self.gate = ConvNorm(nn.Conv2d(hidden, 1, 1))

    def forward(self, decoder: Tensor, skip: Tensor) -> Tensor:
        """Two maps ``(N, C, H, W)`` -> the gated skip, ``(N, C, H, W)``."""
        gate = torch.sigmoid(self.gate(F.relu(self.decoder(decoder) + self.skip(skip))))
        return skip * gate
