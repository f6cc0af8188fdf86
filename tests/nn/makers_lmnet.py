"""Blocks of LM-Net, small."""

from __future__ import annotations

from collections.abc import Callable

import torch
from block_makers import C, ChannelsLast, Tokens
from torch import Tensor, nn

import glocal.nn as blocks


class Neighbours(nn.Module):
    """A multi-scale skip, fed from one tensor as the encoder would."""

    def __init__(self, pointwise: bool) -> None:
        super().__init__()
        self.skip = blocks.MultiSkip(C, finer=C, coarser=C, pointwise=pointwise)

    def forward(self, x: Tensor) -> Tensor:
        finer = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        same = torch.cat([x, x], 2).repeat_interleave(2, 3)[:, :, : x.shape[2]][..., : x.shape[3]]
        return self.skip(
            nn.functional.avg_pool2d(finer, 2), finer, same[..., : (x.shape[2] + 1) // 2, : (x.shape[3] + 1) // 2]
        )


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "ASPP": lambda: blocks.ASPP(C, C),
    "ConvNorm": lambda: blocks.ConvNorm(nn.Conv2d(C, C, 3, padding=1)),
    "GlobalAttention": lambda: Tokens(blocks.GlobalAttention(C, 4)),
    "GlobalFeatureTransformer": lambda: blocks.GlobalFeatureTransformer(C, C, 4),
    "LocalFeatureTransformer": lambda: blocks.LocalFeatureTransformer(C, 4),
    "LocalFeatureTransformer, window 5, biased": lambda: blocks.LocalFeatureTransformer(
        C, 4, window_size=5, rel_pos_bias=True
    ),
    "Mlp": lambda: ChannelsLast(blocks.Mlp(C, 24)),
    "MultiBranchBlock": lambda: blocks.MultiBranchBlock(C, 24, C),
    "MultiSkip": lambda: Neighbours(pointwise=False),
    "MultiSkip, pointwise": lambda: Neighbours(pointwise=True),
    "NeighborhoodAttention2d": lambda: ChannelsLast(blocks.NeighborhoodAttention2d(C, 4, 3)),
    "NeighborhoodAttention2d, tiled": lambda: ChannelsLast(blocks.NeighborhoodAttention2d(C, 1, 7, rel_pos_bias=True)),
    "ReparamConv2d": lambda: blocks.ReparamConv2d(C),
    "SqueezeExcitation": lambda: blocks.SqueezeExcitation(C),
    "TransformerBlock": lambda: Tokens(blocks.TransformerBlock(C, blocks.GlobalAttention(C, 4))),
    "UpsampleConv": lambda: blocks.UpsampleConv(C, C),
    "UpsampleConv, pointwise": lambda: blocks.UpsampleConv(C, C, 1),
}
EVEN_ONLY = {"MultiSkip", "MultiSkip, pointwise"}
"""The levels of a pyramid differ by exactly 2: networks pad their input to their grid."""
SHAPES = {name: lambda size: (C, 2 * size[0], 2 * size[1]) for name in MAKERS if name.startswith("UpsampleConv")}
"""Channels, height and width of the output, where they are not those of the input."""
