"""Necks and heads for dense prediction, small, on maps averaged out of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from block_makers import C
from torch import Tensor, nn

import glocal.nn as blocks


def pyramid(x: Tensor, levels: int = 3) -> list[Tensor]:
    """The map, and maps of it at every second, fourth … pixel; sizes rounded up."""
    sizes = [(-(-x.shape[2] // 2**i), -(-x.shape[3] // 2**i)) for i in range(levels)]
    return [F.adaptive_avg_pool2d(x, size) for size in sizes]


class OnPyramid(nn.Module):
    """One map in, the maps that come out summed at the finest size."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor | Sequence[Tensor] = self.block(pyramid(x))
        if isinstance(out, Tensor):
            return out
        return torch.stack([F.interpolate(m, size=x.shape[2:], mode="bilinear") for m in out]).sum(0)


class AtAnchors(nn.Module):
    """What a head says at its one anchor a cell, as a map: classes, then boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = blocks.RetinaNetHead(C, C - 4, anchors=1, depth=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.head(x), 2).transpose(1, 2).unflatten(2, x.shape[2:])


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "ConvNormReLU": lambda: blocks.ConvNormReLU(C, C),
    "ConvNormReLU, pointwise": lambda: blocks.ConvNormReLU(C, C, 1),
    "FeaturePyramid": lambda: OnPyramid(blocks.FeaturePyramid([C, C, C], C)),
    "FeaturePyramid, pool": lambda: OnPyramid(blocks.FeaturePyramid([C, C, C], C, extra="pool")),
    "FeaturePyramid, conv": lambda: OnPyramid(blocks.FeaturePyramid([C, C, C], C, extra="conv")),
    "SemanticFPNHead": lambda: OnPyramid(blocks.SemanticFPNHead(C, C, levels=3, channels=8)),
    "UPerNetHead": lambda: OnPyramid(blocks.UPerNetHead([C, C, C], C, channels=8)),
    "FCNHead": lambda: blocks.FCNHead(C, C, channels=8),
    "RetinaNetHead": lambda: AtAnchors(),
}
