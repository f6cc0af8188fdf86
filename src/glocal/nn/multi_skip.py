"""LM-Net's multi-scale skip: a level of the encoder fused with the levels next to it (arXiv 2501.03838)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm
from glocal.nn.upsample import UpsampleConv

__all__ = ["MultiSkip"]


class MultiSkip(nn.Module):
    """Brings the finer and the coarser neighbour of a level to its grid and width, concatenates, fuses.

    The two forms of LM-Net: 3×3 convolutions, with stride 2 from the finer level and behind a bilinear ×2 from the
    coarser one (the published code); or 2×2 average pooling and 1×1 convolutions (``pointwise``, the network of the
    paper's counts). The fusion is a convolution of the same size, batch norm, GELU.

    Args:
        channels: Channels of the level, and of the output.
        finer: Channels of the level with twice the height and width; None: there is none.
        coarser: Channels of the level with half the height and width; None: there is none.
        pointwise: 1×1 convolutions.

    Raises:
        ValueError: Neither neighbour is given.

    Example:
        >>> import torch
        >>> from glocal.nn import MultiSkip
        >>> skip = MultiSkip(24, finer=12, coarser=48)
        >>> skip(torch.rand(1, 24, 8, 10), torch.rand(1, 12, 16, 20), torch.rand(1, 48, 4, 5)).shape
        torch.Size([1, 24, 8, 10])
    """

    def __init__(
        self, channels: int, finer: int | None = None, coarser: int | None = None, *, pointwise: bool = False
    ) -> None:
        super().__init__()
        if finer is None and coarser is None:
            raise ValueError("a multi-scale skip needs a neighbour; give finer=, coarser= or both (their channels)")
        size = 1 if pointwise else 3
        self.finer: nn.Module | None = None
        self.coarser: nn.Module | None = None
        if finer is not None:
            pool = nn.AvgPool2d(2) if pointwise else nn.Identity()
            stride = 1 if pointwise else 2
            self.finer = nn.Sequential(pool, nn.Conv2d(finer, channels, size, stride, size // 2))
        self.same = nn.Conv2d(channels, channels, size, padding=size // 2)
        if coarser is not None:
            self.coarser = UpsampleConv(coarser, channels, size)
        levels = 1 + (finer is not None) + (coarser is not None)
        self.fuse = ConvNorm(nn.Conv2d(levels * channels, channels, size, padding=size // 2))

    def forward(self, same: Tensor, finer: Tensor | None = None, coarser: Tensor | None = None) -> Tensor:
        """``(N, C, H, W)``, finer ``(N, ·, 2H, 2W)``, coarser ``(N, ·, H/2, W/2)`` -> ``(N, C, H, W)``."""
        levels = [self.same(same)]
        if self.finer is not None:
            levels.insert(0, self.finer(finer))
        if self.coarser is not None:
            levels.append(self.coarser(coarser))
        return F.gelu(self.fuse(torch.cat(levels, 1)))
