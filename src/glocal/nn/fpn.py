"""Feature pyramid network: fine maps that know what the coarse ones have seen (Lin et al., arXiv 1612.03144)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FeaturePyramid"]


class FeaturePyramid(nn.Module):
    """Maps of a backbone -> maps of equal width, to each of which the next coarser one is added, top down.

    A 1×1 convolution on every map, the coarser one enlarged (nearest) and added, a 3×3 convolution; no norm, no
    activation. ``extra`` gives coarser levels than the backbone has: ``"pool"`` one, every second pixel of the
    coarsest output (Mask R-CNN's P6); ``"conv"`` two, by 3×3 convolutions of stride 2, the first on the coarsest map
    of the backbone (RetinaNet's P6 and P7, arXiv 1708.02002 §4, without the ReLU between them).

    Args:
        in_channels: Channels of the maps, finest first.
        channels: Channels of every output.
        extra: ``"none"``, ``"pool"`` or ``"conv"``.

    Raises:
        ValueError: No map, ``channels`` below 1, or another ``extra``.

    Example:
        >>> import torch
        >>> from glocal.nn import FeaturePyramid
        >>> maps = [torch.rand(1, 12, 16, 24), torch.rand(1, 24, 8, 12), torch.rand(1, 48, 4, 6)]
        >>> [tuple(m.shape) for m in FeaturePyramid([12, 24, 48], 32, extra="pool")(maps)]
        [(1, 32, 16, 24), (1, 32, 8, 12), (1, 32, 4, 6), (1, 32, 2, 3)]
    """

    def __init__(
        self, in_channels: Sequence[int], channels: int = 256, *, extra: Literal["none", "pool", "conv"] = "none"
    ) -> None:
        super().__init__()
        if not in_channels:
            raise ValueError("in_channels is empty; give the channels of at least one map")
        if channels < 1:
            raise ValueError(f"the pyramid has {channels} channels; it needs at least 1")
        if extra not in ("none", "pool", "conv"):
            raise ValueError(f"extra is {extra!r}; use one of none, pool, conv")
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in in_channels)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels)
        coarser = (in_channels[-1], channels) if extra == "conv" else ()
        self.coarser = nn.ModuleList(nn.Conv2d(width, channels, 3, 2, 1) for width in coarser)
        self.pool = extra == "pool"
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps ``(N, C_i, H_i, W_i)``, finest first -> ``(N, channels, H_i, W_i)``, then the extra levels."""
        sums = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for i in range(len(sums) - 1, 0, -1):
            sums[i - 1] = sums[i - 1] + F.interpolate(sums[i], size=sums[i - 1].shape[-2:], mode="nearest")
        outputs = [output(x) for output, x in zip(self.outputs, sums, strict=True)]
        if self.pool:
            outputs.append(outputs[-1][..., ::2, ::2])
        coarsest = maps[-1]
        for conv in self.coarser:
            coarsest = conv(coarsest)
            outputs.append(coarsest)
        return outputs
