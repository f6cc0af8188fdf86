"""Blocks of the comparison networks with transformers, small."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from block_makers import C, ChannelsLast, Tokens
from torch import Tensor, nn

import glocal.nn as blocks


class Scales(nn.Module):
    """Channel attention fed from one tensor of tokens, split unevenly."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = list(channels)
        self.attention = blocks.ChannelCrossAttention(channels, num_heads=2, dropout=0.0)

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat(self.attention(z.split(self.channels, -1), z), -1)


class TwoMaps(nn.Module):
    """The cross transformer on a map four times as large and one twice as large as the input."""

    def __init__(self) -> None:
        super().__init__()
        self.block = blocks.ChannelCrossTransformer([C, C], 4, table_size=3, num_heads=2, depth=1, dropout=0.0)

    def forward(self, x: Tensor) -> Tensor:
        fine, coarse = (x.repeat_interleave(k, 2).repeat_interleave(k, 3) for k in (4, 2))
        changed = self.block([fine, 1 - coarse.flip(1)])
        return changed[0][..., ::4, ::4] + changed[1][..., ::2, ::2]


class Skip(nn.Module):
    """A block that takes a map and a skip of twice its size."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x, 1 - x.repeat_interleave(2, 2).repeat_interleave(2, 3))
        return out


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "ChannelCrossAttention": lambda: Tokens(Scales([4, C - 4])),
    "ChannelCrossTransformer": TwoMaps,
    "ChannelSkipGate": lambda: Skip(blocks.ChannelSkipGate(C)),
    "PatchExpanding": lambda: ChannelsLast(blocks.PatchExpanding(C, C)),
    "PositionEmbedding2d": lambda: ChannelsLast(blocks.PositionEmbedding2d(C, 3)),
    "UpsampleSkipBlock": lambda: Skip(blocks.UpsampleSkipBlock(C, C, C)),
    "UpsampleSkipBlock, skip first": lambda: Skip(blocks.UpsampleSkipBlock(C, C, C, bias=True, skip_first=True)),
    "WeightStandardizedConv2d": lambda: nn.Sequential(
        blocks.WeightStandardizedConv2d(C, C, 3, padding=1), nn.GroupNorm(4, C)
    ),
}


def doubled(size: tuple[int, int]) -> tuple[int, ...]:
    return (C, 2 * size[0], 2 * size[1])


SHAPES = {name: doubled for name in MAKERS if name.startswith(("ChannelSkip", "PatchExp", "UpsampleSkip"))}
