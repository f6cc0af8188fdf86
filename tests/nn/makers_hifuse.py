"""Blocks of HiFuse, small."""

from __future__ import annotations

from collections.abc import Callable

from block_makers import C, ChannelsLast
from torch import Tensor, nn

import glocal.nn as blocks


class Level(nn.Module):
    """A fusion block, fed from one tensor: the map as it is, turned, and doubled."""

    def __init__(self, fusion: nn.Module, previous: bool) -> None:
        super().__init__()
        self.fusion = fusion
        self.previous = previous

    def forward(self, x: Tensor) -> Tensor:
        finer = x.repeat_interleave(2, 2).repeat_interleave(2, 3) if self.previous else None
        return self.fusion(x, 1 - x.flip(1), finer)


def fusion(previous: bool) -> Level:
    block = blocks.LevelFusion(
        C, blocks.ReparamConv2d(C), blocks.SqueezeExcitation(C), previous_channels=C if previous else None
    )
    return Level(block, previous)


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "InvertedResidualMlp": lambda: blocks.InvertedResidualMlp(C, C),
    "InvertedResidualMlp, depthwise": lambda: blocks.InvertedResidualMlp(C, C, "depthwise"),
    "LevelFusion": lambda: fusion(previous=True),
    "LevelFusion, first": lambda: fusion(previous=False),
    "WindowAttention": lambda: ChannelsLast(blocks.WindowAttention(C, 3, 4)),
    "WindowAttention, shifted": lambda: ChannelsLast(blocks.WindowAttention(C, 3, 4, shift=True)),
}
