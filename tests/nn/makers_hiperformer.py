"""Blocks of HiPerformer and of Swin, small."""

from __future__ import annotations

from collections.abc import Callable

import torch
from block_makers import C, ChannelsLast
from torch import Tensor, nn

import glocal.nn as blocks


class TwoMaps(nn.Module):
    """A block of two maps, fed from one."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x, x.flip(3) - x.flip(2))


class Pyramid(nn.Module):
    """The finest map of three levels, fed from one map."""

    def __init__(self) -> None:
        super().__init__()
        self.pyramid = blocks.MultiplicativePyramid([C, C, C])

    def forward(self, x: Tensor) -> Tensor:
        return self.pyramid([x, x[..., ::2, ::2], x[..., ::4, ::4]])[0]


class AllMaps(nn.Module):
    """The maps of a pyramid, each repeated to the size of the image, beside each other."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        maps = self.encoder(x)
        return torch.cat([nn.functional.interpolate(m, size=x.shape[-2:]) for m in maps], 1)


def _affinity(**options: object) -> nn.Module:
    """Behind a norm: products of channels of any size would make the softmax a step."""
    block = nn.Sequential(blocks.LayerNorm2d(C), blocks.ChannelAffinity(**options))
    if block[1].gamma is not None:
        nn.init.constant_(block[1].gamma, 0.5)
    return block


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "ChannelAffinity": _affinity,
    "ChannelAffinity, direct": lambda: _affinity(similarity="direct", gain=False),
    "GatedPyramidSkip": lambda: TwoMaps(blocks.GatedPyramidSkip(C, reduction=2)),
    "GatedPyramidSkip, decoder gated": lambda: TwoMaps(blocks.GatedPyramidSkip(C, gated="decoder", reduction=2)),
    "GroupedAttentionGate": lambda: TwoMaps(blocks.GroupedAttentionGate(C, 6)),
    "GroupedAttentionGate, decoder gated": lambda: TwoMaps(blocks.GroupedAttentionGate(C, 6, gated="decoder")),
    "MultiplicativePyramid": Pyramid,
    "PatchMerging": lambda: ChannelsLast(blocks.PatchMerging(C)),
    "PyramidSqueezeAttention": lambda: blocks.PyramidSqueezeAttention(C, 2 * C, reduction=2),
    "SpatialBottleneckGate": lambda: blocks.SpatialBottleneckGate(C),
    "SwinEncoder": lambda: AllMaps(blocks.SwinEncoder(C, 8, [1, 2], [1, 2], 3, drop_path=0.0)),
    "SwinEncoder, shifted everywhere, no norms": lambda: AllMaps(
        blocks.SwinEncoder(C, 8, [2, 2], [1, 2], 4, drop_path=0.0, shift_single_window=True, stage_norms=False)
    ),
    "TwoPathBlock": lambda: blocks.TwoPathBlock(C, C),
    "TwoPathBlock, widened": lambda: blocks.TwoPathBlock(C, 2 * C, dilation=3),
}
SHAPES: dict[str, Callable[[tuple[int, int]], tuple[int, ...]]] = {
    "GatedPyramidSkip": lambda size: (2 * C, *size),
    "GatedPyramidSkip, decoder gated": lambda size: (2 * C, *size),
    "PatchMerging": lambda size: (2 * C, -(-size[0] // 2), -(-size[1] // 2)),
    "PyramidSqueezeAttention": lambda size: (2 * C, *size),
    "SwinEncoder": lambda size: (24, *size),
    "SwinEncoder, shifted everywhere, no norms": lambda size: (24, *size),
    "TwoPathBlock, widened": lambda size: (2 * C, *size),
}
"""Channels, height and width of the output, where they are not those of the input."""
