"""The perceptron that looks around: a depth-wise convolution between its layers (PVTv2; SegFormer's Mix-FFN)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.mlp import Mlp

__all__ = ["ConvMlp"]


class ConvMlp(Mlp):
    """Linear -> 3×3 depth-wise convolution -> GELU -> dropout -> linear -> dropout, on maps.

    The zeros around the map tell where the border is, so that no position table is needed (SegFormer, arXiv
    2105.15203, Eq. 3; PVTv2, arXiv 2106.13797, §3.3).

    Args:
        channels: C.
        hidden_channels: Width of the middle.
        dropout: Probability behind each layer, in training.

    Raises:
        ValueError: ``dropout`` is not a probability below 1.

    Example:
        >>> import torch
        >>> from glocal.nn import ConvMlp
        >>> ConvMlp(24, 96)(torch.rand(2, 7, 9, 24)).shape
        torch.Size([2, 7, 9, 24])
    """

    def __init__(self, channels: int, hidden_channels: int, dropout: float = 0.0) -> None:
        super().__init__(channels, hidden_channels, dropout=dropout)
        self.depthwise = nn.Conv2d(hidden_channels, hidden_channels, 3, padding=1, groups=hidden_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, H, W, C)``."""
        x = self.depthwise(self.fc1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = F.dropout(F.gelu(x), self.dropout, self.training)
        return F.dropout(self.fc2(x), self.dropout, self.training)
