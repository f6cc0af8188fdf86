"""A pyramid in which the deep maps are multiplied into the shallow ones (PMI of HiPerformer, arXiv 2509.20280)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["MultiplicativePyramid"]


class MultiplicativePyramid(nn.Module):
    """Top-down: each level becomes its own branch times a branch of the level below, brought to its size.

    ``y_i = up_i(resize(y_{i+1})) · own_i(x_i)``, the deepest level stays as it is. A branch is a 3×3 convolution, batch
    norm, ReLU, 1×1 convolution, batch norm, ReLU; resizing is bilinear with aligned corners.

    Args:
        channels: Of each level, finest first; at least two.

    Raises:
        ValueError: Fewer than two levels.

    Example:
        >>> import torch
        >>> from glocal.nn import MultiplicativePyramid
        >>> pyramid = MultiplicativePyramid([16, 32, 64])
        >>> maps = [torch.rand(1, 16, 12, 20), torch.rand(1, 32, 6, 10), torch.rand(1, 64, 3, 5)]
        >>> [tuple(y.shape) for y in pyramid(maps)]
        [(1, 16, 12, 20), (1, 32, 6, 10), (1, 64, 3, 5)]
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        if len(channels) < 2:
            raise ValueError(f"channels is {list(channels)}; a pyramid has at least two levels")
        self.own = nn.ModuleList(_branch(c, c) for c in channels[:-1])
        self.up = nn.ModuleList(_branch(b, c) for c, b in pairwise(channels))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps ``(N, C_i, H_i, W_i)``, finest first -> as many of the same shapes."""
        out = [maps[-1]]
        for i in range(len(self.own) - 1, -1, -1):
            size = maps[i].shape[-2:]
            below = F.interpolate(out[0], size=(size[0], size[1]), mode="bilinear", align_corners=True)
            out.insert(0, self.up[i](below) * self.own[i](maps[i]))
        return out


def _branch(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        ConvNorm(nn.Conv2d(in_channels, channels, 3, padding=1)),
        nn.ReLU(),
        ConvNorm(nn.Conv2d(channels, channels, 1)),
        nn.ReLU(),
    )
