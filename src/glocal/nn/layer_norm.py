"""Layer norm over the channels of a map."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LayerNorm2d"]


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channel axis at each pixel of ``(N, C, H, W)``; nothing is copied for channels-last maps.

    Args:
        channels: C.
        eps: Added to the variance.

    Example:
        >>> import torch
        >>> from glocal.nn import LayerNorm2d
        >>> LayerNorm2d(24)(torch.rand(2, 24, 7, 9)).shape
        torch.Size([2, 24, 7, 9])
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C, H, W)``, channels-last in memory."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)
