"""Blocks of HiFuse, small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def open_gate() -> nn.Module:
    """With one unit in its middle, a ReLU may be shut by chance."""
    gate = blocks.ChannelGate(C, reduction=2)
    nn.init.uniform_(gate.fc1.weight, 0, 0.5)
    return gate


def hff(previous: bool, **options: Any) -> Level:
    return Level(blocks.HFF(C, C if previous else None, reduction=2, **options), previous)


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "BottleneckHFF": lambda: Level(blocks.BottleneckHFF(C, C, reduction=2), previous=True),
    "BottleneckHFF, first": lambda: Level(blocks.BottleneckHFF(C, reduction=2), previous=False),
    "ChannelGate": open_gate,
    "ConvNeXtBlock": lambda: blocks.ConvNeXtBlock(C, layer_scale=0.5),
    "HFF": lambda: hff(previous=True),
    "HFF, first": lambda: hff(previous=False, irmlp="depthwise", channel_gate="double_sigmoid"),
    "InvertedResidualMlp": lambda: blocks.InvertedResidualMlp(C, C),
    "InvertedResidualMlp, depthwise": lambda: blocks.InvertedResidualMlp(C, C, "depthwise"),
    "LevelFusion": lambda: fusion(previous=True),
    "LevelFusion, first": lambda: fusion(previous=False),
    "LocalBlock": lambda: blocks.LocalBlock(C),
    "PointwiseConv2d": lambda: blocks.PointwiseConv2d(C, C),
    "SpatialGate": lambda: blocks.SpatialGate(),
    "WindowAttention": lambda: ChannelsLast(blocks.WindowAttention(C, 3, 4)),
    "WindowAttention, shifted": lambda: ChannelsLast(blocks.WindowAttention(C, 3, 4, shift=True)),
    "WindowBlock": lambda: ChannelsLast(blocks.WindowBlock(C, blocks.WindowAttention(C, 3, 4, shift=True))),
}
