"""Blocks of Mix Transformer, PVTv2 and the networks on them, small."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from block_makers import C, ChannelsLast
from torch import Tensor, nn

import glocal.nn as blocks


class Last(nn.Module):
    """The coarsest map of an encoder, of an image with room for several keys at every stage."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = blocks.MixTransformerEncoder(C, (8, 16, 20, 32), (1, 1, 1, 1), reductions=(4, 2, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(F.interpolate(x, scale_factor=16))[-1]


class Fused(nn.Module):
    """The map itself and a strided one, fused at twice the size."""

    def __init__(self, *, norm: bool) -> None:
        super().__init__()
        self.down = nn.Conv2d(C, 6, 3, 2, padding=1)
        self.fuse = blocks.ResizedFusion([C, 6], C, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse([x, self.down(x)], (2 * x.shape[2], 2 * x.shape[3]))


def doubled(size: tuple[int, int]) -> tuple[int, ...]:
    return (C, 2 * size[0], 2 * size[1])


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "ConvMlp": lambda: ChannelsLast(blocks.ConvMlp(C, 4 * C)),
    "GroupNormResidual": lambda: blocks.GroupNormResidual(C, C),
    "GroupNormResidual, wider": lambda: blocks.GroupNormResidual(C, 32),
    "MixTransformerBlock": lambda: ChannelsLast(blocks.MixTransformerBlock(C, 3, 2)),
    "MixTransformerEncoder": Last,
    "NearestUpsampleConv, alone": lambda: blocks.NearestUpsampleConv(C, C, norm=False),
    "ResizedFusion": lambda: Fused(norm=True),
    "ResizedFusion, of logits": lambda: Fused(norm=False),
}
SHAPES = {
    "GroupNormResidual, wider": lambda size: (32, *size),
    "MixTransformerEncoder": lambda size: (32, -(-size[0] // 2), -(-size[1] // 2)),
    "NearestUpsampleConv, alone": doubled,
    "ResizedFusion": doubled,
    "ResizedFusion, of logits": doubled,
}
