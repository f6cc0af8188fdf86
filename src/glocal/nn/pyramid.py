"""Pyramid pooling: every level of an encoder, averaged onto the coarsest grid (LM-Net, arXiv 2501.03838)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["pyramid_pool"]


def pyramid_pool(maps: Sequence[Tensor]) -> Tensor:
    """Average every map onto the grid of the last one and concatenate the channels.

    Args:
        maps: ``(N, C_i, H_i, W_i)``, the last one the coarsest.

    Returns:
        ``(N, ΣC_i, H, W)`` with H and W of the last map, channels in the order given.

    Example:
        >>> import torch
        >>> from glocal.nn import pyramid_pool
        >>> pyramid_pool([torch.rand(1, 12, 64, 48), torch.rand(1, 24, 32, 24), torch.rand(1, 48, 4, 3)]).shape
        torch.Size([1, 84, 4, 3])
    """
    height, width = maps[-1].shape[-2:]
    return torch.cat([*(_average(m, height, width) for m in maps[:-1]), maps[-1]], 1)


def _average(x: Tensor, height: int, width: int) -> Tensor:
    rows, columns = x.shape[-2] // height, x.shape[-1] // width
    if (rows * height, columns * width) == tuple(x.shape[-2:]):  # blocks of one size: plain pooling is faster
        return F.avg_pool2d(x, (rows, columns))
    return F.adaptive_avg_pool2d(x, (height, width))
