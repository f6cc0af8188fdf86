"""A learnt vector for each place of a map, for maps of any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PositionEmbedding2d"]


class PositionEmbedding2d(nn.Module):
    """Adds a learnt table to a map; at another size than the table's, the table bilinearly resampled.

    Resampling keeps the corners in place, as the published loaders of vision transformers do (arXiv 2010.11929, §3.2).

    Args:
        channels: C.
        size: Side of the square map that the table is for.
        extra: Rows in front of the map's, for tokens that are no pixel.

    Raises:
        ValueError: ``size`` is below 1.

    Example:
        >>> import torch
        >>> from glocal.nn import PositionEmbedding2d
        >>> PositionEmbedding2d(24, size=4)(torch.rand(2, 5, 7, 24)).shape
        torch.Size([2, 5, 7, 24])
    """

    def __init__(self, channels: int, size: int, extra: int = 0) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size is {size}; it must be at least 1")
        self.size = size
        self.extra = extra
        self.table = nn.Parameter(torch.zeros(1, extra + size**2, channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, H, W, C)`` -> ``(N, H, W, C)``."""
        return x + self.at(x.shape[1], x.shape[2])

    def at(self, height: int, width: int) -> Tensor:
        """The table of a map of this size, ``(1, height, width, C)``, without the extra rows."""
        table = self.table[:, self.extra :].reshape(1, self.size, self.size, -1)
        if (height, width) == (self.size, self.size):
            return table
        resized = F.interpolate(table.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=True)
        return resized.permute(0, 2, 3, 1)
