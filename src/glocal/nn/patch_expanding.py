"""Patch expanding: the way up of a Swin U-Net (Cao et al., arXiv 2105.05537, §3.4)."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["PatchExpanding"]


class PatchExpanding(nn.Module):
    """Each pixel becomes scale×scale pixels: linear without bias, the channels moved to rows and columns, layer norm.

    Args:
        in_channels: C.
        out_channels: C'.
        scale: How many times larger the map becomes.

    Example:
        >>> import torch
        >>> from glocal.nn import PatchExpanding
        >>> PatchExpanding(24, 12)(torch.rand(2, 5, 7, 24)).shape
        torch.Size([2, 10, 14, 12])
    """

    def __init__(self, in_channels: int, out_channels: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.expand = nn.Linear(in_channels, scale**2 * out_channels, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, scale·H, scale·W, C')``."""
        return self.spread(self.patches(x))

    def patches(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> the finer pixels of each pixel, row by row, ``(N, H, W, scale², C')``."""
        y: Tensor = self.norm(self.expand(x).unflatten(-1, (self.scale**2, self.norm.normalized_shape[0])))
        return y

    def spread(self, patches: Tensor) -> Tensor:
        """Pixels of patches ``(N, H, W, scale², K)`` -> their map ``(N, scale·H, scale·W, K)``."""
        s = self.scale
        batch, height, width, _, channels = patches.shape
        places = patches.reshape(batch, height, width, s, s, channels).transpose(2, 3)
        return places.reshape(batch, s * height, s * width, channels)
