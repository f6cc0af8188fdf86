"""Blocks of the convolutional comparison networks, small."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from block_makers import C
from torch import Tensor, nn

import glocal.nn as blocks


class Gated(nn.Module):
    """A gate, fed the map and its negative."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = blocks.AdditiveAttentionGate(C, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x, -x)


class Encoded(nn.Module):
    """An encoder, its maps averaged over their channels and summed at the size of the input."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        means = [F.interpolate(m.mean(1, keepdim=True), size=x.shape[2:]) for m in self.encoder(x)]
        return torch.stack(means).sum(0).expand(-1, C, -1, -1)


def halved(size: tuple[int, int]) -> tuple[int, ...]:
    return (C, -(-size[0] // 2), -(-size[1] // 2))


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "ASPP, not pooled": lambda: blocks.ASPP(C, C, (6, 12, 18), pooled=False),
    "AdditiveAttentionGate": lambda: Gated(),
    "AtrousPyramid": lambda: blocks.AtrousPyramid(C, C, (2, 4, 7)),
    "Bottleneck": lambda: blocks.Bottleneck(C, 3),
    "Bottleneck, strided": lambda: blocks.Bottleneck(C, 3, stride=2),
    "Bottleneck, dilated": lambda: blocks.Bottleneck(C, 3, dilation=2),
    "DilatedConv2d": lambda: blocks.DilatedConv2d(C, C, 3),
    "DilatedConv2d, depth-wise": lambda: blocks.DilatedConv2d(C, C, 7, groups=C),
    "DoubleConv": lambda: blocks.DoubleConv(C, C, 8),
    "InvertedResidual": lambda: blocks.InvertedResidual(C, C, dilation=2),
    "InvertedResidual, padded first": lambda: blocks.InvertedResidual(C, C, stride=2, pad_before_expansion=True),
    "MobileNetV2Encoder": lambda: Encoded(blocks.MobileNetV2Encoder(C, output_stride=8)),
    "NearestUpsampleConv": lambda: blocks.NearestUpsampleConv(C, C),
    "PreActivationBlock": lambda: blocks.PreActivationBlock(C, C),
    "PreActivationStem": lambda: blocks.PreActivationStem(C, C),
    "ResNetEncoder": lambda: Encoded(blocks.ResNetEncoder(C, 4, (1, 2, 1, 1), output_stride=16)),
    "SqueezeExcitation, sigmoid": lambda: blocks.SqueezeExcitation(C, bias=False, gate="sigmoid"),
}

SHAPES = {
    "Bottleneck, strided": halved,
    "InvertedResidual, padded first": halved,
    "NearestUpsampleConv": lambda size: (C, 2 * size[0], 2 * size[1]),
}
