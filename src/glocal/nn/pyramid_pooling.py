"""The pyramid-pooling module (Zhao et al., CVPR 2017), in the form DSSAU-Net has it (arXiv 2506.03684)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glocal.nn.conv_norm import ConvNorm

__all__ = ["PyramidPooling"]

_BILINEAR: dict[str, Any] = {"mode": "bilinear", "align_corners": True}


class PyramidPooling(nn.Module):
    """The map pooled onto coarse grids, brought back to its size, and mixed with the map by a 1×1 convolution.

    Each branch: adaptive pooling -> 1×1 convolution -> bilinear, corners aligned; then all of them and the map ->
    1×1 convolution -> batch norm -> ReLU. DSSAU-Net pools by maximum; the original averages.

    Args:
        in_channels: Channels of the map.
        out_channels: Channels of each branch and of the output.
        sizes: Sides of the grids; one finer than the map is fine, its cells then overlap.
        pool: ``"max"`` or ``"average"``.

    Raises:
        ValueError: ``pool`` is neither.

    Example:
        >>> import torch
        >>> from glocal.nn import PyramidPooling
        >>> PyramidPooling(48, 16)(torch.rand(2, 48, 8, 5)).shape
        torch.Size([2, 16, 8, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        sizes: Sequence[int] = (1, 2, 3, 6),
        pool: Literal["max", "average"] = "max",
    ) -> None:
        super().__init__()
        if pool not in ("max", "average"):
            raise ValueError(f"pool is {pool!r}; use max or average")
        self.sizes, self.pool = tuple(sizes), pool
        self.branches = nn.ModuleList(nn.Conv2d(in_channels, out_channels, 1) for _ in self.sizes)
        self.fuse = ConvNorm(nn.Conv2d(in_channels + len(self.sizes) * out_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in, H, W)`` -> ``(N, out, H, W)``."""
        reduce = torch.amax if self.pool == "max" else torch.mean
        pooled = [
            F.interpolate(branch(_pool(_pool(x, size, 2, reduce), size, 3, reduce)), x.shape[-2:], **_BILINEAR)
            for branch, size in zip(self.branches, self.sizes, strict=True)
        ]
        return F.relu(self.fuse(torch.cat([*pooled, x], 1)))


def _pool(x: Tensor, size: int, axis: int, reduce: Callable[..., Tensor]) -> Tensor:
    """Adaptive pooling of one axis; PyTorch's own of two axes cannot be exported to ONNX."""
    cells = [(i * x.shape[axis] // size, -(-(i + 1) * x.shape[axis] // size)) for i in range(size)]
    return torch.cat([reduce(x.narrow(axis, a, b - a), axis, keepdim=True) for a, b in cells], axis)
